package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/atomicfile"
)

// Format is the version of what is in a data directory. A program opens its own
// and every older one, and refuses newer ones.
//
//	1  keys/, accounts/, nats/ and this file; a directory without it is 1 too
const Format = 1

// layout is the file "format" in the data directory.
type layout struct {
	Format  int    `json:"format"`
	Cluster string `json:"cluster,omitempty"` // of which cluster nats/ is a part
	Node    string `json:"node,omitempty"`    // and under which name
}

func layoutPath(dir string) string { return filepath.Join(dir, "format") }

// checkLayout refuses a data directory that this program, or a program so
// configured, would damage: a server takes streams that its cluster does not know
// of for leftovers and removes them.
func checkLayout(cfg Config) error {
	path := layoutPath(cfg.DataDir)
	bad := func(field, format string, args ...any) error {
		return &mnq.Error{Kind: mnq.Invalid, Op: "node.New", Field: field, Resource: path, Msg: fmt.Sprintf(format, args...)}
	}
	want := layout{Format: Format}
	if cfg.Cluster != nil {
		want.Cluster, want.Node = cfg.Cluster.Name, cfg.Cluster.Node
	}
	var have layout
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Join(cfg.DataDir, "nats")); err != nil { // new
			return want.write(path)
		}
		have.Format = 1
	case err != nil:
		return bad("data-dir", "its format cannot be read: %s", err)
	default:
		if err := json.Unmarshal(text, &have); err != nil || have.Format < 1 {
			return bad("data-dir", "the file %s is damaged: restore it, or the whole directory, from a backup", path)
		}
	}
	const move = "; to move the data use mnq backup, and mnq restore into a new installation"
	switch {
	case have.Format > Format:
		return bad("data-dir", "has format %d, and this mnq knows formats up to %d: use the mnq that wrote it, or a newer one", have.Format, Format)
	case cfg.External != nil:
		return nil // nothing of the cluster's is kept here
	case have.Cluster == "" && want.Cluster != "":
		if _, err := os.Stat(filepath.Join(cfg.DataDir, "nats")); err == nil {
			return bad("cluster-name", "the data-dir belongs to a single node%s", move)
		}
	case have.Cluster != "" && want.Cluster == "":
		return bad("cluster-name", "the data-dir belongs to node %s of cluster %s: start it with the same --cluster-* settings%s", have.Node, have.Cluster, move)
	case have.Cluster != want.Cluster:
		return bad("cluster-name", "the data-dir belongs to cluster %s, not %s%s", have.Cluster, want.Cluster, move)
	case have.Node != want.Node:
		return bad("cluster-node", "the data-dir belongs to node %s, not %s: a node keeps its name", have.Node, want.Node)
	}
	if have == want && err == nil {
		return nil
	}
	return want.write(path)
}

func (l layout) write(path string) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(text, '\n'))
}
