package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/openmnq/mnq"
)

// bundle is a server and how to reach it.
type bundle struct {
	*testServer

	dir, http, admin string
	client           *client
}

func setup(t *testing.T, args ...string) *bundle {
	t.Helper()
	b := &bundle{dir: t.TempDir()}
	s, lines, err := startServer(b.dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	b.testServer = s
	t.Cleanup(func() {
		s.stop()
		if code := <-s.done; code != exitOK {
			t.Errorf("the server ended with %d: %s", code, s.stderr)
		}
	})
	for _, l := range lines {
		name, url, _ := strings.Cut(l, " ")
		switch name {
		case "http":
			b.http = strings.TrimSpace(url)
		case "admin":
			b.admin = strings.TrimSpace(url)
		}
	}
	raw, err := os.ReadFile(filepath.Join(b.dir, "admin.env"))
	if err != nil {
		t.Fatal(err)
	}
	e := env{}
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		e[name] = strings.Trim(value, "'")
	}
	if b.client, err = (&connection{Timeout: time.Minute}).client(&app{env: e}); err != nil {
		t.Fatal(err)
	}
	if b.client.APIURL != b.http {
		t.Errorf("admin.env names %s, the server is on %s", b.client.APIURL, b.http)
	}
	return b
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestPaths(t *testing.T) {
	t.Parallel()
	plain, split := setup(t), setup(t, "--admin-http", "127.0.0.1:0")
	for _, c := range []struct {
		url    string
		status int
		body   string
	}{
		{plain.http + "/healthz", 200, "ok"},
		{plain.http + "/readyz", 200, "ready"},
		{plain.http + "/readyz?verbose", 200, "nats: ok\ndirectory: ok\nready"},
		{plain.http + "/metrics", 200, "mnq_build_info"},
		{plain.http + "/debug/pprof/", 404, ""},
		{plain.http + "/openapi.json", 200, `"openapi": "3.1`},
		{plain.http + "/docs", 200, "<html"},
		{plain.http + "/console/", 200, "Sign in"},
		{plain.http + "/mnq/v1alpha1/regions/fr-par/namespaces", 401, "denied_authentication"},
		{plain.http + "/openmnq/v1/projects", 401, "denied_authentication"},
		{plain.http + "/?Action=ListQueues&Version=2012-11-05", 403, "<ErrorResponse"},
		{plain.http + "/account/queue?Action=ReceiveMessage", 403, "<ErrorResponse"},
		{split.http + "/metrics", 404, ""},
		{split.http + "/readyz", 200, "ready"},
		{split.admin + "/metrics", 200, "mnq_http_requests_total"},
		{split.admin + "/debug/pprof/", 200, "goroutine"},
		{split.admin + "/mnq/v1alpha1/regions/fr-par/namespaces", 404, ""},
	} {
		if strings.Contains(c.url, split.admin+"/metrics") {
			get(t, split.http+"/openapi.json") // so that there is something to count
		}
		if status, body := get(t, c.url); status != c.status || !strings.Contains(body, c.body) {
			t.Errorf("GET %s: %d %.300q, want %d with %q", c.url, status, body, c.status, c.body)
		}
	}
}

// queueClient makes an SQS namespace with a queue and a client of its own.
func queueClient(t *testing.T, b *bundle) (*sqs.Client, *string) {
	t.Helper()
	ctx := t.Context()
	var ns namespace
	err := b.client.call(ctx, http.MethodPost, b.client.regional("namespaces"),
		map[string]string{"name": "orders", "protocol": "sqs_sns", "project_id": b.client.ProjectID}, &ns)
	if err != nil {
		t.Fatal(err)
	}
	var k credential
	err = b.client.call(ctx, http.MethodPost, b.client.regional("credentials"), map[string]any{
		"name": "k", "namespace_id": ns.ID,
		"permissions": mnq.Permissions{CanPublish: true, CanReceive: true, CanManage: true},
	}, &k)
	if err != nil {
		t.Fatal(err)
	}
	c := sqs.New(sqs.Options{
		Region: ns.Region, BaseEndpoint: &ns.Endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.SQSSNS.AccessKey, k.SQSSNS.SecretKey, ""),
	})
	q, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: awssdk.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	return c, q.QueueUrl
}

func TestStoppingAnswersLongPolls(t *testing.T) {
	t.Parallel()
	b := setup(t, "--admin-http", "127.0.0.1:0")
	c, url := queueClient(t, b)
	answered := make(chan error, 1)
	go func() {
		_, err := c.ReceiveMessage(context.WithoutCancel(t.Context()), &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 20})
		answered <- err
	}()
	for waiting := false; !waiting; {
		_, stacks := get(t, b.admin+"/debug/pprof/goroutine?debug=2")
		waiting = strings.Contains(stacks, "queue.(*Queue).longPoll")
	}
	b.stop()
	if err := <-answered; err != nil {
		t.Errorf("the long poll was answered with %v, want an empty list", err)
	}
}

func TestRequestsAreCountedByOperation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, url := queueClient(t, b)
	if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: url, MessageBody: awssdk.String("x")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: awssdk.String("missing")}); err == nil {
		t.Error("a missing queue has a URL")
	}
	_, metrics := get(t, b.http+"/metrics")
	for _, want := range []string{
		`mnq_http_requests_total{code="ok",front="sqs",operation="SendMessage"} 1`,
		`operation="GetQueueUrl"`,
		`mnq_http_requests_total{code="ok",front="rest",operation="v1alpha1.CreateNamespace"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, data := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rawKey})} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := setup(t, "--tls-cert", certFile, "--tls-key", keyFile)
	if !strings.HasPrefix(b.http, "https://") {
		t.Fatalf("the address printed is %s", b.http)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	b.client.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	all, err := list[namespace](t.Context(), b.client, b.client.regional("namespaces"), "namespaces", nil)
	if err != nil || len(all) != 0 {
		t.Errorf("list over TLS: %v, %v", all, err)
	}
}

// TestSettingsAreDocumented holds the sample file and the operator's page to the
// settings that exist.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	sample, err := os.ReadFile("../../deploy/mnq.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"config", "print", "--json", "--config", "../../deploy/mnq.yaml"}, env{}, streams{strings.NewReader(""), &out, &errs}); code != exitOK {
		t.Fatalf("the sample file is refused: %s", errs.String())
	}
	var settings []setting
	if err := json.Unmarshal([]byte(out.String()), &settings); err != nil {
		t.Fatal(err)
	}
	if len(settings) < 15 {
		t.Errorf("only %d settings", len(settings))
	}
	for _, s := range settings {
		if s.Name != "config" && !strings.Contains(string(sample), s.Name+": ") {
			t.Errorf("deploy/mnq.yaml lacks %s", s.Name)
		}
		if !strings.Contains(string(page), "`--"+s.Name+"`") {
			t.Errorf("docs/operations.md lacks --%s", s.Name)
		}
	}
}

// TestRequestIDsAreInTheLog compares what clients are told with the access lines.
func TestRequestIDsAreInTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t, "--log-level", "debug", "--log-format", "json")
	for path, header := range map[string]string{"/?Action=ListQueues&Version=2012-11-05": "x-amzn-RequestId", "/openmnq/v1/projects": "X-Request-Id"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.http+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		id := resp.Header.Get(header)
		if id == "" {
			t.Errorf("%s: no %s in %v", path, header, resp.Header)
		}
		// The line is written after the answer.
		for end := time.Now().Add(time.Minute); !strings.Contains(b.stderr.String(), `"request_id":"`+id+`"`); {
			if time.Now().After(end) {
				t.Fatalf("%s: %s is not in the log:\n%s", path, id, b.stderr)
			}
			runtime.Gosched()
		}
	}
}
