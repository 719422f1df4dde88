package queue

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq"
)

// keepCharts begins to, two seconds after the beginning of a quarter.
func (b *bundle) keepCharts() {
	b.t.Helper()
	b.change = func(c *Config) { c.Charts = true }
	b.restart()
	time.Sleep(time.Until(time.Now().Truncate(ChartQuarter).Add(ChartQuarter + 2*time.Second)))
}

// chart returns the points that say something, by their number since begin.
func (b *bundle) chart(begin time.Time, q *Queue, step time.Duration) map[int]ChartPoint {
	b.t.Helper()
	points, got, err := q.Chart(context.Background(), Span{Since: begin, Step: step})
	if err != nil || got != step {
		b.t.Fatalf("step %v, %v", got, err)
	}
	out := map[int]ChartPoint{}
	for i, p := range points {
		if want := begin.Truncate(step).Add(time.Duration(i) * step); !p.At.Equal(want) {
			b.t.Fatalf("point %d at %v, want %v", i, p.At, want)
		}
		p.At = time.Time{}
		if p != (ChartPoint{Known: true}) {
			out[i] = p
		}
	}
	return out
}

func wantChart(t *testing.T, got, want map[int]ChartPoint) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("chart (-want +got):\n%s", d)
	}
}

func TestChart(t *testing.T) {
	t.Parallel()
	t.Run("AddsUpWhatAllProcessesCount", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.keepCharts()
			b.process()
			begin := time.Now()
			q := b.create("q", nil)
			other := b.queue(1, "q")
			send(t, q, "1", "2", "3")
			send(t, other, "4")
			got := receive(t, other, Receive{Max: 4, Visibility: 90 * time.Second})
			remove(t, q, got[0])
			time.Sleep(3*time.Minute + 10*time.Second)
			receive(t, q, Receive{Max: 1, Visibility: 0})
			remove(t, other, receive(t, other, Receive{Max: 3, Visibility: time.Minute})...)
			receive(t, q, now)
			time.Sleep(time.Minute)
			want := map[int]ChartPoint{
				0: {Known: true, Sent: 4, Received: 4, Deleted: 1, InFlight: 3, Oldest: 58 * time.Second},
				1: {Known: true, Visible: 3, Oldest: 118 * time.Second},
				2: {Known: true, Visible: 3, Oldest: 178 * time.Second},
				3: {Known: true, Received: 4, Deleted: 3, EmptyReceives: 1},
			}
			wantChart(t, b.chart(begin, q, ChartMinute), want)
			wantChart(t, b.chart(begin, other, ChartMinute), want)
			all, _, err := b.services[1].Chart(t.Context(), b.ns, Span{Since: begin})
			if err != nil || len(all) != 4 || all[0].Sent != 4 || all[3].Deleted != 3 {
				t.Errorf("of the namespace: %+v, %v", all, err)
			}
			time.Sleep(30 * time.Minute)
			quarter := map[int]ChartPoint{0: {Known: true, Sent: 4, Received: 8, Deleted: 4, EmptyReceives: 1, Visible: 3, InFlight: 3, Oldest: 178 * time.Second}}
			wantChart(t, b.chart(begin, other, ChartQuarter), quarter)
		})
	})
	t.Run("KnowsWhenNobodyLooked", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.keepCharts()
			begin := time.Now()
			send(t, b.create("q", nil), "1", "2")
			time.Sleep(30 * time.Second)
			b.stop() // writes what it has counted
			time.Sleep(5 * time.Minute)
			b.start()
			time.Sleep(90 * time.Second)
			q := b.queue(0, "q")
			got := b.chart(begin, q, ChartMinute)
			if got[0] != (ChartPoint{Sent: 2}) || got[2] != (ChartPoint{}) || got[5] != (ChartPoint{Known: true, Visible: 2, Oldest: 358 * time.Second}) {
				t.Errorf("%+v", got)
			}
			// Quarters that ended while nobody was there are made by who comes next.
			b.stop()
			time.Sleep(time.Hour)
			b.start()
			time.Sleep(3 * time.Minute)
			if got := b.chart(begin, b.queue(0, "q"), ChartQuarter); got[0].Sent != 2 || got[0].Visible != 2 || got[2].Known {
				t.Errorf("%+v", got)
			}
		})
	})
	t.Run("IsBounded", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.keepCharts()
			begin := time.Now()
			q := b.create("q", nil)
			send(t, q, "1")
			remove(t, q, receive(t, q, now)...)
			time.Sleep(2 * time.Hour)
			send(t, q, "2")
			time.Sleep(20 * time.Minute)
			got := b.chart(begin, q, ChartQuarter)
			if got[0].Sent != 1 || got[0].Deleted != 1 || got[8].Sent != 1 || len(got) != 2 { // the last one is not over
				t.Errorf("%+v", got)
			}
			minutes, _, err := q.Chart(t.Context(), Span{Step: ChartMinute})
			if err != nil || len(minutes) != 24*60 {
				t.Errorf("%d minutes, %v", len(minutes), err)
			}
			quarters, _, err := q.Chart(t.Context(), Span{})
			if err != nil || len(quarters) != 7*24*4 {
				t.Errorf("%d quarters, %v", len(quarters), err)
			}
			for _, want := range chartStreams {
				s, err := b.node.Control().Stream(t.Context(), want.name)
				if err != nil {
					t.Fatal(err)
				}
				c, st := s.CachedInfo().Config, s.CachedInfo().State
				if c.MaxAge != want.keep || c.MaxBytes < chartFewBytes || st.Msgs > 2*142 {
					t.Errorf("%s: %v, %d bytes, %d records", want.name, c.MaxAge, c.MaxBytes, st.Msgs)
				}
			}
		})
	})
	t.Run("CountsNothingTwice", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.keepCharts()
			begin := time.Now()
			q := b.create("q", nil)
			b.process()
			for range 40 {
				send(t, q, "1")
				time.Sleep(time.Minute)
			}
			b.services[1].stop() // looks no more
			for range 20 {
				send(t, q, "1")
				time.Sleep(time.Minute)
			}
			time.Sleep(time.Second)
			sum := func(step time.Duration) (n uint64) {
				points, _, err := q.Chart(t.Context(), Span{Since: begin, Step: step})
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range points {
					n += p.Sent
				}
				return n
			}
			if got := sum(ChartMinute); got != 60 {
				t.Errorf("%d by minutes", got)
			}
			if got := sum(ChartQuarter); got != 60 {
				t.Errorf("%d by quarters", got)
			}
			// A quarter that is made twice counts once.
			e, err := b.services[0].charts.kv.Get(t.Context(), chartTurn)
			if err != nil {
				t.Fatal(err)
			}
			last := time.Now().UnixNano()/int64(ChartQuarter) - 2
			if err := b.services[0].charts.setTurn(t.Context(), turn{Rolled: last - 2}, e.Revision()); err != nil {
				t.Fatal(err)
			}
			if err := b.services[0].charts.roll(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
			if got := sum(ChartQuarter); got != 60 {
				t.Errorf("%d after some quarters were made twice", got)
			}
		})
	})
	t.Run("GoesOnWithoutItsStreams", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.keepCharts()
			q := b.create("q", nil)
			time.Sleep(2 * time.Minute)
			for _, s := range chartStreams {
				if err := b.node.Control().DeleteStream(t.Context(), s.name); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Minute)
			begin := time.Now()
			send(t, q, "1")
			time.Sleep(61 * time.Second)
			if got := b.chart(begin, q, ChartMinute); got[0].Sent != 1 {
				t.Errorf("%+v", got)
			}
		})
	})
	t.Run("RefusesWhatIsNoSpan", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.keepCharts()
			q := b.create("q", nil)
			for _, s := range []Span{{Step: time.Hour}, {Since: time.Now().Add(time.Hour)}} {
				if _, _, err := q.Chart(t.Context(), s); mnq.KindOf(err) != mnq.Invalid {
					t.Errorf("%+v: %v", s, err)
				}
			}
		})
	})
}

func TestChartRecord(t *testing.T) {
	t.Parallel()
	in := chartRecord{step: 29_000_000, queues: map[chartKey]chartValues{
		chartKeyOf("a"): {sent: 1 << 40, oldest: 3}, chartKeyOf("b"): {visible: rand.Uint64()},
	}}
	out, err := decodeChart(in.encode())
	if err != nil || out.step != in.step || !cmp.Equal(in.queues, out.queues, cmp.AllowUnexported(chartValues{})) {
		t.Errorf("%+v, %v", out, err)
	}
	b := in.encode()
	for i := range b {
		_, _ = decodeChart(b[:i]) // does not panic
	}
	if _, err := decodeChart([]byte{9, 9, 9}); err == nil {
		t.Error("took another version's record")
	}
}
