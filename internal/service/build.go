package service

import (
	"runtime"
	"runtime/debug"
)

// Build says which program this is.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// version is set by the linker in release builds:
// -ldflags "-X github.com/openmnq/mnq/internal/service.version=v1.2.3".
var version string

// commit is set by the linker when the build has no version-control stamp.
var commit string

// ReadBuild returns the build information of the running program. Fields that
// nobody recorded hold "devel" and "unknown".
func ReadBuild() Build {
	b := Build{Version: version, Commit: commit, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && b.Commit == "" {
				b.Commit = s.Value
			}
		}
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}
