package service

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestRecent(t *testing.T) {
	t.Parallel()
	var all bytes.Buffer
	var r Recent
	log := slog.New(r.Wrap(slog.NewTextHandler(&all, &slog.HandlerOptions{Level: slog.LevelError}))).With("part", "x")
	log.Info("quiet")
	for i := range recentKept + 10 {
		log.Warn("careful", "number", i)
	}
	log.Error("bad", "long", strings.Repeat("x", 2*recentLine))
	text := r.Text()
	if n := strings.Count(text, "\n"); n != recentKept || strings.Contains(text, "quiet") || strings.Contains(text, "number=10\n") || !strings.Contains(text, "number=11 ") && !strings.Contains(text, "number=11\n") {
		t.Errorf("%d lines: %.300s", n, text)
	}
	if !strings.Contains(text, "part=x") || !strings.HasSuffix(text, "…\n") {
		t.Errorf("…%s", text[len(text)-100:])
	}
	if s := all.String(); !strings.Contains(s, "msg=bad") || strings.Contains(s, "careful") {
		t.Errorf("the log itself: %.200s", s)
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	seed := "SUA" + strings.Repeat("ABCDEFG2", 7)[:55]
	for text, secret := range map[string]string{
		"SCW_SECRET_KEY=11111111-2222-4333-8444-555555555555":                          "11111111",
		`{"secret_key": "abcdefgh"}`:                                                   "abcdefgh",
		"X-Auth-Token: abcdefgh":                                                       "abcdefgh",
		"Authorization: AWS4-HMAC-SHA256 Credential=x, Signature=y":                    "Credential",
		"nats://user:pass@host:4222":                                                   "pass",
		"nats://token@host:4222":                                                       "token@",
		"the seed is " + seed + " there":                                               seed,
		"jwt eyJ0eXAiOiJKV1QiLCJh.eyJqdGkiOiJBQkNE.c2lnbmF0dXJl":                       "eyJqdGki",
		"-----BEGIN PRIVATE KEY-----\nMIIBVQ\n-----END PRIVATE KEY-----\nnext":         "MIIBVQ",
		"-----BEGIN USER NKEY SEED-----\n" + seed + "\n------END USER NKEY SEED------": seed,
		"key q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=":                             "q83vEjRW",
		"it is known-to-be-secret.":                                                    "known-to-be-secret",
	} {
		if got := Scrub(text, "known-to-be-secret", "short"); strings.Contains(got, secret) || !strings.Contains(got, "***") {
			t.Errorf("%q became %q", text, got)
		}
	}
	plain := fmt.Sprintf("goroutine 1 [running]: github.com/openmnq/mnq/aws.(*Handler).serve(0x%x)\nGET http://127.0.0.1:9324/healthz commit 0123456789abcdef0123456789abcdef01234567 a short one", 42)
	if got := Scrub(plain, "short"); got != plain {
		t.Errorf("changed to %q", got)
	}
}
