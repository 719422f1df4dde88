// Package scale simulates what docs/scale.md says about cells: tenants of very unequal
// sizes are placed on clusters, and clusters fail.
package scale

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

const (
	cells      = 110
	tenants    = 1_000_000
	perCell    = 10_000  // messages a second that a cell can take
	namespaces = 10_000  // that a cell can hold
	demand     = 100_000 // messages a second of all tenants
)

// loads are the tenants' messages a second: a few have most of them (Pareto), but none
// more than a tenth of a cell, which quotas see to.
func loads(r *rand.Rand) []float64 {
	all := make([]float64, tenants)
	sum := 0.0
	for i := range all {
		all[i] = math.Pow(1-r.Float64(), -1/1.2)
		sum += all[i]
	}
	for i := range all {
		all[i] = min(all[i]*demand/sum, perCell/10)
	}
	return all
}

type cell struct {
	load    float64
	tenants int
}

// place puts each tenant on the better of two cells chosen at random: it needs no view of
// all cells, and is nearly as even.
func place(r *rand.Rand, all []float64, up []*cell) {
	score := func(c *cell) float64 { return max(c.load/perCell, float64(c.tenants)/namespaces) }
	for _, load := range all {
		a, b := up[r.IntN(len(up))], up[r.IntN(len(up))]
		if score(b) < score(a) {
			a = b
		}
		a.load += load
		a.tenants++
	}
}

func newCells(n int) []*cell {
	all := make([]*cell, n)
	for i := range all {
		all[i] = &cell{}
	}
	return all
}

func TestCellsAreHalfFull(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 1))
		up := newCells(cells)
		place(r, loads(r), up)
		fullest := slices.MaxFunc(up, func(a, b *cell) int { return cmp.Compare(a.load, b.load) })
		most := slices.MaxFunc(up, func(a, b *cell) int { return cmp.Compare(a.tenants, b.tenants) })
		t.Logf("seed %d: the fullest cell has %.0f messages a second, the largest %d tenants", seed, fullest.load, most.tenants)
		if fullest.load > perCell/2 {
			t.Errorf("a cell has %.0f messages a second, more than half of what it can take", fullest.load)
		}
		if most.tenants > namespaces {
			t.Errorf("a cell has %d tenants", most.tenants)
		}
	}
}

// TestTenantsOfLostCellsFit takes cells away for good and places their tenants on the rest.
func TestTenantsOfLostCellsFit(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	all := loads(r)
	const lost = 5
	up := newCells(cells)
	share := len(all) * lost / cells
	place(r, all[share:], up[lost:])
	place(r, all[:share], up[lost:])
	for _, c := range up[lost:] {
		if c.load > perCell || c.tenants > namespaces {
			t.Fatalf("a cell has %.0f messages a second and %d tenants", c.load, c.tenants)
		}
	}
	if hurt := float64(share) / tenants; hurt > 0.05 {
		t.Errorf("losing %d of %d cells hurts %.1f %% of the tenants", lost, cells, hurt*100)
	}
}
