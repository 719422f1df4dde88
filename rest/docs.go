package rest

import (
	"embed"
	"encoding/json"
	"net/http"
	"path"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed assets
var assets embed.FS

// docsPolicy lets the page load its own script and style and fetch the OpenAPI
// document, and nothing else.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var docsTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
}

// registerDocs serves the page that renders the OpenAPI document.
func registerDocs(mux *http.ServeMux) {
	mux.HandleFunc("GET /docs", docsFile("docs.html"))
	mux.HandleFunc("GET /docs/docs.js", docsFile("docs.js"))
	mux.HandleFunc("GET /docs/docs.css", docsFile("docs.css"))
}

func docsFile(name string) http.HandlerFunc {
	content, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // the file is part of the program
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", docsTypes[path.Ext(name)])
		w.Header().Set("Content-Security-Policy", docsPolicy)
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(content)
	}
}

// openAPI renders the document once; it never changes while the program runs.
func openAPI(doc *huma.OpenAPI) []byte {
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(err) // it is built from constants only
	}
	return out
}
