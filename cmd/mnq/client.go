package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/rest"
)

// opClient is the Op of errors that a server answered, or that kept us from one.
const opClient = "client"

const (
	maxAnswer = 16 << 20
	pageSize  = 100
	maxPages  = 10_000
)

// connection is what every client command shares.
type connection struct {
	JSON    bool          `name:"json" help:"Print JSON."`
	Context string        `placeholder:"NAME" help:"Use this remembered server (mnq context ls) instead of SCW_*."`
	Timeout time.Duration `default:"30s" help:"How long one request may take."`
}

// target is a control plane and how to be known there.
type target struct {
	APIURL    string `yaml:"api_url" json:"api_url"`
	SecretKey string `yaml:"secret_key" json:"-"`
	ProjectID string `yaml:"project_id,omitempty" json:"project_id,omitempty"`
	Region    string `yaml:"region,omitempty" json:"region,omitempty"`
}

// target chooses: --context, then the SCW_* variables, then the current context.
func (c *connection) target(e env) (target, error) {
	name := c.Context
	if name == "" && e["SCW_API_URL"] != "" {
		return target{
			APIURL: e["SCW_API_URL"], SecretKey: e["SCW_SECRET_KEY"],
			ProjectID: e["SCW_DEFAULT_PROJECT_ID"], Region: e["SCW_DEFAULT_REGION"],
		}.complete()
	}
	all, err := loadContexts(e)
	if err != nil {
		return target{}, err
	}
	if name = cmp.Or(name, all.Current); name == "" {
		return target{}, usagef("no server given: load admin.env (set -a; . mnq-data/admin.env; set +a) or use mnq context add")
	}
	t, ok := all.Contexts[name]
	if !ok {
		return target{}, usagef("--context: there is no context %q", name)
	}
	return t.complete()
}

func (t target) complete() (target, error) {
	if t.SecretKey == "" {
		return t, usagef("SCW_SECRET_KEY: is not set")
	}
	if u, err := url.Parse(t.APIURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return t, usagef("SCW_API_URL: must be a URL such as http://127.0.0.1:9324, not %q", t.APIURL)
	}
	t.APIURL = strings.TrimRight(t.APIURL, "/")
	t.Region = cmp.Or(t.Region, "fr-par")
	return t, nil
}

// client talks to one control plane.
type client struct {
	target

	http *http.Client
}

func (c *connection) client(a *app) (*client, error) {
	t, err := c.target(a.env)
	if err != nil {
		return nil, err
	}
	return &client{target: t, http: &http.Client{
		Timeout: c.Timeout,
		// The secret is meant for this server, not for where it points to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// regional is the path of a v1alpha1 resource.
func (c *client) regional(resource string, id ...string) string {
	return joinPath("/mnq/v1alpha1/regions/"+url.PathEscape(c.Region)+"/"+resource, id)
}

func own(resource string, id ...string) string { return joinPath("/openmnq/v1/"+resource, id) }

func joinPath(path string, id []string) string {
	for _, part := range id {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// call sends in as JSON, when it is not nil, and decodes the answer into out,
// when that is not nil.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.APIURL+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", c.SecretKey)
	req.Header.Set("User-Agent", "mnq/"+service.ReadBuild().Version)
	req.Header.Set(rest.ClientHeader, "cli")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return answerError(resp.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return &mnq.Error{Kind: mnq.Internal, Op: opClient, Msg: "the server's answer is not what was expected; is " + c.APIURL + " an mnq server?", Err: err}
	}
	return nil
}

// maxEvent bounds one server-sent event: a message of a megabyte in JSON.
const maxEvent = 8 << 20

// events passes server-sent events to each until that returns false, the server ends
// or ctx does, which is no failure. The event "end" is the error that ended it.
func (c *client) events(ctx context.Context, path string, each func(name string, data []byte) (more bool, err error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.APIURL+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", c.SecretKey)
	req.Header.Set("User-Agent", "mnq/"+service.ReadBuild().Version)
	req.Header.Set(rest.ClientHeader, "cli")
	patient := *c.http
	patient.Timeout = 0 // it lasts as long as the user wants
	resp, err := patient.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return c.unreachable(err)
		}
		return answerError(resp.StatusCode, answer)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	name := ""
	for lines.Scan() {
		switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
		case "event":
			name = value
		case "data":
			if name == "end" {
				return endError([]byte(value))
			}
			if more, err := each(name, []byte(value)); err != nil || !more {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return c.unreachable(err)
	}
	return nil
}

// endError is the error that ended a stream, by its type because there is no status.
func endError(body []byte) error {
	status := http.StatusInternalServerError
	var e struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(body, &e) == nil {
		switch e.Type {
		case "not_found":
			status = http.StatusNotFound
		case "too_many_requests":
			status = http.StatusTooManyRequests
		case "unavailable":
			status = http.StatusServiceUnavailable
		}
	}
	return answerError(status, body)
}

func (c *client) unreachable(err error) error {
	reason := err.Error()
	if ue, ok := errors.AsType[*url.Error](err); ok {
		reason = ue.Err.Error()
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		reason = oe.Err.Error()
	}
	return &mnq.Error{Kind: mnq.Unavailable, Op: opClient, Msg: "cannot reach " + c.APIURL + ": " + reason}
}

// answerError turns an error body into an error whose kind decides the exit code.
func answerError(status int, body []byte) error {
	var e struct {
		Message     string `json:"message"`
		Type        string `json:"type"`
		Resource    string `json:"resource"`
		ResourceID  string `json:"resource_id"`
		HelpMessage string `json:"help_message"`
		Details     []struct {
			ArgumentName string `json:"argument_name"`
			Reason       string `json:"reason"`
			HelpMessage  string `json:"help_message"`
			Action       string `json:"action"`
			Resource     string `json:"resource"`
		} `json:"details"`
	}
	text := http.StatusText(status)
	if json.Unmarshal(body, &e) == nil && e.Message != "" {
		text = e.Message
	}
	if e.Resource != "" {
		text += ": " + strings.TrimSpace(e.Resource+" "+e.ResourceID)
	}
	if e.HelpMessage != "" {
		text += ": " + e.HelpMessage
	}
	for _, d := range e.Details {
		text += ": " + strings.Join(strings.Fields(d.ArgumentName+" "+d.Action+" "+d.Resource+" "+cmp.Or(d.HelpMessage, d.Reason)), " ")
	}
	return &mnq.Error{Kind: kindOfStatus(status), Op: opClient, Code: e.Type, Msg: fmt.Sprintf("%s (%d)", text, status)}
}

func kindOfStatus(status int) mnq.Kind {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return mnq.Invalid
	case http.StatusUnauthorized:
		return mnq.Unauthenticated
	case http.StatusForbidden:
		return mnq.Denied
	case http.StatusNotFound:
		return mnq.NotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return mnq.Conflict
	case http.StatusTooManyRequests:
		return mnq.Throttled
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return mnq.Unavailable
	}
	return mnq.Internal
}

// list fetches every page. field is the key that holds the items.
func list[T any](ctx context.Context, c *client, path, field string, query url.Values) ([]T, error) {
	all := []T{}
	if query == nil {
		query = url.Values{}
	}
	query.Set("page_size", strconv.Itoa(pageSize))
	for page := 1; page <= maxPages; page++ {
		query.Set("page", strconv.Itoa(page))
		var raw map[string]json.RawMessage
		if err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &raw); err != nil {
			return nil, err
		}
		var items []T
		if err := json.Unmarshal(raw[field], &items); err != nil {
			return nil, &mnq.Error{Kind: mnq.Internal, Op: opClient, Msg: "the server's list of " + field + " cannot be read", Err: err}
		}
		all = append(all, items...)
		if len(items) < pageSize {
			break
		}
	}
	return all, nil
}
