package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

type auditCmd struct {
	connection

	Actor     string `placeholder:"KEY" help:"Only what this access key did."`
	Action    string `placeholder:"TEXT" help:"Only actions with this text, such as purge."`
	Resource  string `placeholder:"TEXT" help:"Only resources with this text."`
	Result    string `placeholder:"NAME" help:"Only this result: ok, denied, not_found, …, or unknown: begun, and nothing is known of its end."`
	ProjectID string `placeholder:"UUID" help:"Only what concerns this project."`
	Since     string `placeholder:"TIME" help:"RFC 3339, or an age such as 24h."`
	Until     string `placeholder:"TIME" help:"RFC 3339, or an age such as 1h."`
	Max       int    `default:"100" help:"How many records at most."`
}

// auditRecord is a record of the audit log.
type auditRecord struct {
	Time     time.Time `json:"time"`
	Actor    string    `json:"actor"`
	Role     string    `json:"role"`
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
	Result   string    `json:"result"`
	Address  string    `json:"ip"`
	Via      string    `json:"via"`
}

const auditPage = 1000

// Run prints the audit log, the newest record first; with --json one to a line, as
// they are exported.
func (c *auditCmd) Run(a *app) error {
	if c.Max < 1 {
		return usagef("--max: must be at least 1")
	}
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, v := range map[string]string{"actor": c.Actor, "action": c.Action, "resource": c.Resource, "result": c.Result, "project_id": c.ProjectID} {
		if v != "" {
			query.Set(name, v)
		}
	}
	for name, v := range map[string]string{"since": c.Since, "until": c.Until} {
		if v == "" {
			continue
		}
		at, err := timeOrAge(v, time.Now())
		if err != nil {
			return usagef("--%s: %w", name, err)
		}
		query.Set(name, at.Format(time.RFC3339Nano))
	}
	var all []json.RawMessage
	for len(all) < c.Max {
		query.Set("max", strconv.Itoa(min(auditPage, c.Max-len(all))))
		var page struct {
			Records []json.RawMessage `json:"records"`
			Next    *uint64           `json:"next"`
		}
		if err := cl.call(a.ctx, http.MethodGet, own("audit")+"?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		all = append(all, page.Records...)
		if page.Next == nil {
			break
		}
		query.Set("before", strconv.FormatUint(*page.Next, 10))
	}
	t := newTable(a.stdout, "TIME", "ACTOR", "ROLE", "ACTION", "RESOURCE", "RESULT", "FROM", "VIA")
	for _, raw := range all {
		if c.JSON {
			if err := printf(a.stdout, "%s\n", raw); err != nil {
				return err
			}
			continue
		}
		var r auditRecord
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		t.row(stamp(r.Time), r.Actor, r.Role, r.Action, r.Resource, r.Result, r.Address, r.Via)
	}
	if c.JSON {
		return nil
	}
	return t.flush()
}
