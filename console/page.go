package console

import (
	"bytes"
	"cmp"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq/tenant"
)

// page is one request and its answer.
type page struct {
	c       *Console
	w       http.ResponseWriter
	r       *http.Request
	session *session // nil before somebody has signed in
	ns      *namespace
	status  int
	now     time.Time
	id      string
	fault   *problem // why the form on this page was refused
}

// view is what every template is given.
type view struct {
	Title   string
	Nav     string // the entry of the menu that this page belongs to
	Page    string // the template
	Path    string
	URL     string // with the query
	Query   template.URL
	Theme   string
	Now     time.Time
	Version string

	Who      string // "" before sign-in
	Role     string
	CanWrite bool
	IsAdmin  bool // sees all projects
	CSRF     string
	NS       *namespace
	Notice   *notice
	Fault    *problem
	Data     any
}

func (p *page) requestID() string {
	p.id = cmp.Or(p.id, uuid.NewString())
	return p.id
}

// show renders a page.
func (p *page) show(name, title string, data any) error {
	v := view{
		Title: title, Page: name, Nav: navOf(p.r.URL.Path), Path: p.r.URL.Path, URL: p.r.URL.RequestURI(),
		Now: p.now, Version: p.c.cfg.Version, NS: p.ns, Fault: p.fault, Data: data,
	}
	v.Query = template.URL(p.r.URL.Query().Encode()) //nolint:gosec // encoded just now
	if p.r.Method != http.MethodGet {                // what is shown in answer to a form has its page's address
		v.URL = v.Path
	}
	if cookie, err := p.r.Cookie(themeCookie); err == nil && (cookie.Value == "light" || cookie.Value == "dark") {
		v.Theme = cookie.Value
	}
	if p.session != nil {
		p.rememberPlace(&v)
		id := p.session.who.Identity
		v.Who, v.CSRF = strings.TrimPrefix(id.AccessKey, tenant.ActorUser), p.session.who.CSRF
		v.CanWrite, v.IsAdmin = !id.ReadOnly, id.ProjectID == ""
		v.Role = role(id.ReadOnly, id.ProjectID)
		v.Notice = p.noticed()
	}
	var out bytes.Buffer
	if err := p.c.pages.render(&out, name, v); err != nil {
		p.c.cfg.Log.ErrorContext(p.r.Context(), "console template failed", "page", name, "error", err)
		http.Error(p.w, "internal error", http.StatusInternalServerError)
		return nil
	}
	p.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	p.w.Header().Set("X-Request-Id", p.requestID())
	if p.fault != nil && p.status == http.StatusOK {
		p.status = http.StatusUnprocessableEntity
	}
	p.w.WriteHeader(p.status)
	_, err := p.w.Write(out.Bytes())
	return err
}

// rememberPlace lets the menu of pages that are in no namespace lead back to the last one.
func (p *page) rememberPlace(v *view) {
	cookie, err := p.r.Cookie(placeCookie)
	switch {
	case p.ns != nil && (err != nil || cookie.Value != p.ns.Account):
		p.setCookie(placeCookie, p.ns.Account, int(tenant.SessionTime/time.Second))
	case p.ns == nil && err == nil:
		ns := &namespace{}
		if p.get(own("namespaces", cookie.Value), nil, ns) == nil {
			v.NS = ns
		}
	}
}

func role(readOnly bool, projectID string) string {
	access := "full access"
	if readOnly {
		access = "read-only"
	}
	if projectID != "" {
		return access + ", one project"
	}
	return access + ", all projects"
}

// navOf is the menu entry of a path.
func navOf(path string) string {
	rest := strings.TrimPrefix(path, Prefix+"/")
	parts := strings.Split(rest, "/")
	if parts[0] == "ns" && len(parts) > 2 {
		return parts[2]
	}
	if parts[0] == "ns" {
		return "namespace"
	}
	return cmp.Or(parts[0], "overview")
}

// redirect sends the browser to a page of the console; the parts are escaped.
func (p *page) redirect(parts ...string) error {
	return p.redirectTo(at(Prefix, parts...))
}

func (p *page) redirectTo(path string) error {
	http.Redirect(p.w, p.r, path, http.StatusSeeOther) //nolint:gosec // made by at, or checked by ownPath
	return nil
}

// refused reports whether err is the control plane's refusal of what a form asked for,
// and keeps it for the page to show beside the form.
func (p *page) refused(err error) bool {
	bad, ok := errors.AsType[*problem](err)
	if ok && bad.Status < http.StatusInternalServerError && bad.Status != http.StatusNotFound {
		p.fault, p.status = bad, bad.Status
		return true
	}
	return false
}

// refuse is refused for what the console itself finds.
func (p *page) refuse(text string) {
	p.fault, p.status = &problem{Status: http.StatusUnprocessableEntity, Message: text}, http.StatusUnprocessableEntity
}

func (p *page) query(name string) string { return strings.TrimSpace(p.r.URL.Query().Get(name)) }

func (p *page) form(name string) string { return p.r.PostFormValue(name) }

// number is a number of the query within bounds, or def.
func (p *page) number(name string, def, least, most int) int {
	n, err := strconv.Atoi(p.query(name))
	if err != nil {
		return def
	}
	return min(max(n, least), most)
}

// paging is where in a list a page is.
type paging struct {
	Page, Size, Total int
	url               url.URL
}

const pageSize = 50

// paging reads the page number of the query.
func (p *page) paging() paging {
	return paging{Page: p.number("page", 1, 1, 1_000_000), Size: pageSize, url: *p.r.URL}
}

func (g paging) query() url.Values {
	return url.Values{"page": {strconv.Itoa(g.Page)}, "page_size": {strconv.Itoa(g.Size)}}
}

// First, Last, Pages, More and the links are for the templates.
func (g paging) First() int { return min((g.Page-1)*g.Size+1, g.Total) }

// Last is the number of the last item shown.
func (g paging) Last() int { return min(g.Page*g.Size, g.Total) }

// Pages is how many there are.
func (g paging) Pages() int { return max(1, (g.Total+g.Size-1)/g.Size) }

// Prev is the address of the page before; "" on the first.
func (g paging) Prev() string { return g.link(g.Page - 1) }

// Next is the address of the page after; "" on the last.
func (g paging) Next() string { return g.link(g.Page + 1) }

func (g paging) link(n int) string {
	if n < 1 || n > g.Pages() {
		return ""
	}
	q := g.url.Query()
	q.Set("page", strconv.Itoa(n))
	return g.url.Path + "?" + q.Encode()
}
