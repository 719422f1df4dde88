package tenant

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/openmnq/mnq/internal/atomicfile"
)

// adminEnv is the file admin.env: the first API key, in shell syntax, for people
// and for tools that know the SCW_* variables.
type adminEnv struct {
	AccessKey      string
	SecretKey      string
	ProjectID      string
	OrganizationID string
	Region         string
	APIURL         string
}

const adminEnvHead = "# The installation's first API key. Load it with: set -a; . ./admin.env; set +a\n"

func adminEnvPath(dataDir string) string { return filepath.Join(dataDir, "admin.env") }

func (e *adminEnv) fields() []struct {
	name  string
	value *string
} {
	return []struct {
		name  string
		value *string
	}{
		{"SCW_ACCESS_KEY", &e.AccessKey},
		{"SCW_SECRET_KEY", &e.SecretKey},
		{"SCW_DEFAULT_PROJECT_ID", &e.ProjectID},
		{"SCW_DEFAULT_ORGANIZATION_ID", &e.OrganizationID},
		{"SCW_DEFAULT_REGION", &e.Region},
		{"SCW_API_URL", &e.APIURL},
	}
}

func (e adminEnv) String() string {
	var b strings.Builder
	b.WriteString(adminEnvHead)
	for _, f := range e.fields() {
		b.WriteString(f.name + "=" + shellQuote(*f.value) + "\n")
	}
	return b.String()
}

// usable reports whether the file names a whole key.
func (e adminEnv) usable() bool {
	return e.AccessKey != "" && e.SecretKey != "" && e.ProjectID != "" && e.OrganizationID != ""
}

func parseAdminEnv(text string) adminEnv {
	var e adminEnv
	for line := range strings.SplitSeq(text, "\n") {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		for _, f := range e.fields() {
			if f.name == name {
				*f.value = shellUnquote(value)
			}
		}
	}
	return e
}

// withLines returns text with the values given replaced where they stand, unless they
// are empty; everything else stays as its owner wrote it.
func withLines(text string, values map[string]string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		if v := values[name]; v != "" {
			line = name + "=" + shellQuote(v) + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

func shellQuote(v string) string {
	safe := strings.IndexFunc(v, func(r rune) bool {
		return !strings.ContainsRune(alphanumeric+"-_.:/[]", r)
	}) < 0
	if safe {
		return v
	}
	return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'"
}

func shellUnquote(v string) string {
	v = strings.TrimSpace(v)
	if len(v) >= 2 && v[0] == '\'' && v[len(v)-1] == '\'' {
		return strings.ReplaceAll(v[1:len(v)-1], `'\''`, "'")
	}
	return strings.Trim(v, `"`)
}

// readAdminEnv returns the file, or ok = false when there is none.
func readAdminEnv(dataDir string) (text string, ok bool, err error) {
	raw, err := atomicfile.ReadSecret(adminEnvPath(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return string(raw), err == nil, err
}

func writeAdminEnv(dataDir, text string) error {
	return atomicfile.Write(adminEnvPath(dataDir), []byte(text))
}
