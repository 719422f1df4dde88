package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/rest"
)

type statusCmd struct {
	connection

	DataDir string `placeholder:"DIR" help:"Ask the process of this data directory with the keys in it. That works before it can check API keys too: while the cluster is not there."`
}

// Run prints the nodes, the streams and what is wrong. All well is exit code 0,
// something that needs attention 6, an installation that can store nothing 1.
func (c *statusCmd) Run(a *app) error {
	cl, err := c.statusClient(a)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := cl.call(a.ctx, http.MethodGet, rest.StatusPath, nil, &raw); err != nil {
		if e, ok := errors.AsType[*mnq.Error](err); ok && c.DataDir == "" && e.Kind == mnq.Unavailable && e.Code != "" {
			e.Msg += "; on that machine, mnq status --data-dir DIR tells more"
		}
		return err
	}
	var s node.Status
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(a.stdout, raw)
	} else {
		err = printStatus(a, s)
	}
	switch {
	case err != nil:
		return err
	case s.State == node.StateDown:
		return statusError(exitFailed)
	case s.State == node.StateDegraded:
		return statusError(exitPartial)
	}
	return nil
}

// statusClient asks with an API key, or with what the data directory's keys allow.
func (c *statusCmd) statusClient(a *app) (*client, error) {
	if c.DataDir == "" {
		return c.client(a)
	}
	token, err := node.StatusToken(c.DataDir)
	if err != nil {
		return nil, err
	}
	e := env{"SCW_API_URL": a.env["SCW_API_URL"], "SCW_SECRET_KEY": token}
	if text, err := os.ReadFile(filepath.Join(c.DataDir, "admin.env")); err == nil {
		for line := range strings.Lines(string(text)) {
			if url, ok := strings.CutPrefix(strings.TrimSpace(line), "SCW_API_URL="); ok {
				e["SCW_API_URL"] = cmp.Or(e["SCW_API_URL"], strings.Trim(url, "'"))
			}
		}
	}
	if e["SCW_API_URL"] == "" {
		return nil, usagef("SCW_API_URL: is not set, and there is no admin.env in %s that says it", c.DataDir)
	}
	return (&connection{JSON: c.JSON, Timeout: c.Timeout}).client(&app{env: e})
}

func printStatus(a *app, s node.Status) error {
	what := string(s.Mode)
	if s.Cluster != "" {
		what += " " + s.Cluster
	}
	if s.Servers > 0 {
		what += fmt.Sprintf(", %d servers, leader %s", s.Servers, cmp.Or(s.Leader, "none"))
	}
	if err := printf(a.stdout, "%s: %s, %d streams\n", s.State, what, s.Streams.Total); err != nil {
		return err
	}
	t := newTable(a.stdout, "NAME", "ROLE", "STATE", "VERSION", "LEADS", "STREAMS", "BEHIND", "LAG", "STORED", "DISK FREE", "MEMORY", "UP")
	for _, n := range s.Nodes {
		mark := ""
		if n.Name == s.Leader {
			mark = "*"
		}
		disk, up := "", ""
		if n.DiskTotal > 0 {
			disk = fmt.Sprintf("%s of %s", bytesOf(n.DiskFree), bytesOf(n.DiskTotal))
		}
		if n.StartedAt != nil {
			up = time.Since(*n.StartedAt).Round(time.Second).String()
		}
		t.row(n.Name+mark, n.Role, n.State, n.Version, strconv.Itoa(n.Leads), strconv.Itoa(n.Streams), strconv.Itoa(n.Behind),
			strconv.FormatUint(n.Lag, 10), bytesOf(n.StoredBytes), disk, bytesOf(n.MemoryBytes), up)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, p := range s.Problems {
		if err := printf(a.stdout, "\n! %s\n  %s\n", strings.Map(printable, p.What), strings.Map(printable, p.Do)); err != nil {
			return err
		}
	}
	return nil
}

// bytesOf is a number of bytes for people.
func bytesOf(n uint64) string {
	const units = "KMGTP"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}
