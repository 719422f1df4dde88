package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/openmnq/mnq/internal/service"
)

// history is what happened, one list for each measure, as the control plane tells it.
type history struct {
	Step  int64   `json:"step_seconds"`
	Times []int64 `json:"times"`

	Sent          []uint64 `json:"sent"`
	Received      []uint64 `json:"received"`
	Deleted       []uint64 `json:"deleted"`
	EmptyReceives []uint64 `json:"empty_receives"`

	Visible   []*uint64 `json:"visible"`
	InFlight  []*uint64 `json:"in_flight"`
	Delayed   []*uint64 `json:"delayed"`
	OldestAge []*uint64 `json:"oldest_age_seconds"`
}

// ranges are what charts can show.
var ranges = []struct {
	Name string
	Time time.Duration
}{{"1h", time.Hour}, {"6h", 6 * time.Hour}, {"24h", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}}

// charts is the part of a page with charts. Its sums are there without JavaScript too.
type charts struct {
	Range  string
	Names  []string
	Source string // where the numbers of the charts are
	Sums   []sum
}

type sum struct {
	Name  string
	Value uint64
}

// span is the query of a history for the range of the page.
func (p *page) span() (name string, q url.Values) {
	name, long := "6h", 6*time.Hour
	for _, r := range ranges {
		if r.Name == p.query("range") {
			name, long = r.Name, r.Time
		}
	}
	return name, url.Values{"since": {p.now.Add(-long).UTC().Format(time.RFC3339)}}
}

// charts reads the history at a path of the control plane.
func (p *page) charts(path, source string) (*charts, error) {
	name, q := p.span()
	var h history
	if err := p.get(path, q, &h); err != nil {
		return nil, err
	}
	out := &charts{Range: name, Source: source + "?range=" + name}
	for _, r := range ranges {
		out.Names = append(out.Names, r.Name)
	}
	for _, s := range []struct {
		name string
		of   []uint64
	}{{"sent", h.Sent}, {"received", h.Received}, {"deleted", h.Deleted}, {"empty receives", h.EmptyReceives}} {
		n := uint64(0)
		for _, v := range s.of {
			n += v
		}
		out.Sums = append(out.Sums, sum{s.name, n})
	}
	return out, nil
}

// sendHistory answers with the numbers of charts.
func (p *page) sendHistory(path string) error {
	_, q := p.span()
	var h history
	if err := p.get(path, q, &h); err != nil {
		return err
	}
	p.w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(p.w).Encode(h); err != nil {
		return nil //nolint:nilerr // the browser has gone
	}
	return nil
}

func (p *page) queueHistory() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	return p.sendHistory(p.queuePath("history"))
}

func (p *page) namespaceHistory() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	return p.sendHistory(own("namespaces", p.ns.Account, "history"))
}

// tailPage follows a queue.
func (p *page) tailPage() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	f := p.filter()
	words := []string{"queue", "tail", q.Name}
	for _, o := range []struct{ flag, v string }{{"--text", f.Text}, {"--attribute", f.Attribute}} {
		if o.v != "" {
			words = append(words, o.flag, o.v)
		}
	}
	return p.showQueue(q, "tail", f, p.cli(words...))
}

const (
	maxTails = 64
	tailTime = 10 * time.Minute // then the browser asks again, and has to be signed in still
)

// tail hands the control plane's stream of events on.
func (c *Console) tail(w http.ResponseWriter, r *http.Request) {
	if info := service.RequestOf(r.Context()); info != nil {
		defer func() { info.Front, info.Operation = "console", "GET tail" }()
	}
	p := c.visitor(w, r)
	if err := p.signedIn(); err != nil {
		w.WriteHeader(http.StatusNoContent) // so that an EventSource does not try again
		return
	}
	select {
	case c.tails <- struct{}{}:
		defer func() { <-c.tails }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many follow queues already", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), tailTime)
	defer cancel()
	f := p.filter()
	q := url.Values{"text": {f.Text}, "attribute": {f.Attribute}}
	p.r = r.WithContext(ctx)
	in, err := p.request(http.MethodGet, own("namespaces", r.PathValue("ns"), "queues", r.PathValue("queue"), "tail")+"?"+q.Encode(), nil)
	if err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	c.cfg.API(p.session.who.Identity).ServeHTTP(w, in)
}
