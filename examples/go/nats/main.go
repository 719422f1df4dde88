// Command nats asks and answers over NATS, and keeps messages in a JetStream stream.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.UserCredentials(os.Getenv("NATS_CREDS")))
	if err != nil {
		return err
	}
	defer nc.Close()

	// Request and reply.
	if _, err := nc.Subscribe("go.greet", func(m *nats.Msg) { _ = m.Respond([]byte("hello " + string(m.Data))) }); err != nil {
		return err
	}
	answer, err := nc.RequestWithContext(ctx, "go.greet", []byte("world"))
	if err != nil {
		return err
	}
	fmt.Println("answer:", string(answer.Data))

	// JetStream: what was published is on disk when Publish returns, and comes again until
	// it is acknowledged.
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "GO_EVENTS", Subjects: []string{"go.events.>"}})
	if err != nil {
		return err
	}
	for i := range 3 {
		if _, err := js.Publish(ctx, fmt.Sprintf("go.events.%d", i), []byte("event")); err != nil {
			return err
		}
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	for range 3 {
		m, err := consumer.Next(jetstream.FetchMaxWait(20 * time.Second))
		if err != nil {
			return err
		}
		fmt.Println("event:", m.Subject())
		if err := m.DoubleAck(ctx); err != nil {
			return err
		}
	}
	return nil
}
