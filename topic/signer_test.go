package topic

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

// withControl runs f on virtual time with the control account of a fresh node.
func withControl(t *testing.T, f func(t *testing.T, js jetstream.JetStream)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		n, err := node.New(node.Config{DataDir: dir, Fsync: node.FsyncInterval})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Stop(context.Background()) }()
		f(t, n.Control())
	})
}

func testSigner(t *testing.T, js jetstream.JetStream, key byte) *signer {
	t.Helper()
	s, err := newSigner(js, [32]byte{key}, 1, func() string { return "https://mnq.example" })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verify is a receiver's check of a signature, given the certificate.
func verify(t *testing.T, certificate []byte, version, text, signature string) error {
	t.Helper()
	block, rest := pem.Decode(certificate)
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
		t.Fatalf("not one certificate: %q", certificate)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if now := time.Now(); now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return errors.New("the certificate is not valid now")
	}
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	key := c.PublicKey.(*rsa.PublicKey)
	if version == "2" {
		sum := sha256.Sum256([]byte(text))
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], raw)
	}
	sum := sha1.Sum([]byte(text))
	return rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], raw)
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	withControl(t, func(t *testing.T, js jetstream.JetStream) {
		const text = "Message\nhello\n"
		s := testSigner(t, js, 1)
		if _, ok := s.certificate(t.Context(), "SimpleNotificationService-"+strings.Repeat("0", 32)+".pem"); ok {
			t.Error("there is a certificate before anything was signed")
		}
		for _, version := range []string{"", "1", "2"} {
			got, err := s.sign(t.Context(), version, text)
			if err != nil {
				t.Fatal(err)
			}
			cert, ok := s.certificate(t.Context(), path.Base(got.certURL))
			if !ok || !strings.HasPrefix(got.certURL, "https://mnq.example/SimpleNotificationService-") {
				t.Fatalf("%+v: no certificate", got)
			}
			if err := verify(t, cert, got.version, text, got.signature); err != nil {
				t.Errorf("version %q: %v", version, err)
			}
			if verify(t, cert, got.version, "other", got.signature) == nil {
				t.Errorf("version %q verifies another text", version)
			}
		}
		for _, file := range []string{"", ".pem", "SimpleNotificationService-.pem", "SimpleNotificationService-" + strings.Repeat("A", 32) + ".pem", "SimpleNotificationService-../../etc/passwd", s.state.Load().id} {
			if _, ok := s.certificate(t.Context(), file); ok {
				t.Errorf("%q is a certificate", file)
			}
		}
	})
}

// TestProcessesAgreeOnTheSigningKey: several begin at once, and each knows the
// certificate of what another has signed.
func TestProcessesAgreeOnTheSigningKey(t *testing.T) {
	t.Parallel()
	withControl(t, func(t *testing.T, js jetstream.JetStream) {
		signers := []*signer{testSigner(t, js, 1), testSigner(t, js, 1), testSigner(t, js, 1)}
		var all sync.WaitGroup
		got := make([]signed, len(signers))
		for i, s := range signers {
			all.Go(func() {
				var err error
				if got[i], err = s.sign(context.Background(), "2", "text"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got[0] != got[1] || got[1] != got[2] {
			t.Errorf("%+v", got)
		}
		late := testSigner(t, js, 1)
		if _, ok := late.certificate(t.Context(), path.Base(got[0].certURL)); !ok {
			t.Error("a process that has signed nothing does not know the certificate")
		}
		_, err := testSigner(t, js, 2).sign(t.Context(), "1", "text")
		if mnq.KindOf(err) != mnq.Unavailable || !strings.Contains(err.Error(), "another master key") {
			t.Errorf("with another master key: %v", err)
		}
	})
}

func TestSigningKeyRotates(t *testing.T) {
	t.Parallel()
	withControl(t, func(t *testing.T, js jetstream.JetStream) {
		s, other := testSigner(t, js, 1), testSigner(t, js, 1)
		const rotateAfter = 5 * refreshAfter
		s.rotateAfter, other.rotateAfter = rotateAfter, rotateAfter
		sign := func(s *signer) signed {
			t.Helper()
			got, err := s.sign(t.Context(), "2", "text")
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		first := sign(s)
		sign(other)
		time.Sleep(rotateAfter - time.Minute)
		if got := sign(s); got != first {
			t.Error("rotated too early")
		}
		time.Sleep(2 * time.Minute)
		second := sign(s)
		if second.certURL == first.certURL {
			t.Fatal("not rotated")
		}
		if got := sign(other); got != second {
			t.Error("the processes do not agree after the rotation")
		}
		for _, x := range []signed{first, second} {
			for _, s := range []*signer{s, other, testSigner(t, js, 1)} {
				cert, ok := s.certificate(t.Context(), path.Base(x.certURL))
				if !ok {
					t.Fatalf("%s is not served", x.certURL)
				}
				if err := verify(t, cert, "2", "text", x.signature); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// TestSigningGoesOnWithoutTheStore: once there is a key, nothing waits for the store.
func TestSigningGoesOnWithoutTheStore(t *testing.T) {
	t.Parallel()
	withControl(t, func(t *testing.T, js jetstream.JetStream) {
		s := testSigner(t, js, 1)
		first, err := s.sign(t.Context(), "1", "text")
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(t.Context(), "KV_"+signingBucket); err != nil {
			t.Fatal(err)
		}
		js.Conn().Close()
		time.Sleep(2 * refreshAfter)
		if got, err := s.sign(t.Context(), "1", "text"); err != nil || got != first {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestSignatureIsMadeOnce(t *testing.T) {
	t.Parallel()
	var c signatures
	made := 0
	for range 3 {
		for _, text := range []string{"a", "b"} {
			got, err := c.get("key", "1", text, func() (string, error) { made++; return "of " + text, nil })
			if err != nil || got != "of "+text {
				t.Errorf("%q, %v", got, err)
			}
		}
	}
	if made != 2 {
		t.Errorf("made %d times", made)
	}
	for i := range 5 * maxSignatures {
		_, _ = c.get("key", "1", strings.Repeat("x", i%97)+string(rune(i)), func() (string, error) { return "", nil })
		if n := len(c.young) + len(c.old); n > 2*maxSignatures {
			t.Fatalf("%d are remembered", n)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, signingBits)
	if err != nil {
		b.Fatal(err)
	}
	sum := sha256.Sum256(nil)
	for b.Loop() {
		if _, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:]); err != nil {
			b.Fatal(err)
		}
	}
}
