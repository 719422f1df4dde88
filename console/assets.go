package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
)

// assets are our own style and script, and libraries as their authors publish them;
// assets/README.md says which.
//
//go:embed assets/*.css assets/*.js assets/*.svg
var assets embed.FS

// asset is a file that a browser may keep: its address changes with it.
type asset struct {
	path string // with the beginning of its hash
	kind string
	data []byte
}

var (
	assetByName = map[string]asset{}
	assetByPath = map[string]asset{}
)

func init() { //nolint:gochecknoinits // a table of embedded files
	entries, err := assets.ReadDir("assets")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		data, err := assets.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		a := asset{hex.EncodeToString(sum[:6]) + "/" + e.Name(), mime.TypeByExtension(path.Ext(e.Name())), data}
		switch path.Ext(e.Name()) {
		case ".js":
			a.kind = "text/javascript; charset=utf-8"
		case ".css":
			a.kind = "text/css; charset=utf-8"
		case ".svg":
			a.kind = "image/svg+xml"
		}
		assetByName[e.Name()], assetByPath[a.path] = a, a
	}
}

// assetPath is the address of a file.
func assetPath(name string) string { return Prefix + "/assets/" + assetByName[name].path }

func (p *page) asset() error {
	a, ok := assetByPath[p.r.PathValue("hash")+"/"+p.r.PathValue("file")]
	if !ok {
		http.NotFound(p.w, p.r)
		return nil
	}
	p.w.Header().Set("Content-Type", a.kind)
	p.w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, err := p.w.Write(a.data)
	return err
}
