package tenant

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/openmnq/mnq"
)

func auditPage(t *testing.T, d *Directory, q AuditQuery) AuditPage {
	t.Helper()
	if q.Max == 0 {
		q.Max = 1000
	}
	p, err := d.AuditRecords(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAudit(t *testing.T) {
	t.Parallel()
	b := setup(t, "127.0.0.1:0")
	d := b.process(t)
	did := func(project, action, resource string, err error) {
		t.Helper()
		r := AuditRecord{Actor: "A", Role: "full", ProjectID: project, Action: action, Resource: resource, RequestID: "r", Via: "api"}
		if got := d.Audit(t.Context(), r, func() error { return err }); !errors.Is(got, err) {
			t.Fatalf("%v, want %v", got, err)
		}
	}

	did("p", "x.Create", "/a", nil)
	did("p", "x.Delete", "/b", &mnq.Error{Kind: mnq.NotFound, Msg: "no b"})
	did("q", "x.Delete", "/c", errors.New("secret cause"))
	if err := d.AuditLook(t.Context(), AuditRecord{Action: "x.Look"}, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	// A process that ended in between has left this.
	if err := d.audit.write(t.Context(), AuditRecord{ID: "cut", Action: "x.Cut", Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	want := []string{"x.Cut unknown ", "x.Look ok ", "x.Delete internal ", "x.Delete not_found no b", "x.Create ok "}
	var got []string
	for _, r := range auditPage(t, d, AuditQuery{}).Records {
		got = append(got, r.Action+" "+r.Result+" "+r.Reason)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	for n, q := range map[int][]AuditQuery{
		1: {{Project: "q"}, {Action: "create"}, {Resource: "/b"}, {Result: "not_found"}},
		2: {{Project: "p"}, {Action: "DELETE"}},
		3: {{Actor: "A"}},
		0: {{Project: "other"}, {Since: time.Now().Add(time.Hour)}, {Until: time.Now().Add(-time.Hour)}},
	} {
		for _, q := range q {
			if got := auditPage(t, d, q); len(got.Records) != n || got.Next != 0 {
				t.Errorf("%+v: %d records, next %d, want %d", q, len(got.Records), got.Next, n)
			}
		}
	}

	// More than is read at a time, in pages of odd sizes: each operation once.
	for i := range 600 {
		did("many", "x.Do", fmt.Sprintf("/%d", i), nil)
	}
	seen := 599
	for q := (AuditQuery{Project: "many", Max: 97}); ; {
		p := auditPage(t, d, q)
		for _, r := range p.Records {
			if r.Resource != fmt.Sprintf("/%d", seen) || r.Result != AuditOK {
				t.Fatalf("%+v, want /%d", r, seen)
			}
			seen--
		}
		if q.Before = p.Next; q.Before == 0 {
			break
		}
	}
	if seen != -1 {
		t.Errorf("%d operations are missing", seen+1)
	}
}

// TestNothingIsDoneUnaudited takes the log away.
func TestNothingIsDoneUnaudited(t *testing.T) {
	t.Parallel()
	b := setup(t, "127.0.0.1:0")
	d := b.process(t)
	if err := b.node.Control().DeleteStream(t.Context(), auditStream); err != nil {
		t.Fatal(err)
	}
	if err := d.Audit(t.Context(), AuditRecord{Action: "x"}, func() error { t.Error("done"); return nil }); mnq.KindOf(err) != mnq.Unavailable {
		t.Errorf("a change: %v", err)
	}
	if err := d.AuditLook(t.Context(), AuditRecord{Action: "x"}, func() error { return nil }); mnq.KindOf(err) != mnq.Unavailable {
		t.Errorf("a look: %v", err)
	}
	if _, err := d.AuditRecords(t.Context(), AuditQuery{Max: 1}); mnq.KindOf(err) != mnq.Unavailable {
		t.Errorf("a query: %v", err)
	}
}
