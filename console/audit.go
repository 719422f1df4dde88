package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// auditRecord is one operation that somebody asked for.
type auditRecord struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	Actor     string    `json:"actor"`
	Role      string    `json:"role"`
	ProjectID string    `json:"project_id"`
	Action    string    `json:"action"`
	Resource  string    `json:"resource"`
	Result    string    `json:"result"`
	Reason    string    `json:"reason"`
	Address   string    `json:"ip"`
	Agent     string    `json:"agent"`
	RequestID string    `json:"request_id"`
	Via       string    `json:"via"`
}

// Short is the resource without what all have in common, and long ids cut.
func (r auditRecord) Short() string {
	parts := strings.Split(strings.TrimPrefix(r.Resource, "/openmnq/v1"), "/")
	for i, part := range parts {
		if len(part) >= 56 && strings.ToUpper(part) == part {
			parts[i] = part[:6] + "…" + part[len(part)-4:]
		}
	}
	return strings.Join(parts, "/")
}

// auditPage is what a search of the audit log finds.
type auditPage struct {
	Actor, Action, Resource, Result string
	Since, Until                    string
	Records                         []auditRecord
	Next                            string
	CLI                             string
}

const shownRecords = 50

func (p *page) searchAudit(max int) (*auditPage, error) {
	out := &auditPage{Actor: p.query("actor"), Action: p.query("action"), Resource: p.query("resource"), Result: p.query("result"), Since: p.query("since"), Until: p.query("until")}
	q, words := url.Values{"max": {strconv.Itoa(max)}}, []string{"audit"}
	for _, f := range []struct{ name, v string }{{"actor", out.Actor}, {"action", out.Action}, {"resource", out.Resource}, {"result", out.Result}} {
		if f.v != "" {
			q.Set(f.name, f.v)
			words = append(words, "--"+f.name, f.v)
		}
	}
	for _, f := range []struct{ name, v string }{{"since", out.Since}, {"until", out.Until}} {
		if t, err := time.Parse("2006-01-02T15:04", f.v); err == nil {
			q.Set(f.name, t.UTC().Format(time.RFC3339))
			words = append(words, "--"+f.name, t.UTC().Format(time.RFC3339))
		}
	}
	if before := p.query("before"); before != "" {
		q.Set("before", before)
	}
	var found struct {
		Records []auditRecord `json:"records"`
		Next    *uint64       `json:"next"`
	}
	if err := p.get(own("audit"), q, &found); err != nil {
		return nil, err
	}
	out.Records, out.CLI = found.Records, command(words...)
	if found.Next != nil {
		next := p.r.URL.Query()
		next.Set("before", strconv.FormatUint(*found.Next, 10))
		out.Next = p.r.URL.Path + "?" + next.Encode()
	}
	return out, nil
}

func (p *page) audit() error {
	out, err := p.searchAudit(shownRecords)
	if p.refused(err) {
		out, err = &auditPage{CLI: "mnq audit"}, nil
	}
	if err != nil {
		return err
	}
	return p.show("audit", "Audit log", out)
}

// exportAudit answers with the records, up to a thousand, one JSON object a line.
func (p *page) exportAudit() error {
	out, err := p.searchAudit(1000)
	if err != nil {
		return err
	}
	p.w.Header().Set("Content-Type", "application/x-ndjson")
	p.w.Header().Set("Content-Disposition", `attachment; filename="audit.jsonl"`)
	p.w.WriteHeader(http.StatusOK)
	for _, r := range out.Records {
		if err := writeLine(p.w, r); err != nil {
			return nil //nolint:nilerr // the browser has gone
		}
	}
	return nil
}
