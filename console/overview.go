package console

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
)

const (
	overviewNamespaces = 20  // looked at on the first page
	overviewQueues     = 100 // of each
)

// attention is something that somebody should look at.
type attention struct {
	NS   *namespace
	Name string
	Why  string
	Link string
	Age  float64
}

// overview is the first page: is anything wrong?
type overview struct {
	Rows      []overviewRow
	Attention []attention
	Visible   int64
	InFlight  int64
	Dead      int64
	Oldest    float64
	Storage   int64
	Queues    int
	Partial   bool // there is more than was looked at
	Total     int  // namespaces
}

type overviewRow struct {
	namespace

	Queues            int64
	Visible, InFlight int64
	Dead              int64
	Oldest            float64
	Limits            []limit
	Down              bool

	attention []attention
	partial   bool
	storage   int64
}

func (p *page) overview() error {
	var list struct {
		Namespaces []namespace `json:"namespaces"`
		TotalCount int         `json:"total_count"`
	}
	if err := p.get(own("namespaces"), url.Values{"page_size": {strconv.Itoa(overviewNamespaces)}}, &list); err != nil {
		return err
	}
	out := overview{Total: list.TotalCount, Partial: list.TotalCount > len(list.Namespaces), Rows: make([]overviewRow, len(list.Namespaces))}
	each(list.Namespaces, 4, func(i int, n namespace) { out.Rows[i] = p.lookAt(n) })
	for _, r := range out.Rows {
		out.Visible, out.InFlight, out.Dead = out.Visible+r.Visible, out.InFlight+r.InFlight, out.Dead+r.Dead
		out.Oldest, out.Storage = max(out.Oldest, r.Oldest), out.Storage+r.storage
		out.Queues += int(r.Queues)
		out.Partial = out.Partial || r.partial
		out.Attention = append(out.Attention, r.attention...)
	}
	slices.SortFunc(out.Attention, func(a, b attention) int { return cmp.Or(cmp.Compare(b.Age, a.Age), cmp.Compare(a.Name, b.Name)) })
	if len(out.Attention) > 20 {
		out.Attention, out.Partial = out.Attention[:20], true
	}
	return p.show("overview", "Overview", out)
}

// lookAt sums up a namespace.
func (p *page) lookAt(n namespace) overviewRow {
	row := overviewRow{namespace: n}
	var u usage
	if err := p.get(own("namespaces", n.ID, "usage"), nil, &u); err != nil {
		row.Down = true
		return row
	}
	row.Limits, row.storage, row.Queues = u.limits(&n), u.StorageBytes, u.Queues
	for _, l := range row.Limits {
		if l.Near() {
			row.attention = append(row.attention, attention{
				NS: &n, Name: l.Name, Why: "more than 80 % of the limit is used", Link: at(Prefix, "ns", n.Account), Age: 1,
			})
		}
	}
	if n.NATS() {
		return row
	}
	var list struct {
		Queues     []queue `json:"queues"`
		TotalCount int     `json:"total_count"`
	}
	if err := p.get(own("namespaces", n.Account, "queues"), url.Values{"page_size": {strconv.Itoa(overviewQueues)}}, &list); err != nil {
		row.Down = true
		return row
	}
	row.partial = list.TotalCount > len(list.Queues)
	for _, q := range list.Queues {
		row.Visible, row.InFlight, row.Oldest = row.Visible+q.Visible, row.InFlight+q.InFlight, max(row.Oldest, q.OldestAge)
		if q.DLQ() {
			row.Dead += q.Visible
		}
		if why := q.Attention(); why != "" {
			row.attention = append(row.attention, attention{&n, q.Name, why, at(Prefix, "ns", n.Account, "queues", q.Name), q.OldestAge})
		}
	}
	return row
}
