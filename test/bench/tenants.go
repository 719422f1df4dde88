package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/sync/errgroup"
)

const (
	tenants       = 1_000
	tenantsQueues = 5
)

// operator calls the control plane with the key that the first start wrote.
type operator struct {
	url, token, project string
}

func (s *server) operator() (*operator, error) {
	raw, err := os.ReadFile(filepath.Join(s.dir, "admin.env"))
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[strings.TrimPrefix(name, "export ")] = strings.Trim(value, `"'`)
	}
	return &operator{
		url:   "http://" + s.addr + "/mnq/v1alpha1/regions/" + values["SCW_DEFAULT_REGION"],
		token: values["SCW_SECRET_KEY"], project: values["SCW_DEFAULT_PROJECT_ID"],
	}, nil
}

// made is what of a new namespace or credential is needed.
type made struct {
	ID       string `json:"id"`
	Endpoint string `json:"endpoint"`
	NATS     struct {
		Content string `json:"content"`
	} `json:"nats_credentials"`
	SQS struct {
		Access string `json:"access_key"`
		Secret string `json:"secret_key"`
	} `json:"sqs_sns_credentials"`
}

func (o *operator) post(ctx context.Context, path string, in map[string]any) (out made, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url+path, bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	r.Header.Set("X-Auth-Token", o.token)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return out, err
	}
	raw, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return out, err
	}
	if res.StatusCode != http.StatusOK {
		return out, fmt.Errorf("%s: %s: %.300s", path, res.Status, raw)
	}
	return out, json.Unmarshal(raw, &out)
}

// namespace makes a namespace and a credential that may do everything.
func (o *operator) namespace(ctx context.Context, name, protocol string) (made, error) {
	ns, err := o.post(ctx, "/namespaces", map[string]any{"name": name, "protocol": protocol, "project_id": o.project})
	if err != nil {
		return ns, err
	}
	in := map[string]any{"name": name, "namespace_id": ns.ID}
	if protocol == "sqs_sns" {
		in["permissions"] = map[string]bool{"can_publish": true, "can_receive": true, "can_manage": true}
	}
	c, err := o.post(ctx, "/credentials", in)
	c.Endpoint = ns.Endpoint
	return c, err
}

// manyTenants makes many namespaces with a few queues each, lets them rest, and starts
// the server again.
func manyTenants(s *server) error {
	op, err := s.operator()
	if err != nil {
		return err
	}
	begun := time.Now()
	var next atomic.Int64
	var all errgroup.Group
	for range 8 {
		all.Go(func() error {
			for i := next.Add(1); i <= tenants; i = next.Add(1) {
				if err := oneTenant(s, op, fmt.Sprintf("n%d", i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	took := time.Since(begun)
	time.Sleep(idle)
	memory, err := s.megabytes()
	if err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	ready, err := s.start()
	if err != nil {
		return err
	}
	time.Sleep(idle)
	again, err := s.megabytes()
	if err != nil {
		return err
	}
	_, err = fmt.Printf("namespaces            %d with a credential and %d queues each: made in %.0f s (%.0f namespaces/s); resident memory %.0f MB; restarted in %.1f s, then %.0f MB\n",
		tenants, tenantsQueues, took.Seconds(), tenants/took.Seconds(), memory, ready.Seconds(), again)
	return err
}

func oneTenant(s *server, op *operator, name string) error {
	c, err := op.namespace(s.ctx, name, "sqs_sns")
	if err != nil {
		return err
	}
	client := sqs.New(sqs.Options{
		BaseEndpoint: aws.String("http://" + s.addr), Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider(c.SQS.Access, c.SQS.Secret, ""),
	})
	for i := range tenantsQueues {
		if _, err := client.CreateQueue(s.ctx, &sqs.CreateQueueInput{QueueName: aws.String(fmt.Sprintf("q%d", i))}); err != nil {
			return err
		}
	}
	return nil
}
