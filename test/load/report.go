package main

import (
	"errors"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that was measured.
type report struct {
	When    string  `json:"when"`
	CPUs    int     `json:"cpus"`
	Go      string  `json:"go"`
	Size    int     `json:"body_bytes"`
	Runs    int     `json:"runs"`
	Seconds float64 `json:"seconds"`
	Lines   []*line `json:"lines"`
}

// line is one target with one job.
type line struct {
	Target  string   `json:"target"`
	Work    string   `json:"work"`
	Clients int      `json:"clients"`
	Memory  int64    `json:"resident_bytes"`
	Results []result `json:"results"`
}

func (r *report) line(target string, j job) *line {
	if l := r.find(target, j.work.name, j.clients); l != nil {
		return l
	}
	l := &line{Target: target, Work: j.work.name, Clients: j.clients}
	r.Lines = append(r.Lines, l)
	return l
}

func (r *report) find(target, work string, clients int) *line {
	i := slices.IndexFunc(r.Lines, func(l *line) bool { return l.Target == target && l.Work == work && l.Clients == clients })
	if i < 0 {
		return nil
	}
	return r.Lines[i]
}

func median[T int | int64 | float64 | time.Duration](l *line, f func(result) T) T {
	all := make([]T, len(l.Results))
	for i, r := range l.Results {
		all[i] = f(r)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func (l *line) rate() float64 { return median(l, func(r result) float64 { return r.Rate }) }

func (l *line) balance() (b balance, errs int) {
	for _, r := range l.Results {
		b, errs = b.add(r.Balance), errs+r.Errors
	}
	return b, errs
}

// table prints the medians, then the ratios that have a target.
func (r *report) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "work\tc\tserver\tmsg/s\tp50 ms\tp99 ms\tCPU µs/msg\tMB\terrors\tlost\tdup\tbad\t")
	lines := slices.Clone(r.Lines)
	slices.SortStableFunc(lines, func(a, b *line) int {
		if a.Work == b.Work {
			return a.Clients - b.Clients
		}
		return slices.IndexFunc(works, func(w work) bool { return w.name == a.Work }) - slices.IndexFunc(works, func(w work) bool { return w.name == b.Work })
	})
	for _, l := range lines {
		b, errs := l.balance()
		_, _ = fmt.Fprintf(t, "%s\t%d\t%s\t%.0f\t%.2f\t%.2f\t%.1f\t%.0f\t%d\t%d\t%d\t%d\t\n", l.Work, l.Clients, l.Target, l.rate(),
			milliseconds(median(l, func(r result) time.Duration { return r.P50 })), milliseconds(median(l, func(r result) time.Duration { return r.P99 })),
			float64(median(l, func(r result) time.Duration { return r.CPU }).Nanoseconds())/1000, float64(l.Memory)/1e6, errs, b.Lost, b.Duplicated, b.Bad)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, g := range goals {
		if _, err := io.WriteString(w, r.judge(g)); err != nil {
			return err
		}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// goal is a ratio that we mean to reach: the rate of one line over that of another.
type goal struct {
	target, work string
	over, than   string // target and work of the yardstick
	least        float64
}

var goals = []goal{
	{"mnq-interval", "cycle", "echo", "send", 0.20},
	{"mnq-interval", "cycle", "fauxqs-sqlite", "cycle", 4},
	{"mnq-interval", "cycle10", "echo", "send", 0.60},
	{"mnq-interval", "send", "echo", "send", 0.45},
	{"mnq-interval", "send10", "echo", "send10", 0.25},
	{"mnq-always", "send", "wal", "send", 0.50},
	{"mnq-always", "send10", "wal", "send10", 0.50},
	{"mnq-always", "cycle", "fauxqs-sqlite", "cycle", 3},
	{"mnq-interval", "fifo", "mnq-interval", "cycle", 0.50},
	{"mnq-interval", "cycle-100k", "mnq-interval", "cycle", 0.80},
	{"mnq-interval", "cycle-1m", "mnq-interval", "cycle", 0.80},
}

// judge tells how far a goal is reached at each number of connections.
func (r *report) judge(g goal) string {
	var out strings.Builder
	for _, l := range r.Lines {
		if l.Target != g.target || l.Work != g.work {
			continue
		}
		y := r.find(g.over, g.than, l.Clients)
		if y == nil || y.rate() == 0 {
			continue
		}
		ratio, verdict := l.rate()/y.rate(), "reached"
		if ratio < g.least {
			verdict = "missed"
		}
		_, _ = fmt.Fprintf(&out, "%s %s c=%d is %.2f × %s %s, goal %.2f: %s\n", g.target, g.work, l.Clients, ratio, g.over, g.than, g.least, verdict)
	}
	return out.String()
}

// faults is an error when mnq lost, doubled or damaged a message.
func (r *report) faults() (err error) {
	for _, l := range r.Lines {
		b, errs := l.balance()
		if strings.HasPrefix(l.Target, "mnq") && (b.Lost+b.Duplicated+b.Bad+errs > 0) {
			first := ""
			for _, one := range l.Results {
				if first == "" {
					first = one.First
				}
			}
			err = errors.Join(err, fmt.Errorf("%s %s c=%d: %s, %d errors %s", l.Target, l.Work, l.Clients, b, errs, first))
		}
	}
	return err
}

// plot draws the medians as bars, one group for each job.
func (r *report) plot() []byte {
	const row, left, width, right = 16, 170, 560, 90
	colours := []string{"#bbbbbb", "#999999", "#777777", "#1f6feb", "#58a6ff", "#d29922", "#a371f7", "#3fb950", "#f85149"}
	var targets []string
	type group struct {
		work    string
		clients int
	}
	var groups []group
	for _, l := range r.Lines {
		if !slices.Contains(targets, l.Target) {
			targets = append(targets, l.Target)
		}
		if g := (group{l.Work, l.Clients}); !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	var b strings.Builder
	y := 40
	for _, g := range groups {
		most := 0.0
		for _, l := range r.Lines {
			if l.Work == g.work && l.Clients == g.clients {
				most = max(most, l.rate())
			}
		}
		_, _ = fmt.Fprintf(&b, `<text x="10" y="%d" font-weight="bold">%s, %d connections</text>`+"\n", y+12, html.EscapeString(g.work), g.clients)
		y += row + 4
		for i, t := range targets {
			l := r.find(t, g.work, g.clients)
			if l == nil || most == 0 {
				continue
			}
			_, _ = fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%.0f/s</text>`+"\n",
				left-8, y+12, html.EscapeString(t), left, y+2, width*l.rate()/most, row-4, colours[i%len(colours)], float64(left)+width*l.rate()/most+6, y+12, l.rate())
			y += row
		}
		y += 10
	}
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12" fill="#333">`+"\n"+
		`<rect width="100%%" height="100%%" fill="#fff"/><text x="10" y="20" font-size="14">Messages a second, %d-byte bodies, median of %d, %s, %d CPUs shared by client and server</text>`+"\n",
		left+width+right, y+10, r.Size, r.Runs, r.When, r.CPUs)
	return []byte(head + b.String() + "</svg>\n")
}
