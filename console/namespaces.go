package console

import (
	"cmp"
	"net/url"
	"time"
)

// namespace is what the control plane says of one.
type namespace struct {
	ID        string     `json:"id"`
	Account   string     `json:"account"`
	Name      string     `json:"name"`
	Protocol  string     `json:"protocol"`
	ProjectID string     `json:"project_id"`
	Activated bool       `json:"activated"`
	Quota     quota      `json:"quota"`
	CreatedAt *time.Time `json:"created_at"`
}

// NATS reports whether it speaks NATS, and not SQS and SNS.
func (n *namespace) NATS() bool { return n.Protocol == "nats" }

// Title is its name; those of activations have none of their own.
func (n *namespace) Title() string {
	if n.Activated {
		return cmp.Or(n.Name, "SQS and SNS")
	}
	return cmp.Or(n.Name, n.Account)
}

type quota struct {
	StorageBytes  int64 `json:"storage_bytes"`
	MessageBytes  int64 `json:"message_bytes"`
	Queues        int64 `json:"queues"`
	Topics        int64 `json:"topics"`
	Subscriptions int64 `json:"subscriptions"`
	Streams       int64 `json:"streams"`
	Consumers     int64 `json:"consumers"`
	Connections   int64 `json:"connections"`
}

type usage struct {
	StorageBytes int64 `json:"storage_bytes"`
	Streams      int64 `json:"streams"`
	Consumers    int64 `json:"consumers"`
	Queues       int64 `json:"queues"`
	Topics       int64 `json:"topics"`
	Quota        quota `json:"quota"`
}

// limit is one line of limits against use.
type limit struct {
	Name      string
	Used, Max int64 // Max < 0: none
	Bytes     bool
}

// Near reports whether most of it is used.
func (l limit) Near() bool { return l.Max > 0 && l.Used*10 >= l.Max*8 }

func (u usage) limits(n *namespace) []limit {
	q := u.Quota
	out := []limit{{"Storage", u.StorageBytes, q.StorageBytes, true}}
	if n.NATS() {
		return append(out, limit{"Streams", u.Streams, q.Streams, false})
	}
	return append(out, limit{"Queues", u.Queues, q.Queues, false}, limit{"Topics", u.Topics, q.Topics, false})
}

type project struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// inNamespace finds the namespace of the path.
func (p *page) inNamespace() error {
	p.ns = &namespace{}
	err := p.get(own("namespaces", p.r.PathValue("ns")), nil, p.ns)
	if err != nil {
		p.ns = nil
	}
	return err
}

// namespaceRow is a line of the list.
type namespaceRow struct {
	namespace

	Project string
	Limits  []limit
	Down    bool // its use could not be asked for
}

type namespaceList struct {
	paging

	Rows     []namespaceRow
	Projects []project
	Form     url.Values
}

func (p *page) namespaces() error {
	out, err := p.listNamespaces(p.paging())
	if err != nil {
		return err
	}
	return p.show("namespaces", "Namespaces", out)
}

// usedAtOnce is how many namespaces are asked for their use together.
const usedAtOnce = 8

func (p *page) listNamespaces(g paging) (*namespaceList, error) {
	var list struct {
		Namespaces []namespace `json:"namespaces"`
		TotalCount int         `json:"total_count"`
	}
	if err := p.get(own("namespaces"), g.query(), &list); err != nil {
		return nil, err
	}
	projects, err := p.projects()
	if err != nil {
		return nil, err
	}
	g.Total = list.TotalCount
	out := &namespaceList{paging: g, Projects: projects, Rows: make([]namespaceRow, len(list.Namespaces))}
	names := map[string]string{}
	for _, pr := range projects {
		names[pr.ID] = pr.Name
	}
	each(list.Namespaces, usedAtOnce, func(i int, n namespace) {
		row := namespaceRow{namespace: n, Project: cmp.Or(names[n.ProjectID], n.ProjectID)}
		var u usage
		if err := p.get(own("namespaces", n.ID, "usage"), nil, &u); err != nil {
			row.Down = true
		} else {
			row.Limits = u.limits(&n)
		}
		out.Rows[i] = row
	})
	return out, nil
}

// projects are the first hundred that the caller sees.
func (p *page) projects() ([]project, error) {
	var list struct {
		Projects []project `json:"projects"`
	}
	err := p.get(own("projects"), url.Values{"page_size": {"100"}}, &list)
	return list.Projects, err
}

func (p *page) createNamespace() error {
	var made namespace
	in := map[string]any{"name": p.form("name"), "protocol": p.form("protocol"), "project_id": p.form("project_id")}
	err := p.post(p.v1alpha1("namespaces"), in, &made)
	if p.refused(err) {
		out, err := p.listNamespaces(p.paging())
		if err != nil {
			return err
		}
		out.Form = p.r.PostForm
		return p.show("namespaces", "Namespaces", out)
	}
	if err != nil {
		return err
	}
	p.notify("The namespace "+made.Name+" is ready.", command("namespace", "create", made.Name, "--protocol", made.Protocol, "--project-id", made.ProjectID))
	return p.redirect("ns", made.ID)
}

type namespaceView struct {
	Limits  []limit
	Project project
	Charts  *charts // nil for NATS
}

func (p *page) namespacePage() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	var u usage
	if err := p.get(own("namespaces", p.ns.ID, "usage"), nil, &u); err != nil {
		return err
	}
	out := namespaceView{Limits: u.limits(p.ns)}
	if err := p.get(own("projects", p.ns.ProjectID), nil, &out.Project); err != nil {
		return err
	}
	if !p.ns.NATS() {
		var err error
		if out.Charts, err = p.charts(own("namespaces", p.ns.Account, "history"), at(Prefix, "ns", p.ns.Account, "history.json")); err != nil {
			return err
		}
	}
	return p.show("namespace", p.ns.Title(), out)
}
