// Command webhook receives the messages of a topic over HTTP. It believes only what is
// signed by the server: the signature is checked with the certificate that the server
// publishes, and nothing is fetched from anywhere else.
package main

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // signature version 1 uses it
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/openmnq/mnq/examples/go/endpoint"
)

// message is the body of a request, of every type.
type message struct {
	Type, MessageID, TopicArn, Subject, Message, Timestamp, Token string
	SignatureVersion, Signature, SigningCertURL, SubscribeURL     string
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	server := cmp.Or(os.Getenv("AWS_ENDPOINT_URL"), "http://127.0.0.1:9324")
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	received := make(chan string, 1)
	h := &hook{server: server, received: received}
	go func() { _ = (&http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}).Serve(l) }()

	c := sns.NewFromConfig(endpoint.Config())
	topic, err := c.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("go-webhook")})
	if err != nil {
		return err
	}
	h.topic = *topic.TopicArn
	_, err = c.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("http"), Endpoint: aws.String("http://" + l.Addr().String() + "/"),
	})
	if err != nil {
		return err
	}
	if got := <-received; got != "SubscriptionConfirmation" {
		return fmt.Errorf("first came %q", got)
	}
	if _, err := c.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String("hello")}); err != nil {
		return err
	}
	fmt.Println("verified:", <-received)
	return nil
}

type hook struct {
	server, topic string
	received      chan string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m message
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2<<20)).Decode(&m); err != nil {
		http.Error(w, "not a message", http.StatusBadRequest)
		return
	}
	if err := h.verify(r.Context(), m); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	text := m.Message
	if m.Type == "SubscriptionConfirmation" {
		if _, err := h.get(r.Context(), m.SubscribeURL); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		text = m.Type
	}
	h.received <- text
}

// verify checks who has sent a message, and about which topic.
func (h *hook) verify(ctx context.Context, m message) error {
	if m.TopicArn != h.topic {
		return errors.New("of another topic")
	}
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil {
		return err
	}
	raw, err := h.get(ctx, m.SigningCertURL)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return errors.New("no certificate")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	key, ok := certificate.PublicKey.(*rsa.PublicKey)
	if !ok {
		return errors.New("not an RSA key")
	}
	if m.SignatureVersion == "2" {
		sum := sha256.Sum256([]byte(signed(m)))
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
	}
	sum := sha1.Sum([]byte(signed(m))) //nolint:gosec // see above
	return rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature)
}

// signed is the text that is signed: names and values in this order, each on a line.
func signed(m message) string {
	fields := []string{"Message", m.Message, "MessageId", m.MessageID}
	if m.Type == "Notification" {
		if m.Subject != "" {
			fields = append(fields, "Subject", m.Subject)
		}
	} else {
		fields = append(fields, "SubscribeURL", m.SubscribeURL)
	}
	fields = append(fields, "Timestamp", m.Timestamp)
	if m.Type != "Notification" {
		fields = append(fields, "Token", m.Token)
	}
	return strings.Join(append(fields, "TopicArn", m.TopicArn, "Type", m.Type), "\n") + "\n"
}

// get fetches from the server, and from nowhere else.
func (h *hook) get(ctx context.Context, url string) ([]byte, error) {
	if !strings.HasPrefix(url, strings.TrimRight(h.server, "/")+"/") {
		return nil, fmt.Errorf("%s is not on the server", url)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	return io.ReadAll(io.LimitReader(res.Body, 1<<20))
}
