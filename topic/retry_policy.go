package topic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of delivery policies (SNS developer guide, HTTP/S delivery policy).
const (
	maxPolicyBytes = 32 << 10
	maxDelay       = 3600 // seconds, of each retry and of all together
	maxRetries     = 100
)

// topicDeliveryPolicy checks a DeliveryPolicy of a topic and returns it as it is kept:
// without needless space, complete, in one order. It is "" when nothing is in it.
func topicDeliveryPolicy(text string) (string, error) {
	var p topicPolicy
	r := policyReader{}
	err := r.read(text, policyMember{"http", func(v any, path string) {
		r.object(
			v, path,
			r.retryPolicy("defaultHealthyRetryPolicy", &p.HTTP.Retry), r.boolean("disableSubscriptionOverrides", &p.HTTP.NoOverride),
			r.throttlePolicy("defaultThrottlePolicy", &p.HTTP.Throttle), r.requestPolicy("defaultRequestPolicy", &p.HTTP.Request),
		)
	}})
	if err != nil {
		return "", err
	}
	if p == (topicPolicy{}) {
		return "", nil
	}
	return policyText(p), nil
}

// subscriptionDeliveryPolicy checks a DeliveryPolicy of a subscription, and returns it like
// topicDeliveryPolicy.
func subscriptionDeliveryPolicy(text string) (string, error) {
	var p subscriptionPolicy
	r := policyReader{}
	err := r.read(
		text,
		r.retryPolicy("healthyRetryPolicy", &p.Retry), r.retryPolicy("sicklyRetryPolicy", &p.Sickly),
		r.throttlePolicy("throttlePolicy", &p.Throttle), r.requestPolicy("requestPolicy", &p.Request), r.boolean("guaranteed", &p.Guaranteed),
	)
	if err != nil {
		return "", err
	}
	if p == (subscriptionPolicy{}) {
		return "", nil
	}
	return policyText(p), nil
}

// policyText is the JSON of a policy.
func policyText(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return "" // structs of numbers and texts always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// readStored reads what policyText has written; without it into stays as it is.
func readStored(text string, into any) {
	if text != "" {
		_ = json.Unmarshal([]byte(text), into) // written by us
	}
}

// policyReader reads a policy and keeps the first thing that is wrong with it.
type policyReader struct{ fault string }

// policyMember is a name that an object may have, and what reads its value. A value of null
// is like none.
type policyMember struct {
	name string
	read func(v any, path string)
}

func (r *policyReader) read(text string, members ...policyMember) error {
	if text == "" {
		return nil
	}
	if len(text) > maxPolicyBytes {
		return invalid("DeliveryPolicy: must be at most " + strconv.Itoa(maxPolicyBytes) + " bytes long")
	}
	if fault := checkJSON(text); fault != "" {
		return invalid("DeliveryPolicy: " + fault)
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil || v == nil {
		return invalid("DeliveryPolicy: must be an object")
	}
	if r.object(v, "", members...); r.fault != "" {
		return invalid("DeliveryPolicy: " + r.fault)
	}
	return nil
}

func (r *policyReader) fail(fault string) {
	if r.fault == "" {
		r.fault = fault
	}
}

// mismatch fails for a value of the wrong type.
func (r *policyReader) mismatch(path, wanted string, v any) {
	kind := "an object"
	switch v.(type) {
	case string:
		kind = "a string"
	case json.Number:
		kind = "a number"
	case bool:
		kind = "a boolean"
	case []any:
		kind = "an array"
	}
	r.fail(strings.TrimSpace(path + " type mismatch, expecting " + wanted + ", received " + kind))
}

// object reads an object with no other members than these, in their order.
func (r *policyReader) object(v any, path string, members ...policyMember) {
	o, ok := v.(map[string]any)
	if !ok {
		r.mismatch(path, "object", v)
		return
	}
	if path != "" {
		path += "."
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if !slices.ContainsFunc(members, func(m policyMember) bool { return m.name == name }) {
			r.fail("Unexpected JSON member: " + clip(path+name))
		}
	}
	for _, m := range members {
		if v := o[m.name]; v != nil {
			m.read(v, path+m.name)
		}
	}
}

func (r *policyReader) integer(name string, into *int, least, most int) policyMember {
	return policyMember{name, func(v any, path string) {
		n, ok := v.(json.Number)
		if !ok {
			r.mismatch(path, "integer", v)
			return
		}
		i, err := strconv.Atoi(n.String())
		switch {
		case err != nil && strings.ContainsAny(n.String(), ".eE"):
			r.mismatch(path, "integer", v)
		case err != nil && n[0] == '-', i < least:
			r.fail(path + " must be greater than or equal to " + strconv.Itoa(least))
		case err != nil, i > most:
			r.fail(path + " must be less than or equal to " + strconv.Itoa(most))
		default:
			*into = i
		}
	}}
}

func (r *policyReader) boolean(name string, into *bool) policyMember {
	return policyMember{name, func(v any, path string) {
		var ok bool
		if *into, ok = v.(bool); !ok {
			r.mismatch(path, "boolean", v)
		}
	}}
}

func (r *policyReader) text(name string, into *string, wanted string, valid func(string) bool) policyMember {
	return policyMember{name, func(v any, path string) {
		s, ok := v.(string)
		switch {
		case !ok:
			r.mismatch(path, "string", v)
		case !valid(s):
			r.fail(path + " must be " + wanted)
		default:
			*into = s
		}
	}}
}

// retryPolicy reads a retry policy; what is not in it has SNS's default.
func (r *policyReader) retryPolicy(name string, into **retryPolicy) policyMember {
	return policyMember{name, func(v any, path string) {
		p := defaultRetryPolicy()
		r.object(
			v, path,
			r.integer("minDelayTarget", &p.MinDelay, 1, maxDelay), r.integer("maxDelayTarget", &p.MaxDelay, 1, maxDelay),
			r.integer("numRetries", &p.Retries, 0, maxRetries), r.integer("numMaxDelayRetries", &p.MaxDelayRetries, 0, maxRetries),
			r.integer("numNoDelayRetries", &p.NoDelayRetries, 0, maxRetries), r.integer("numMinDelayRetries", &p.MinDelayRetries, 0, maxRetries),
			r.text("backoffFunction", &p.Backoff, "one of "+strings.Join(backoffFunctions, ", "), func(s string) bool {
				return slices.Contains(backoffFunctions, strings.ToLower(s))
			}),
		)
		p.Backoff = strings.ToLower(p.Backoff)
		if o, _ := v.(map[string]any); len(o) == 0 || r.fault != "" {
			return
		}
		*into = &p
		switch {
		case p.MinDelay > p.MaxDelay:
			r.fail(path + ".minDelayTarget must be less than or equal to maxDelayTarget")
		case p.NoDelayRetries+p.MinDelayRetries+p.MaxDelayRetries > p.Retries:
			r.fail(path + ".numRetries must be greater than or equal to total of numMinDelayRetries, numNoDelayRetries and numMaxDelayRetries")
		case p.total() > maxDelay*time.Second:
			r.fail(fmt.Sprintf("%s must not take longer than %d seconds in all, and takes %.0f", path, maxDelay, p.total().Seconds()))
		}
	}}
}

func (r *policyReader) throttlePolicy(name string, into **throttlePolicy) policyMember {
	return policyMember{name, func(v any, path string) {
		p := throttlePolicy{}
		if r.object(v, path, r.integer("maxReceivesPerSecond", &p.PerSecond, 1, math.MaxInt32)); p.PerSecond > 0 {
			*into = &p
		}
	}}
}

func (r *policyReader) requestPolicy(name string, into **requestPolicy) policyMember {
	return policyMember{name, func(v any, path string) {
		p := requestPolicy{}
		r.object(v, path, r.text("headerContentType", &p.ContentType, "one of "+strings.Join(contentTypes, ", "), validContentType))
		if p.ContentType != "" {
			*into = &p
		}
	}}
}
