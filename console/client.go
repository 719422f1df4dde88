package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/openmnq/mnq"
)

// maxAnswer bounds what one call of the control plane may answer.
const maxAnswer = 16 << 20

// problem is an error as a page shows it. The fields are those of the control plane's
// error bodies.
type problem struct {
	Status    int    `json:"-"`
	RequestID string `json:"-"`

	Message     string `json:"message"`
	Type        string `json:"type"`
	Resource    string `json:"resource"`
	ResourceID  string `json:"resource_id"`
	HelpMessage string `json:"help_message"`
	Details     []struct {
		ArgumentName string `json:"argument_name"`
		HelpMessage  string `json:"help_message"`
		Reason       string `json:"reason"`
		Action       string `json:"action"`
		Resource     string `json:"resource"`
		Quota        *int64 `json:"quota"`
		Current      *int64 `json:"current"`
	} `json:"details"`
}

func (p *problem) Error() string { return p.Message }

// Lines says in words what is wrong and what to do.
func (p *problem) Lines() []string {
	var out []string
	switch {
	case p.Type == "not_found" && p.Resource != "":
		out = append(out, "There is no "+strings.ReplaceAll(p.Resource, "_", " ")+" "+p.ResourceID+", or you may not see it.")
	case p.Type == "permissions_denied":
		for _, d := range p.Details {
			out = append(out, "You may look but not do this: it needs the permission to "+d.Action+" "+strings.ReplaceAll(d.Resource, "_", " ")+
				". Ask for an API key or a user with full access.")
		}
		return out
	case p.HelpMessage != "":
		out = append(out, p.HelpMessage)
	case len(p.Details) == 0:
		out = append(out, p.Message)
	}
	for _, d := range p.Details {
		text := d.HelpMessage
		if text == "" {
			text = d.Reason
		}
		if d.ArgumentName != "" {
			text = d.ArgumentName + ": " + text
		}
		if text == "" {
			text = p.Message
		}
		out = append(out, text)
	}
	return out
}

// Line is all of it as one text.
func (p *problem) Line() string { return strings.Join(p.Lines(), " ") }

// problem turns an error into what a page shows. What is not for people stays in the log.
func (p *page) problem(err error) *problem {
	if bad, ok := errors.AsType[*problem](err); ok {
		return bad
	}
	e, _ := errors.AsType[*mnq.Error](err)
	switch mnq.KindOf(err) {
	case mnq.Unavailable:
		return &problem{Status: http.StatusServiceUnavailable, Message: "The storage does not answer. Nothing is lost: try again in a moment."}
	case mnq.Invalid, mnq.Throttled, mnq.Unauthenticated:
		return &problem{Status: http.StatusBadRequest, Message: e.Msg}
	default:
	}
	p.c.cfg.Log.ErrorContext(p.r.Context(), "console failed", "path", p.r.URL.Path, "error", err)
	return &problem{Status: http.StatusInternalServerError, Message: "Something went wrong here, and it is in the server's log."}
}

// answer takes the answer of a call in the same process.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
	full   bool
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(b) > maxAnswer {
		a.full = true
		return 0, errors.New("the answer is too large")
	}
	return a.body.Write(b)
}

// at is the path of a resource of the control plane; the parts after the first are
// escaped.
func at(base string, parts ...string) string {
	var b strings.Builder
	b.WriteString(base)
	for _, part := range parts {
		b.WriteString("/" + url.PathEscape(part))
	}
	return b.String()
}

// own is the path of one of our own resources.
func own(parts ...string) string { return at("/openmnq/v1", parts...) }

// v1alpha1 is the path of a resource of that version.
func (p *page) v1alpha1(parts ...string) string {
	return at("/mnq/v1alpha1/regions/"+p.c.cfg.Region, parts...)
}

// v1beta1 is the path of a resource of that version.
func (p *page) v1beta1(parts ...string) string {
	return at("/mnq/v1beta1/regions/"+p.c.cfg.Region, parts...)
}

// request is a call of the control plane by whoever has signed in.
func (p *page) request(method, path string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(p.r.Context(), method, path, body) //nolint:gosec // it never leaves the process
	if err != nil {
		return nil, err
	}
	r.RemoteAddr, r.Host, r.TLS = p.r.RemoteAddr, p.r.Host, p.r.TLS
	r.Header.Set("User-Agent", p.r.UserAgent())
	return r, nil
}

// call makes a call and decodes its answer into out, when that is not nil. Its error is
// a *problem when the control plane refuses.
func (p *page) call(method, path string, in, out any) error {
	r, err := p.request(method, path, in)
	if err != nil {
		return err
	}
	a := &answer{header: http.Header{}}
	p.c.cfg.API(p.session.who.Identity).ServeHTTP(a, r)
	if a.status >= http.StatusBadRequest {
		bad := &problem{Status: a.status, RequestID: a.header.Get("X-Request-Id")}
		if json.Unmarshal(a.body.Bytes(), bad) != nil || bad.Message == "" {
			bad.Message = http.StatusText(a.status)
		}
		return bad
	}
	if a.full {
		return &problem{Status: http.StatusInternalServerError, Message: "There is too much to show at once."}
	}
	if out == nil || a.status == http.StatusNoContent {
		return nil
	}
	return json.Unmarshal(a.body.Bytes(), out)
}

func (p *page) get(path string, query url.Values, out any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return p.call(http.MethodGet, path, nil, out)
}

func (p *page) post(path string, in, out any) error { return p.call(http.MethodPost, path, in, out) }

func (p *page) delete(path string) error { return p.call(http.MethodDelete, path, nil, nil) }
