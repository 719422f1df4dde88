package main

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdQueue makes a queue with the keys in $ACCESS and $SECRET and sends n messages
// to it: queue NAME N.
func cmdQueue(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	c := sqs.New(sqs.Options{
		BaseEndpoint: aws.String("http://" + ts.Getenv("HTTP_ADDRESS")), Region: "fr-par",
		Credentials: credentials.NewStaticCredentialsProvider(ts.Getenv("ACCESS"), ts.Getenv("SECRET"), ""),
	})
	q, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &args[0]})
	ts.Check(err)
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for range n {
		_, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String("x")})
		ts.Check(err)
	}
}

func TestAges(t *testing.T) {
	t.Parallel()
	at := time.Now()
	for want, q := range map[string]queueInfo{
		"": {}, "0s": {OldestAt: &at, OldestAge: 0.9}, "1m1s": {OldestAt: &at, OldestAge: 61.5}, "47h0m0s": {OldestAt: &at, OldestAge: 47 * 3600},
		"2d1h": {OldestAt: &at, OldestAge: 49*3600 + 5},
	} {
		if got := q.oldest(); got != want {
			t.Errorf("%v seconds: %q, want %q", q.OldestAge, got, want)
		}
	}
}
