package topic

import (
	"math"
	"strings"
	"time"
)

// DeliveryPolicy says when deliveries that failed are tried again, how fast they may
// follow each other, and what they are labelled with. The zero value tries once.
type DeliveryPolicy struct {
	retry       retryPolicy
	perSecond   int
	contentType string
}

// NewDeliveryPolicy is the policy in force for an HTTP subscription, from the stored
// DeliveryPolicy attributes of its topic and of itself, "" where there is none. Each part
// of the subscription's comes before the topic's, unless that disables it.
func NewDeliveryPolicy(topic, subscription string) DeliveryPolicy {
	in := effectivePolicy(topic, subscription)
	p := DeliveryPolicy{retry: *in.Retry, contentType: in.Request.ContentType}
	if in.Throttle != nil {
		p.perSecond = in.Throttle.PerSecond
	}
	return p
}

// ManagedDeliveryPolicy is the policy of endpoints that are part of the service, queues
// and functions, which cannot be changed: 3 retries at once, 2 after a second each, 10
// after 1 to 20 s, and then every 20 s for 23 days (SNS developer guide, message
// delivery retries).
func ManagedDeliveryPolicy() DeliveryPolicy {
	return DeliveryPolicy{retry: retryPolicy{
		MinDelay: 1, MaxDelay: 20, Retries: 100_015, NoDelayRetries: 3, MinDelayRetries: 2, MaxDelayRetries: 100_000,
		Backoff: "exponential",
	}}
}

// PerSecond is how many deliveries a second the endpoint may get, 0 for any number.
func (p DeliveryPolicy) PerSecond() int { return p.perSecond }

// ContentType is that of notifications; it is "" for endpoints that are not HTTP's.
func (p DeliveryPolicy) ContentType() string { return p.contentType }

// Retries is how often a delivery is tried again.
func (p DeliveryPolicy) Retries() int { return p.retry.Retries }

// Delay is the time from a failed try to retry number attempt, which counts from 1.
// It is false when there is no such retry: then the delivery has failed for good.
func (p DeliveryPolicy) Delay(attempt int) (d time.Duration, ok bool) {
	if attempt < 1 || attempt > p.retry.Retries {
		return 0, false
	}
	return p.retry.delay(attempt), true
}

// retryPolicy is a healthyRetryPolicy. Delays are in seconds.
type retryPolicy struct {
	MinDelay        int    `json:"minDelayTarget"`
	MaxDelay        int    `json:"maxDelayTarget"`
	Retries         int    `json:"numRetries"` // of all four phases
	MaxDelayRetries int    `json:"numMaxDelayRetries"`
	NoDelayRetries  int    `json:"numNoDelayRetries"`
	MinDelayRetries int    `json:"numMinDelayRetries"`
	Backoff         string `json:"backoffFunction"`
}

func defaultRetryPolicy() retryPolicy {
	return retryPolicy{MinDelay: 20, MaxDelay: 20, Retries: 3, Backoff: "linear"}
}

// delay is the delay before a retry: first those without, then those with the
// smallest, then those in between, and at last those with the largest.
func (r *retryPolicy) delay(attempt int) time.Duration {
	i := attempt - 1 - r.NoDelayRetries
	if i < 0 {
		return 0
	}
	backoff := r.Retries - r.NoDelayRetries - r.MinDelayRetries - r.MaxDelayRetries
	switch i -= r.MinDelayRetries; {
	case i < 0:
		return time.Duration(r.MinDelay) * time.Second
	case i >= backoff:
		return time.Duration(r.MaxDelay) * time.Second
	}
	return r.between(i, backoff-1)
}

// between is the i-th delay of the backoff phase, in which the last-th is the largest.
// The original has a graph of its four functions but no formulas; these have their shape.
func (r *retryPolicy) between(i, last int) time.Duration {
	low, high := float64(r.MinDelay), float64(r.MaxDelay)
	k, n := float64(i), float64(max(last, 1))
	var seconds float64
	switch r.Backoff {
	case "arithmetic": // each step is larger than the one before by the same amount
		seconds = low + (high-low)*k*(k+1)/(n*(n+1))
	case "geometric": // each delay is the one before times the same factor
		seconds = low * math.Pow(high/low, k/n)
	case "exponential": // each step is twice the one before
		seconds = low + (high-low)*(math.Exp2(k)-1)/(math.Exp2(n)-1)
	default: // linear: all steps are the same
		seconds = low + (high-low)*k/n
	}
	return time.Duration(math.Round(seconds*1000)) * time.Millisecond
}

// total is how long all the delays take together.
func (r *retryPolicy) total() time.Duration {
	var sum time.Duration
	for attempt := range r.Retries {
		sum += r.delay(attempt + 1)
	}
	return sum
}

type throttlePolicy struct {
	PerSecond int `json:"maxReceivesPerSecond"`
}

type requestPolicy struct {
	ContentType string `json:"headerContentType"`
}

// topicPolicy is the DeliveryPolicy of a topic, in the order in which it is kept.
type topicPolicy struct {
	HTTP struct {
		Retry      *retryPolicy    `json:"defaultHealthyRetryPolicy,omitempty"`
		NoOverride bool            `json:"disableSubscriptionOverrides"`
		Throttle   *throttlePolicy `json:"defaultThrottlePolicy,omitempty"`
		Request    *requestPolicy  `json:"defaultRequestPolicy,omitempty"`
	} `json:"http"`
}

// subscriptionPolicy is the DeliveryPolicy of a subscription. The members Sickly and
// Guaranteed are kept and mean nothing, as in the original.
type subscriptionPolicy struct {
	Retry      *retryPolicy    `json:"healthyRetryPolicy"`
	Sickly     *retryPolicy    `json:"sicklyRetryPolicy"`
	Throttle   *throttlePolicy `json:"throttlePolicy"`
	Request    *requestPolicy  `json:"requestPolicy"`
	Guaranteed bool            `json:"guaranteed"`
}

// effectiveTopicPolicy is the EffectiveDeliveryPolicy of a topic, from its stored
// DeliveryPolicy.
func effectiveTopicPolicy(stored string) string { return policyText(withDefaults(stored)) }

func withDefaults(stored string) topicPolicy {
	var p topicPolicy
	readStored(stored, &p)
	if p.HTTP.Retry == nil {
		p.HTTP.Retry = new(defaultRetryPolicy())
	}
	if p.HTTP.Request == nil {
		p.HTTP.Request = &requestPolicy{defaultContentType}
	}
	return p
}

// effectiveSubscriptionPolicy is the EffectiveDeliveryPolicy of an HTTP subscription, from
// the stored policies of its topic and itself.
func effectiveSubscriptionPolicy(topic, subscription string) string {
	return policyText(effectivePolicy(topic, subscription))
}

// effectivePolicy has every part but Throttle, which may be nil.
func effectivePolicy(topic, subscription string) subscriptionPolicy {
	t := withDefaults(topic)
	var p subscriptionPolicy
	if !t.HTTP.NoOverride {
		readStored(subscription, &p)
	}
	if p.Retry == nil {
		p.Retry = t.HTTP.Retry
	}
	if p.Throttle == nil {
		p.Throttle = t.HTTP.Throttle
	}
	if p.Request == nil {
		p.Request = t.HTTP.Request
	}
	return p
}

// contentTypes are those that a requestPolicy may ask for (SNS developer guide, HTTP/S
// delivery policy), each also with a charset of UTF-8.
var contentTypes = []string{
	"application/atom+xml", "application/json", "application/octet-stream", "application/soap+xml", "application/x-www-form-urlencoded",
	"application/xhtml+xml", "application/xml", "text/css", "text/csv", "text/html", "text/plain", "text/xml",
}

var backoffFunctions = []string{"arithmetic", "exponential", "geometric", "linear"}

func validContentType(v string) bool {
	kind, parameter, more := strings.Cut(v, ";")
	if more && !strings.EqualFold(strings.TrimSpace(parameter), "charset=UTF-8") {
		return false
	}
	for _, t := range contentTypes {
		if strings.EqualFold(strings.TrimSpace(kind), t) {
			return true
		}
	}
	return false
}
