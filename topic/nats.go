package topic

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/queue"
)

// A topic delivers to a subject of a NATS namespace of the same project, and a bridge
// (bridge.go) brings what is published on a subject to a queue or a topic. Message
// attributes and NATS headers correspond in both ways:
//
//	attribute of type String or Number   header of that name
//	attribute of type Binary             header Mnq-Binary-<name>, base64
//
// Names beginning with Nats- mean something to NATS servers and those beginning with
// Mnq- to us: neither becomes what the other side chose.
const (
	headerMessageID = "Mnq-Message-Id"
	headerTopic     = "Mnq-Topic-Arn"
	headerSubject   = "Mnq-Subject"
	headerGroup     = "Mnq-Group-Id"
	headerDedup     = "Mnq-Deduplication-Id"
	headerTrace     = "Mnq-Trace"
	headerBinary    = "Mnq-Binary-"

	maxNATSSubject = 255 // bytes of a NATS subject
)

// reservedHeader reports whether a name is not the client's to choose.
func reservedHeader(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "mnq-")
}

// subjectEndpoint is the endpoint of a subscription with the protocol nats:
// nats://<namespace id>/<subject>.
func subjectEndpoint(endpoint string) (namespaceID, subject string, ok bool) {
	rest, mine := strings.CutPrefix(endpoint, "nats://")
	namespaceID, subject, both := strings.Cut(rest, "/")
	return namespaceID, subject, mine && both && validSubject(subject, false)
}

// validSubject reports whether clients may publish on the subject, or with wildcards
// subscribe to it. Subjects of the server and inboxes are nobody's endpoint.
func validSubject(subject string, wildcards bool) bool {
	if subject == "" || len(subject) > maxNATSSubject || subject[0] == '$' || strings.HasPrefix(subject, "_INBOX") {
		return false
	}
	tokens := strings.Split(subject, ".")
	for i, t := range tokens {
		switch {
		case t == "*" && wildcards, t == ">" && wildcards && i == len(tokens)-1:
		case t == "" || strings.ContainsAny(t, " \t\r\n\f\v*>\x00"):
			return false
		}
	}
	return tokens[0] != "*" && tokens[0] != ">" // that would be everything, the server's subjects too
}

// checkSubject refuses an endpoint that is not a subject of a NATS namespace of the
// topic's project. One of another project looks like one that does not exist.
func (t *Topic) checkSubject(ns mnq.Namespace, endpoint string) error {
	id, _, ok := subjectEndpoint(endpoint)
	if !ok {
		return invalidEndpoint("must be nats://<id of a NATS namespace>/<subject without wildcards>")
	}
	to, err := t.svc.cfg.Namespace(id)
	if err != nil || to.Protocol != mnq.ProtocolNATS || to.ProjectID != ns.ProjectID {
		return invalidEndpoint("there is no such NATS namespace in the project of the topic")
	}
	return nil
}

// attemptSubject publishes a message on a subject. Where a stream of the namespace
// takes it the answer of the stream is waited for; else it goes to whoever listens just
// now, as always in core NATS.
func (s *Service) attemptSubject(ctx context.Context, d *delivery) outcome {
	id, subject, ok := subjectEndpoint(d.sub.Endpoint)
	to, err := s.cfg.Namespace(id)
	if !ok || err != nil || to.ProjectID != d.ns.ProjectID {
		return outcome{final: true, class: "not_found"}
	}
	m, err := d.forSubject(ctx, subject)
	if parent := service.ParentOf(ctx); err == nil && parent != "" && s.cfg.Tracer != nil && m.Header.Get(headerParent) == "" {
		m.Header[headerParent] = []string{parent}
	}
	if err != nil {
		return outcome{class: "internal"}
	}
	nc, js, err := s.cfg.Connect(ctx, id)
	if err != nil {
		return outcome{class: "unavailable"}
	}
	if size := int64(len(m.Data)); size > nc.MaxPayload() || to.Quota.MessageBytes > 0 && size > to.Quota.MessageBytes {
		return outcome{final: true, class: "too_large"}
	}
	ctx, cancel := context.WithTimeout(ctx, wire.Timeout)
	defer cancel()
	switch taken, err := s.streams.takes(ctx, js, id, subject); {
	case err != nil:
		return outcome{class: "unavailable"}
	case taken:
		if _, err = js.PublishMsg(ctx, m); err == nil {
			return outcome{delivered: true}
		}
		s.streams.forget(id, subject)
		if wire.OverQuota(err) {
			return outcome{class: "quota_exceeded"}
		}
		return outcome{class: "unavailable"}
	}
	if err := nc.PublishMsg(m); err != nil {
		return outcome{class: "unavailable"}
	}
	if err := nc.FlushWithContext(ctx); err != nil {
		return outcome{class: "unavailable"}
	}
	return outcome{delivered: true}
}

// forSubject is the message as a NATS subject gets it: raw or in its envelope, with its
// attributes as headers.
func (d *delivery) forSubject(ctx context.Context, subject string) (*nats.Msg, error) {
	r := d.topic.render(d.m)
	text := r.text(d.sub.Protocol)
	m := &nats.Msg{Subject: subject, Header: attributeHeaders(d.m.attrs)}
	id := d.m.id.String()
	m.Header["Nats-Msg-Id"] = []string{id + "." + d.sub.ID} // a stream that keeps it does so once
	for name, v := range map[string]string{
		headerMessageID: id, headerTopic: d.topic.ARN(d.ns), headerSubject: d.m.subject,
		headerGroup: d.m.group, headerDedup: d.m.dedup, headerTrace: d.m.trace,
	} {
		if v != "" && !unfitHeader(v) {
			m.Header[name] = []string{v}
		}
	}
	for _, a := range d.m.attrs {
		if a.Name == attributeHops {
			m.Header[attributeHops] = []string{string(a.Value)}
		}
	}
	if d.raw() {
		m.Data = []byte(text)
		return m, nil
	}
	e, err := r.queueEnvelope(ctx, d.ns, text)
	if err == nil {
		m.Data = e.body(d.subscriptionARN())
	}
	return m, err
}

// unfitHeader reports whether a value cannot stand in a header as it is.
func unfitHeader(v string) bool {
	return strings.ContainsAny(v, "\r\n\x00") || strings.TrimSpace(v) != v
}

func attributeHeaders(attrs []queue.Attribute) nats.Header {
	h := make(nats.Header, len(attrs)+8)
	for _, a := range attrs {
		switch v := string(a.Value); {
		case reservedHeader(a.Name):
		case a.Binary() || unfitHeader(v):
			h[headerBinary+a.Name] = []string{base64.StdEncoding.EncodeToString(a.Value)}
		default:
			h[a.Name] = []string{v}
		}
	}
	return h
}

// streamsOf remembers for a while which subjects are taken by a stream. What it says
// decides only whether there is an answer to wait for.
type streamsOf struct {
	mu    sync.Mutex
	known map[string]streamOf // by namespace and subject
}

type streamOf struct {
	taken bool
	at    time.Time
}

const (
	streamsAge = 5 * time.Second
	maxStreams = 10_000
)

func (k *streamsOf) takes(ctx context.Context, js jetstream.JetStream, namespaceID, subject string) (bool, error) {
	key := namespaceID + "/" + subject
	k.mu.Lock()
	s, ok := k.known[key]
	k.mu.Unlock()
	if ok && time.Since(s.at) < streamsAge {
		return s.taken, nil
	}
	_, err := js.StreamNameBySubject(ctx, subject)
	none := errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
	if err != nil && !none {
		return false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || len(k.known) >= maxStreams {
		k.known = map[string]streamOf{}
	}
	k.known[key] = streamOf{!none, time.Now()}
	return !none, nil
}

func (k *streamsOf) forget(namespaceID, subject string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, namespaceID+"/"+subject)
}
