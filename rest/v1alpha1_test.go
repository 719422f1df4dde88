package rest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/openmnq/mnq"
)

var (
	namespaceID = regexp.MustCompile(`^A[A-Z2-7]{55}$`)
	microTime   = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$`)
	accessKey   = regexp.MustCompile(`^[A-Za-z0-9]{20}$`)
	secretKey   = regexp.MustCompile(`^[A-Za-z0-9]{64}$`)
	sha1Hex     = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

func keysOf(m map[string]any) string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

func (r reply) object(t testing.TB, key string) map[string]any {
	t.Helper()
	m, ok := r.body[key].(map[string]any)
	if !ok {
		t.Fatalf("%s is no object in %s", key, r.text)
	}
	return m
}

// names returns the names of the items of a list answer, in order.
func (r reply) names(key string) []string {
	out := []string{}
	items, _ := r.body[key].([]any)
	for _, item := range items {
		m, _ := item.(map[string]any)
		name, _ := m["name"].(string)
		out = append(out, name)
	}
	return out
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	b := setup(t)
	created := b.must(b.bound, "POST", alpha+"/namespaces", fmt.Sprintf(`{"name":"main","protocol":"nats","project_id":%q}`, b.project))
	id := created.str("id")

	if created.status != 200 || !namespaceID.MatchString(id) || !microTime.MatchString(created.str("created_at")) ||
		created.str("endpoint") != "nats://nats.test:4222" || created.str("protocol") != "nats" ||
		created.str("project_id") != b.project || created.str("region") != "fr-par" {
		t.Fatalf("created %s", created.text)
	}
	if got := keysOf(created.body); got != "created_at endpoint id name project_id protocol region updated_at" {
		t.Errorf("keys: %s", got)
	}
	if got := b.must(b.bound, "GET", alpha+"/namespaces/"+id, ""); got.text != created.text {
		t.Errorf("get differs from create:\n%s\n%s", got.text, created.text)
	}
	renamed := b.must(b.bound, "PATCH", alpha+"/namespaces", fmt.Sprintf(`{"namespace_id":%q,"name":"new"}`, id))
	if renamed.str("name") != "new" || renamed.str("updated_at") == created.str("updated_at") {
		t.Errorf("renamed: %s", renamed.text)
	}
	same := b.must(b.bound, "PATCH", alpha+"/namespaces", fmt.Sprintf(`{"namespace_id":%q,"name":null}`, id))
	if same.text != renamed.text {
		t.Errorf("a null name changed something: %s", same.text)
	}
	if got := b.must(b.bound, "DELETE", alpha+"/namespaces/"+id, ""); got.status != 204 || got.text != "" {
		t.Errorf("delete: %d %q", got.status, got.text)
	}
	b.wantProblem(b.send(b.bound, "GET", alpha+"/namespaces/"+id, ""), 404, missing("namespace", id))

	aws := b.must(b.bound, "GET", alpha+"/namespaces/"+b.namespace(mnq.ProtocolSQSSNS), "")
	if aws.str("endpoint") != "http://mnq.test:9324" {
		t.Errorf("SQS/SNS endpoint: %s", aws.text)
	}
}

func TestNamespaceLists(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if got := b.must(b.bound, "GET", alpha+"/namespaces", ""); got.text != `{"namespaces":[],"total_count":0}` {
		t.Errorf("empty list: %s", got.text)
	}
	for _, name := range []string{"b", "a", "c"} {
		b.must(b.bound, "POST", alpha+"/namespaces", fmt.Sprintf(`{"name":%q,"protocol":"nats","project_id":%q}`, name, b.project))
	}
	b.must(b.other, "POST", alpha+"/namespaces", fmt.Sprintf(`{"name":"x","protocol":"nats","project_id":%q}`, b.foreign))
	for query, want := range map[string]string{
		"":                                   "b a c",
		"?order_by=created_at_desc":          "c a b",
		"?order_by=name_asc":                 "a b c",
		"?order_by=name_desc":                "c b a",
		"?page_size=2&order_by=name_asc":     "a b",
		"?page=2&page_size=2":                "c",
		"?page=3&page_size=2":                "",
		"?page=2147483647&page_size=100":     "",
		"?project_id=" + b.project:           "b a c",
		"?project_id=" + b.foreign:           "",
		"?project_id=" + unknownUUID:         "",
		"?project_id=":                       "b a c",
		"?organization_id=" + unknownUUID:    "",
		"?unknown=1&order_by=updated_at_asc": "b a c",
		"?organization_id=" + shared.OrganizationID() + "&order_by=project_id_asc&page_size=1": "",
	} {
		got := b.must(b.bound, "GET", alpha+"/namespaces"+query, "")
		if strings.Contains(query, "project_id_asc") {
			if len(got.names("namespaces")) != 1 {
				t.Errorf("%s: %s", query, got.text)
			}
			continue
		}
		if names := strings.Join(got.names("namespaces"), " "); names != want {
			t.Errorf("%q: got %q, want %q", query, names, want)
		}
		total := 3.0
		if strings.Contains(query, b.foreign) || strings.Contains(query, unknownUUID) {
			total = 0
		}
		if got.body["total_count"] != total {
			t.Errorf("%q: total_count %v, want %v", query, got.body["total_count"], total)
		}
	}
	if got := b.must(b.full, "GET", alpha+"/namespaces?project_id="+b.foreign, ""); got.names("namespaces")[0] != "x" {
		t.Errorf("the key that sees everything: %s", got.text)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t)
	nats, aws := b.namespace(mnq.ProtocolNATS), b.namespace(mnq.ProtocolSQSSNS)

	t.Run("OfNATSShowTheFileOnce", func(t *testing.T) {
		t.Parallel()
		b := b.in(t)
		for _, permissions := range []string{"", `,"permissions":null`} {
			c := b.must(b.bound, "POST", alpha+"/credentials", fmt.Sprintf(`{"namespace_id":%q,"name":"c"%s}`, nats, permissions))
			if keysOf(c.body) != "id name namespace_id nats_credentials protocol" ||
				!strings.HasPrefix(c.str("nats_credentials", "content"), "-----BEGIN NATS USER JWT-----") {
				t.Fatalf("created: %s", c.text)
			}
			path := alpha + "/credentials/" + c.str("id")
			for _, again := range []reply{b.must(b.bound, "GET", path, ""), b.must(b.bound, "PATCH", path, `{"name":"c","permissions":null}`)} {
				if keysOf(again.body) != "id name namespace_id protocol" {
					t.Errorf("shown again: %s", again.text)
				}
			}
			b.wantProblem(b.send(b.bound, "PATCH", path, `{"permissions":{"can_manage":true}}`), 400,
				wrong("permissions", "constraint", "a NATS credential has no permissions: leave the field out"))
			if got := b.must(b.bound, "DELETE", path, ""); got.status != 204 || got.text != "" {
				t.Errorf("delete: %d %q", got.status, got.text)
			}
			b.wantProblem(b.send(b.bound, "GET", path, ""), 404, missing("credential", c.str("id")))
			b.wantProblem(b.send(b.bound, "DELETE", path, ""), 404, missing("credential", c.str("id")))
		}
	})
	t.Run("OfSQSShowTheSecretOnce", func(t *testing.T) {
		t.Parallel()
		b := b.in(t)
		c := b.must(b.bound, "POST", alpha+"/credentials", fmt.Sprintf(
			`{"namespace_id":%q,"name":"c","permissions":{"can_publish":true,"can_receive":true,"can_manage":false}}`, aws))
		if !accessKey.MatchString(c.str("sqs_sns_credentials", "access_key")) || !secretKey.MatchString(c.str("sqs_sns_credentials", "secret_key")) {
			t.Fatalf("created: %s", c.text)
		}
		path := alpha + "/credentials/" + c.str("id")
		patched := b.must(b.bound, "PATCH", path, `{"name":null,"permissions":{"can_publish":null,"can_receive":false,"can_manage":true}}`)
		want := `{"can_publish":true,"can_receive":false,"can_manage":true}`
		for _, got := range []reply{patched, b.must(b.bound, "GET", path, "")} {
			if keysOf(got.object(t, "sqs_sns_credentials")) != "access_key permissions secret_key" ||
				!strings.Contains(got.text, `"secret_key":null`) || !strings.Contains(got.text, want) || got.str("name") != "c" {
				t.Errorf("shown again: %s", got.text)
			}
		}
		if got := b.must(b.bound, "PATCH", path, `{"name":"d","permissions":null}`); got.str("name") != "d" || !strings.Contains(got.text, want) {
			t.Errorf("renamed: %s", got.text)
		}
		list := b.must(b.bound, "GET", alpha+"/credentials?namespace_id="+aws, "")
		if list.body["total_count"] != 1.0 || strings.Contains(list.text, "secret_key") || !strings.Contains(list.text, want) {
			t.Errorf("list: %s", list.text)
		}
	})
	t.Run("GoWithTheirNamespace", func(t *testing.T) {
		t.Parallel()
		b := b.in(t)
		id := b.namespace(mnq.ProtocolNATS)
		c := b.must(b.bound, "POST", alpha+"/credentials", fmt.Sprintf(`{"namespace_id":%q,"name":"c"}`, id))
		b.must(b.bound, "DELETE", alpha+"/namespaces/"+id, "")
		b.wantProblem(b.send(b.bound, "DELETE", alpha+"/credentials/"+c.str("id"), ""), 404, missing("credential", c.str("id")))
	})
}

func TestInvalidArguments(t *testing.T) {
	t.Parallel()
	b := setup(t)
	nats, aws := b.namespace(mnq.ProtocolNATS), b.namespace(mnq.ProtocolSQSSNS)
	const required = "value is required"
	long := func(n int) string { return strings.Repeat("é", n) }
	create := func(name, protocol, project string) string {
		return fmt.Sprintf(`{"name":%q,"protocol":%q,"project_id":%q}`, name, protocol, project)
	}
	for name, c := range map[string]struct{ method, path, body, want string }{
		"MissingName":          {"POST", alpha + "/namespaces", `{"protocol":"nats","project_id":"` + b.project + `"}`, wrong("name", "required", required)},
		"EmptyName":            {"POST", alpha + "/namespaces", create("", "nats", b.project), wrong("name", "required", required)},
		"NullName":             {"POST", alpha + "/namespaces", `{"name":null,"protocol":"nats","project_id":"` + b.project + `"}`, wrong("name", "required", required)},
		"LongName":             {"POST", alpha + "/namespaces", create(long(65), "nats", b.project), wrong("name", "constraint", "value length must be at most 64 runes")},
		"NumberForName":        {"POST", alpha + "/namespaces", `{"name":1,"protocol":"nats","project_id":"` + b.project + `"}`, wrong("name", "format", "expected string")},
		"UnknownProtocol":      {"POST", alpha + "/namespaces", create("n", "unknown", b.project), wrong("protocol", "constraint", `expected value to be one of "nats, sqs_sns"`)},
		"BadProject":           {"POST", alpha + "/namespaces", create("n", "nats", "p"), wrong("project_id", "format", "value must be a valid UUID")},
		"BadJSON":              {"POST", alpha + "/namespaces", `{"name":`, wrong("body", "format", "the body must be a JSON object")},
		"BodyIsAList":          {"POST", alpha + "/namespaces", `[]`, wrong("body", "format", "expected object")},
		"ShortNamespaceInBody": {"PATCH", alpha + "/namespaces", `{"namespace_id":"A","name":"n"}`, wrong("namespace_id", "constraint", "value length must be 56 runes")},
		"NoNamespaceInBody":    {"PATCH", alpha + "/namespaces", ``, wrong("namespace_id", "required", required)},
		"LongNewName":          {"PATCH", alpha + "/namespaces", `{"namespace_id":"` + nats + `","name":"` + long(65) + `"}`, wrong("name", "constraint", "value length must be at most 64 runes")},
		"ShortNamespaceInPath": {"GET", alpha + "/namespaces/A", ``, wrong("namespace_id", "constraint", "value length must be 56 runes")},
		"ShortAccountInPath":   {"GET", beta + "/nats-accounts/A", ``, wrong("nats_account_id", "constraint", "value length must be 56 runes")},
		"ShortAccountInBody":   {"POST", beta + "/nats-credentials", `{"nats_account_id":"A","name":"n"}`, wrong("nats_account_id", "constraint", "value length must be 56 runes")},
		"ShortAccountInQuery":  {"GET", beta + "/nats-credentials?nats_account_id=A", ``, wrong("nats_account_id", "constraint", "value length must be 56 runes")},
		"BadCredential":        {"GET", alpha + "/credentials/x", ``, wrong("credential_id", "format", "value must be a valid UUID")},
		"LongCredentialName":   {"POST", alpha + "/credentials", `{"namespace_id":"` + nats + `","name":"` + long(501) + `"}`, wrong("name", "constraint", "value length must be at most 500 runes")},
		"NATSPermissions":      {"POST", alpha + "/credentials", `{"namespace_id":"` + nats + `","name":"n","permissions":{"can_publish":true}}`, wrong("permissions", "constraint", "a NATS credential has no permissions: leave the field out")},
		"NoSQSPermissions":     {"POST", alpha + "/credentials", `{"namespace_id":"` + aws + `","name":"n","permissions":null}`, wrong("permissions", "required", required)},
		"HalfSQSPermissions":   {"POST", alpha + "/credentials", `{"namespace_id":"` + aws + `","name":"n","permissions":{"can_publish":true,"can_receive":null,"can_manage":true}}`, wrong("permissions.can_receive", "required", required)},
		"TextForPermission":    {"POST", alpha + "/credentials", `{"namespace_id":"` + aws + `","name":"n","permissions":{"can_publish":"yes"}}`, wrong("permissions.can_publish", "format", "expected boolean")},
		"PageZero":             {"GET", alpha + "/namespaces?page=0", ``, wrong("page", "constraint", "value must be greater than or equal to 1")},
		"PageThatDoesNotFit":   {"GET", alpha + "/namespaces?page=2147483648", ``, wrong("page", "constraint", "value must be less than or equal to 2147483647")},
		"LargestPage":          {"GET", own + "/projects?page=9223372036854775807", ``, wrong("page", "constraint", "value must be less than or equal to 2147483647")},
		"PageOf20Digits":       {"GET", own + "/projects?page=18446744073709551616", ``, wrong("page", "format", "invalid integer")},
		"PageWord":             {"GET", alpha + "/namespaces?page=x", ``, wrong("page", "format", "invalid integer")},
		"LargePageSize":        {"GET", beta + "/nats-accounts?page_size=101", ``, wrong("page_size", "constraint", "value must be less than or equal to 100")},
		"UnknownOrder":         {"GET", alpha + "/credentials?order_by=created_at_asc", ``, wrong("order_by", "constraint", `expected value to be one of "id_asc, id_desc, name_asc, name_desc"`)},
		"BadProjectInQuery":    {"GET", beta + "/sqs-credentials?project_id=x", ``, wrong("project_id", "format", "value must be a valid UUID")},
		"NoProjectForInfo":     {"GET", beta + "/sqs-info", ``, wrong("project_id", "required", required)},
		"NoProjectToActivate":  {"POST", beta + "/activate-sns", `{}`, wrong("project_id", "required", required)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := b.in(t)
			b.wantProblem(b.send(b.bound, c.method, c.path, c.body), 400, c.want)
		})
	}
	t.Run("LargeBody", func(t *testing.T) {
		t.Parallel()
		b := b.in(t)
		b.wantProblem(b.send(b.bound, "POST", alpha+"/namespaces", create(long(40_000), "nats", b.project)), 413,
			wrong("body", "constraint", "value length must be at most 65536 bytes"))
	})
	t.Run("SeveralMistakesAreNamedTogether", func(t *testing.T) {
		t.Parallel()
		b := b.in(t)
		got := b.send(b.bound, "POST", alpha+"/namespaces", "")
		if details, _ := got.body["details"].([]any); got.status != 400 || len(details) != 3 {
			t.Errorf("got %d %s", got.status, got.text)
		}
	})
	t.Run("NamesOfTheFullLengthPass", func(t *testing.T) {
		t.Parallel()
		b := b.in(t)
		b.must(b.bound, "POST", alpha+"/namespaces", create(long(64), "nats", b.project))
		b.must(b.bound, "POST", alpha+"/credentials", fmt.Sprintf(`{"namespace_id":%q,"name":%q,"new_field":1}`, nats, long(500)))
	})
}
