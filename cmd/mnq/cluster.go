package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openmnq/mnq/internal/atomicfile"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/rest"
	"github.com/openmnq/mnq/tenant"
)

type clusterCmd struct {
	Init   clusterInitCmd   `cmd:"" help:"Make the keys of a cluster in the first node's data directory, and a token for the others."`
	Join   clusterJoinCmd   `cmd:"" help:"Put the keys of a token into another node's data directory."`
	Remove clusterRemoveCmd `cmd:"" help:"Take a node that is gone for good out of a running cluster."`
}

// dataDir is a data directory that is prepared before mnq serve is started on it.
type dataDir struct {
	DataDir string `placeholder:"DIR" help:"The node's data directory ($MNQ_DATA_DIR). Default: ./mnq-data."`
}

func (d dataDir) path(a *app) string { return cmp.Or(d.DataDir, a.env["MNQ_DATA_DIR"], "./mnq-data") }

// token carries what every node of a cluster has to hold.
type token struct {
	OperatorSeed string `json:"operator_seed"`
	tenant.Secrets
}

const (
	tokenHead = "# OpenMNQ cluster token. Whoever has it owns the installation: remove it when every node has joined.\n" //nolint:gosec // what stands before one
	tokenMark = "mnq-cluster-1:"                                                                                         //nolint:gosec // the version is part of the mark
	maxToken  = 64 << 10
)

func (t token) encode() ([]byte, error) {
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return []byte(tokenHead + tokenMark + base64.RawURLEncoding.EncodeToString(append(raw, sum[:8]...)) + "\n"), nil
}

func decodeToken(text []byte) (t token, err error) {
	for line := range strings.Lines(string(text)) {
		code, ok := strings.CutPrefix(strings.TrimSpace(line), tokenMark)
		if !ok {
			continue
		}
		raw, err := base64.RawURLEncoding.DecodeString(code)
		if err != nil || len(raw) < 8 {
			return t, errors.New("is damaged: copy it again")
		}
		raw, mark := raw[:len(raw)-8], raw[len(raw)-8:]
		if sum := sha256.Sum256(raw); string(sum[:8]) != string(mark) || json.Unmarshal(raw, &t) != nil {
			return t, errors.New("is damaged: copy it again")
		}
		return t, nil
	}
	return t, errors.New("holds no cluster token that this mnq knows")
}

type clusterInitCmd struct {
	dataDir

	TokenFile string `placeholder:"FILE" help:"Where to write the token, for its owner only. Default: cluster.token in the data directory."`
	Region    string `default:"fr-par" help:"Region that admin.env names."`
}

// Run makes the keys, unless they are there, and writes the token.
func (c *clusterInitCmd) Run(a *app) error {
	dir := c.path(a)
	file := cmp.Or(c.TokenFile, filepath.Join(dir, "cluster.token"))
	var t token
	var err error
	if t.OperatorSeed, err = node.PrepareKey(dir); err != nil {
		return err
	}
	if t.Secrets, err = tenant.PrepareSecrets(dir, a.env[envMasterKey], c.Region); err != nil {
		return err
	}
	text, err := t.encode()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(file, text); err != nil {
		return err
	}
	return printf(a.stdout, "keys   in %s\ntoken  %s: copy it to each of the other nodes and run: mnq cluster join --token-file FILE\n", dir, file)
}

// envClusterToken holds a token where there are no files that only their owner may read.
const envClusterToken = "MNQ_CLUSTER_TOKEN" //nolint:gosec // the name of a variable

type clusterJoinCmd struct {
	dataDir

	TokenFile string `placeholder:"FILE" help:"The token that mnq cluster init has written. Default: what MNQ_CLUSTER_TOKEN holds, not the name of a file."`
}

// Run writes the keys. Joining again with the same token changes nothing.
func (c *clusterJoinCmd) Run(a *app) error {
	text, from := []byte(a.env[envClusterToken]), envClusterToken
	if c.TokenFile != "" {
		from = "--token-file: " + c.TokenFile
		var err error
		if text, err = readToken(c.TokenFile); err != nil {
			return usagef("--token-file: %w", err)
		}
	} else if len(text) == 0 {
		return usagef("--token-file: is needed, or %s", envClusterToken)
	}
	t, err := decodeToken(text)
	if err != nil {
		return usagef("%s %w", from, err)
	}
	dir := c.path(a)
	if err := node.StoreKey(dir, t.OperatorSeed); err != nil {
		return err
	}
	if err := t.Store(dir); err != nil {
		return err
	}
	return printf(a.stdout, "keys   in %s\n", dir)
}

// readToken reads a file that only its owner may read.
func readToken(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s", path)
	}
	if err == nil && st.Size() > maxToken {
		return nil, fmt.Errorf("%s is too large for a token", path)
	}
	return atomicfile.ReadSecret(path)
}

type clusterRemoveCmd struct {
	connection

	Node  string        `arg:"" help:"Its name, as mnq status shows it."`
	Await time.Duration `default:"10m" help:"How long to wait for others to have the copies that it had; 0: do not wait."`
}

// Run removes the node and waits until every stream has all its copies again.
func (c *clusterRemoveCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	if err := cl.call(a.ctx, http.MethodDelete, own("nodes", c.Node), nil, nil); err != nil {
		return err
	}
	p := &progress{w: a.stderr, terminal: terminal(a.stderr)}
	defer p.end()
	short := -1
	for until := time.Now().Add(c.Await); time.Now().Before(until); {
		var s node.Status
		err := cl.call(a.ctx, http.MethodGet, rest.StatusPath, nil, &s)
		known := slices.ContainsFunc(s.Nodes, func(n node.NodeStatus) bool { return n.Name == c.Node })
		if short = s.Streams.Short + s.Streams.Leaderless; err == nil && !known && short == 0 {
			return printf(a.stdout, "%s is removed, and every stream has all its copies\n", c.Node)
		}
		p.say("%d streams lack a copy", short)
		select {
		case <-time.After(time.Second):
		case <-a.ctx.Done():
			return a.ctx.Err()
		}
	}
	if err := printf(a.stdout, "%s is removed; see mnq status for the copies that are still made\n", c.Node); err != nil || short <= 0 {
		return err
	}
	return statusError(exitPartial)
}
