package tenant

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq"
)

func testSealer(t *testing.T, fill byte) *Sealer {
	t.Helper()
	s, err := NewSealer(bytes.Repeat([]byte{fill}, masterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealer(t *testing.T) {
	t.Parallel()
	s := testSealer(t, 1)
	sealed := s.Seal("credential", "a", []byte("secret"))

	t.Run("OpensWhatItSealed", func(t *testing.T) {
		t.Parallel()
		got, err := s.Open("credential", "a", sealed)
		if err != nil || string(got) != "secret" {
			t.Fatalf("got %q, %v", got, err)
		}
	})
	t.Run("HidesTheTextAndNeverRepeatsItself", func(t *testing.T) {
		t.Parallel()
		if bytes.Contains(sealed, []byte("secret")) || bytes.Equal(sealed, s.Seal("credential", "a", []byte("secret"))) {
			t.Fatal("the sealed value gives the text away")
		}
	})
	for name, open := range map[string]func() ([]byte, error){
		"RefusesAnotherId":   func() ([]byte, error) { return s.Open("credential", "b", sealed) },
		"RefusesAnotherKind": func() ([]byte, error) { return s.Open("signing seed", "a", sealed) },
		"RefusesAnotherKey":  func() ([]byte, error) { return testSealer(t, 2).Open("credential", "a", sealed) },
		"RefusesNothing":     func() ([]byte, error) { return s.Open("credential", "a", nil) },
		"RefusesTheHeadOnly": func() ([]byte, error) { return s.Open("credential", "a", sealed[:5]) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := open(); err == nil {
				t.Fatalf("opened as %q", got)
			}
		})
	}
	t.Run("RefusesEveryChangedByte", func(t *testing.T) {
		t.Parallel()
		for i := range sealed {
			broken := bytes.Clone(sealed)
			broken[i] ^= 1
			if _, err := s.Open("credential", "a", broken); err == nil {
				t.Fatalf("opened with byte %d changed", i)
			}
		}
	})
	t.Run("DerivesKeysByPurposeAndMasterKey", func(t *testing.T) {
		t.Parallel()
		a, b, c := s.DeriveKey("a"), s.DeriveKey("b"), testSealer(t, 2).DeriveKey("a")
		if a == b || a == c || a != s.DeriveKey("a") {
			t.Fatal("derived keys do not differ as they should")
		}
	})
}

func TestMasterKey(t *testing.T) {
	t.Parallel()
	t.Run("IsMadeOnceAndReadBack", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if s, err := loadSealer("", dir); s != nil || err != nil {
			t.Fatalf("got %v, %v without a key", s, err)
		}
		made, err := createMasterKey(dir)
		if err != nil {
			t.Fatal(err)
		}
		read, err := loadSealer("", dir)
		if err != nil {
			t.Fatal(err)
		}
		if made.DeriveKey("x") != read.DeriveKey("x") {
			t.Fatal("another key came back")
		}
		st, err := os.Stat(masterKeyPath(dir))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Fatalf("mode %v, %v", st.Mode(), err)
		}
	})
	t.Run("IsRefusedWhenOthersCanReadIt", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if _, err := createMasterKey(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(masterKeyPath(dir), 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := loadSealer("", dir); mnq.KindOf(err) != mnq.Invalid {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("GivenIsTakenAsBase64AndNeverQuotedInErrors", func(t *testing.T) {
		t.Parallel()
		good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, masterKeySize))
		if _, err := loadSealer(good, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"short", good[:20], "!" + good} {
			_, err := loadSealer(bad, t.TempDir())
			if mnq.KindOf(err) != mnq.Invalid || strings.Contains(err.Error(), bad) {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestRandomString(t *testing.T) {
	t.Parallel()
	count := map[rune]int{}
	const n = 62_000
	for _, c := range randomString(n, alphanumeric) {
		count[c]++
	}
	if len(count) != len(alphanumeric) {
		t.Fatalf("%d different characters", len(count))
	}
	for c, k := range count { // 1000 each, standard deviation 32
		if k < 800 || k > 1200 {
			t.Errorf("%c came %d times", c, k)
		}
	}
	if k := newAPIAccessKey(); len(k) != 20 || !strings.HasPrefix(k, "SCW") {
		t.Errorf("access key %q", k)
	}
}

func TestAdminEnv(t *testing.T) {
	t.Parallel()
	env := adminEnv{
		AccessKey: "SCW1", SecretKey: "s", ProjectID: "p", OrganizationID: "o", Region: "fr-par",
		APIURL: "http://[::1]:9324",
	}
	t.Run("ReadsBackWhatItWrote", func(t *testing.T) {
		t.Parallel()
		for _, url := range []string{env.APIURL, "", "http://h/it's $HOME `x`"} {
			e := env
			e.APIURL = url
			if d := cmp.Diff(e, parseAdminEnv(e.String())); d != "" {
				t.Error(d)
			}
		}
	})
	t.Run("ChangesOnlyRegionAndURL", func(t *testing.T) {
		t.Parallel()
		text := "# mine\nexport FOO=1\n" + env.String()
		got := withLines(text, map[string]string{"SCW_DEFAULT_REGION": "nl-ams", "SCW_API_URL": "http://x"})
		want := strings.NewReplacer("fr-par", "nl-ams", "http://[::1]:9324", "http://x").Replace(text)
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if withLines(text, map[string]string{"SCW_DEFAULT_REGION": "fr-par", "SCW_API_URL": ""}) != text {
			t.Error("changed without need")
		}
	})
	t.Run("IsWrittenForItsOwnerOnly", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := writeAdminEnv(dir, env.String()); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(filepath.Join(dir, "admin.env")); err != nil || st.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", st, err)
		}
	})
}
