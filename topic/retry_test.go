package topic

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// Like the scenarios of filters.
//
//	topic, subscription   check a DeliveryPolicy, print it as it is kept, and keep it
//	effective             both EffectiveDeliveryPolicy attributes
//	schedule [managed]    the policy in force: what it says, and every delay; equal ones in a row as one
func TestDeliveryPolicyScenarios(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/retry", func(t *testing.T, path string) {
		var topic, subscription string
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			switch d.Cmd {
			case "topic":
				return keptPolicy(t, d, topicDeliveryPolicy, &topic)
			case "subscription":
				return keptPolicy(t, d, subscriptionDeliveryPolicy, &subscription)
			case "effective":
				return effectiveTopicPolicy(topic) + "\n" + effectiveSubscriptionPolicy(topic, subscription) + "\n"
			case "schedule":
				if d.HasArg("managed") {
					return describePolicy(ManagedDeliveryPolicy())
				}
				return describePolicy(NewDeliveryPolicy(topic, subscription))
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

// keptPolicy checks a policy. What is kept must stay as it is when it is set again.
func keptPolicy(t *testing.T, d *datadriven.TestData, check func(string) (string, error), into *string) string {
	t.Helper()
	text, err := check(d.Input)
	if err != nil {
		return filterOutcome(nil, err)
	}
	if again, err := check(text); err != nil || again != text {
		t.Errorf("%s becomes %s: %v", text, again, err)
	}
	if *into = text; text == "" {
		return "none"
	}
	return text
}

func describePolicy(p DeliveryPolicy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d retries, %q", p.Retries(), p.ContentType())
	if n := p.PerSecond(); n > 0 {
		fmt.Fprintf(&b, ", at most %d per second", n)
	}
	b.WriteString("\n")
	var total time.Duration
	for attempt := 1; ; {
		delay, ok := p.Delay(attempt)
		if !ok {
			break
		}
		first := attempt
		for next := delay; ok && next == delay; next, ok = p.Delay(attempt) {
			total += delay
			attempt++
		}
		fmt.Fprintf(&b, "%d × %v\n", attempt-first, delay)
	}
	fmt.Fprintf(&b, "in all %v\n", total)
	return b.String()
}

// TestDelaysOfAnyPolicy holds for every policy that is accepted: as many delays as it
// has retries, none shorter than the one before, none beyond its bounds, and not more than
// an hour in all.
func TestDelaysOfAnyPolicy(t *testing.T) {
	t.Parallel()
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		in := retryPolicy{
			MinDelay: rapid.IntRange(1, 60).Draw(t, "min"), Retries: rapid.IntRange(0, 100).Draw(t, "retries"),
			NoDelayRetries: rapid.IntRange(0, 20).Draw(t, "none"), MinDelayRetries: rapid.IntRange(0, 20).Draw(t, "pre"),
			MaxDelayRetries: rapid.IntRange(0, 20).Draw(t, "post"), Backoff: rapid.SampledFrom(backoffFunctions).Draw(t, "function"),
		}
		in.MaxDelay = in.MinDelay + rapid.IntRange(0, 60).Draw(t, "more")
		text, err := json.Marshal(map[string]any{"healthyRetryPolicy": in})
		if err != nil {
			t.Fatal(err)
		}
		kept, err := subscriptionDeliveryPolicy(string(text))
		if err != nil {
			return
		}
		accepted++
		p := NewDeliveryPolicy("", kept)
		if p.retry != in {
			t.Fatalf("%s became %+v", text, p.retry)
		}
		var last, total time.Duration
		for attempt := 1; attempt <= in.Retries; attempt++ {
			d, ok := p.Delay(attempt)
			if !ok || d < last || d > time.Duration(in.MaxDelay)*time.Second || attempt > in.NoDelayRetries && d < time.Duration(in.MinDelay)*time.Second {
				t.Fatalf("%s: retry %d after %v, %v; before it %v", text, attempt, d, ok, last)
			}
			last = d
			total += d
		}
		if total > time.Hour {
			t.Fatalf("%s: %v in all", text, total)
		}
		for _, attempt := range []int{-1, 0, in.Retries + 1} {
			if _, ok := p.Delay(attempt); ok {
				t.Fatalf("%s: has a retry %d", text, attempt)
			}
		}
	})
	if accepted == 0 {
		t.Error("no policy was accepted")
	}
}
