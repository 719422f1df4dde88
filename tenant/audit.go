package tenant

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/node"
)

// The audit log is a stream of the control account to which records are only added. A
// change has two: one before it, without which it is not made, and one with its
// outcome. The first alone says that a process ended in between, or that the outcome
// could not be written.

const (
	auditStream   = "MNQ_AUDIT"
	auditSubjects = "mnq.audit."
	auditAge      = 400 * 24 * time.Hour
	auditRecords  = 1_000_000 // the oldest go first; a limit in bytes would be set aside on the disk

	auditSpan = 500    // sequences read at a time
	auditScan = 20_000 // sequences that one query looks at

	// maxAuditText bounds what a client decides of a record: agent, resource, reason.
	maxAuditText = 300

	noProject = "_" // in a subject
)

// The outcomes of audited operations; others are the names of kinds of errors.
const (
	AuditOK      = "ok"
	AuditUnknown = "unknown" // begun, and nothing is known of its end
)

// AuditRecord is one operation that somebody asked for.
type AuditRecord struct {
	ID        string    `json:"id"` // of the operation
	Time      time.Time `json:"time"`
	Actor     string    `json:"actor"`            // access key of an API key or of a credential
	Role      string    `json:"role"`             // full, project, read-only or credential
	ProjectID string    `json:"project_id"`       // whose records it is among; "" for none
	Action    string    `json:"action"`           // such as openmnq.PurgeQueue, sqs.CreateQueue
	Resource  string    `json:"resource"`         // path, URL, ARN or name
	Result    string    `json:"result,omitempty"` // AuditOK, AuditUnknown, or the kind of error; "" before the outcome
	Reason    string    `json:"reason,omitempty"` // of a refusal
	Address   string    `json:"ip,omitempty"`     // of the caller
	Agent     string    `json:"agent,omitempty"`  // User-Agent
	RequestID string    `json:"request_id"`       // as the client saw it
	Via       string    `json:"via"`              // api, cli, console, sqs, sns
}

// auditLog writes and reads the stream.
type auditLog struct {
	js       jetstream.JetStream
	patience node.Patience
	written  atomic.Uint64 // records

	mu   sync.Mutex
	wire *wire.Wire // made by the first query
}

func openAudit(ctx context.Context, js jetstream.JetStream, replicas int) (*auditLog, error) {
	p := node.PatienceFor(replicas)
	_, err := node.Retry(ctx, p, func(ctx context.Context) (jetstream.Stream, error) {
		return js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: auditStream, Description: "OpenMNQ audit log", Subjects: []string{auditSubjects + ">"},
			Storage: jetstream.FileStorage, Replicas: replicas, MaxAge: auditAge, MaxMsgs: auditRecords, Discard: jetstream.DiscardOld,
			DenyDelete: true, DenyPurge: true, AllowDirect: true,
		})
	})
	if err != nil {
		return nil, unavailable("tenant.Start", "open the audit log", err)
	}
	return &auditLog{js: js, patience: p}, nil
}

// reader returns the wire for queries.
func (l *auditLog) reader(nc *nats.Conn) (*wire.Wire, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wire == nil {
		w, err := wire.New(nc)
		if err != nil {
			return nil, err
		}
		l.wire = w
	}
	return l.wire, nil
}

func (l *auditLog) close(ctx context.Context) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wire != nil {
		l.wire.Close(ctx)
		l.wire = nil
	}
}

func (l *auditLog) write(ctx context.Context, r AuditRecord) error {
	for _, text := range []*string{&r.Resource, &r.Reason, &r.Agent} {
		*text = bounded(*text)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	project := r.ProjectID
	if project == "" {
		project = noProject
	}
	// Also when the caller has gone: what it did is written down. Under an id, so that it
	// is written once however often it has to be sent.
	once := jetstream.WithMsgID(nuid.Next())
	_, err = node.Retry(context.WithoutCancel(ctx), l.patience, func(ctx context.Context) (*jetstream.PubAck, error) {
		return l.js.Publish(ctx, auditSubjects+project, raw, once)
	})
	if err != nil {
		return &mnq.Error{
			Kind: mnq.Unavailable, Op: "tenant.Audit", Resource: r.Action, Err: err,
			Msg: "The audit log cannot be written, so nothing was done. Please try again.",
		}
	}
	l.written.Add(1)
	return nil
}

// bounded cuts a text of the client's, and makes it valid UTF-8.
func bounded(s string) string {
	if len(s) > maxAuditText {
		s = s[:maxAuditText] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// AuditWritten is how many records this process has written.
func (d *Directory) AuditWritten() uint64 { return d.audit.written.Load() }

// Audit runs f, an operation that changes something, between two records. When the
// first cannot be written, f is not run and the error is Unavailable. That the second
// could not be written is logged; the query then shows the outcome AuditUnknown.
func (d *Directory) Audit(ctx context.Context, r AuditRecord, f func() error) error {
	r.ID, r.Time = uuid.NewString(), time.Now().UTC()
	if err := d.audit.write(ctx, r); err != nil {
		return err
	}
	err := f()
	r.Time = time.Now().UTC()
	r.Result, r.Reason = outcome(err)
	if err := d.audit.write(ctx, r); err != nil {
		d.log.ErrorContext(ctx, "outcome not in the audit log", "action", r.Action, "request_id", r.RequestID, "result", r.Result, "error", err)
	}
	return err
}

// AuditLook runs f, which only looks, and then writes one record. What f found must
// not be shown when that fails, with Unavailable.
func (d *Directory) AuditLook(ctx context.Context, r AuditRecord, f func() error) error {
	err := f()
	r.ID, r.Time = uuid.NewString(), time.Now().UTC()
	r.Result, r.Reason = outcome(err)
	if unwritten := d.audit.write(ctx, r); unwritten != nil {
		return unwritten
	}
	return err
}

// Outcome is an error that knows what the audit log says of it.
type Outcome interface {
	error
	AuditOutcome() (result, reason string)
}

func outcome(err error) (result, reason string) {
	if err == nil {
		return AuditOK, ""
	}
	if o, ok := errors.AsType[Outcome](err); ok {
		return o.AuditOutcome()
	}
	e, ok := errors.AsType[*mnq.Error](err)
	if !ok || e.Kind == mnq.Internal {
		return mnq.Internal.String(), ""
	}
	return e.Kind.String(), cmp.Or(e.Msg, e.Code)
}

// AuditQuery chooses records; what is empty does not matter.
type AuditQuery struct {
	Project  string // only those among this project's records
	Actor    string
	Action   string // is part of the action
	Resource string // is part of the resource
	Result   string
	Since    time.Time
	Until    time.Time
	Before   uint64 // go on with what is older than this place in the log
	Max      int    // 1 to 1000
}

func (q *AuditQuery) matches(r *AuditRecord) bool {
	return (q.Actor == "" || q.Actor == r.Actor) && strings.Contains(strings.ToLower(r.Action), strings.ToLower(q.Action)) &&
		strings.Contains(r.Resource, q.Resource) && (q.Result == "" || q.Result == r.Result) &&
		(q.Until.IsZero() || !r.Time.After(q.Until))
}

// AuditPage is a part of the log, the newest record first.
type AuditPage struct {
	Records []AuditRecord
	Next    uint64 // Before of the query that goes on; 0: there is nothing more
}

// AuditRecords reads the log from new to old. Errors: Unavailable.
func (d *Directory) AuditRecords(ctx context.Context, q AuditQuery) (AuditPage, error) {
	page, err := d.audit.page(ctx, d.cfg.Node.ControlConn(), q)
	if err != nil {
		return AuditPage{}, unavailable("tenant.AuditRecords", "read the audit log", err)
	}
	return page, nil
}

func (l *auditLog) page(ctx context.Context, nc *nats.Conn, q AuditQuery) (AuditPage, error) {
	w, err := l.reader(nc)
	if err != nil {
		return AuditPage{}, err
	}
	s, err := l.js.Stream(ctx, auditStream)
	if err != nil {
		return AuditPage{}, err
	}
	st := s.CachedInfo().State
	subject := auditSubjects + ">"
	if q.Project != "" {
		subject = auditSubjects + q.Project
	}
	end := st.LastSeq + 1
	ended := map[string]bool{} // operations whose outcome was seen
	if q.Before > 0 && q.Before < end {
		end = q.Before
		// The outcomes of what began before this place, if they came soon.
		after, err := w.After(ctx, auditStream, subject, end, auditSpan)
		if err != nil {
			return AuditPage{}, err
		}
		for _, rec := range after {
			var r AuditRecord
			if json.Unmarshal(rec.Data, &r) == nil && r.Result != "" {
				ended[r.ID] = true
			}
		}
	}
	out := AuditPage{Records: []AuditRecord{}}
	for scanned := uint64(0); end > max(st.FirstSeq, 1) && scanned < auditScan; scanned += auditSpan {
		begin := max(st.FirstSeq, 1, end-min(auditSpan, end))
		recs, err := auditBetween(ctx, w, subject, begin, end)
		if err != nil {
			return AuditPage{}, err
		}
		for _, rec := range slices.Backward(recs) {
			var r AuditRecord
			if json.Unmarshal(rec.Data, &r) != nil {
				continue
			}
			if !q.Since.IsZero() && r.Time.Before(q.Since) {
				return out, nil
			}
			if r.Result == "" {
				if ended[r.ID] {
					continue
				}
				r.Result = AuditUnknown
			}
			ended[r.ID] = true
			if !q.matches(&r) {
				continue
			}
			if len(out.Records) == q.Max {
				out.Next = rec.Sequence + 1
				return out, nil
			}
			out.Records = append(out.Records, r)
		}
		end = begin
	}
	if end > max(st.FirstSeq, 1) {
		out.Next = end
	}
	return out, nil
}

// auditBetween reads all records with sequences from begin up to end, end excluded.
func auditBetween(ctx context.Context, w *wire.Wire, subject string, begin, end uint64) (all []*wire.Record, err error) {
	for begin < end {
		recs, err := w.After(ctx, auditStream, subject, begin, auditSpan)
		if err != nil {
			return nil, err
		}
		for _, r := range recs {
			if r.Sequence >= end {
				return all, nil
			}
			all, begin = append(all, r), r.Sequence+1
		}
		if len(recs) == 0 {
			break
		}
	}
	return all, nil
}
