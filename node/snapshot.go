package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
)

// snapshotChunk is how much of a snapshot is sent at once, snapshotWindow how much may
// be on its way: little enough for a slow reader to acknowledge something every five
// seconds, after which the server gives up.
const (
	snapshotChunk  = 128 << 10
	snapshotWindow = 2 << 20

	snapshotWait = 30 * time.Second // for the server's next word
)

// StreamSnapshot describes a stream at the moment of its snapshot.
type StreamSnapshot struct {
	Config json.RawMessage `json:"config"` // as the server has it, with fields that this program does not know
	State  json.RawMessage `json:"state"`
}

// Messages is the number of messages in the stream.
func (s StreamSnapshot) Messages() (n uint64) {
	var state struct {
		Messages uint64 `json:"messages"`
	}
	if json.Unmarshal(s.State, &state) == nil {
		n = state.Messages
	}
	return n
}

// apiRefusal is the error in an answer of JetStream.
type apiRefusal struct {
	Error *jetstream.APIError `json:"error"`
}

// Snapshot reads a stream in the server's own format, with its consumers, as it is when
// Snapshot is called, less what is deleted while it is read. take gets the stream's
// description and a function that writes the data. Kind NotFound: there is no such stream.
func Snapshot(ctx context.Context, nc *nats.Conn, stream string, take func(s StreamSnapshot, data func(io.Writer) error) error) error {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	if err := sub.SetPendingLimits(-1, 2*snapshotWindow); err != nil {
		return err
	}
	request, err := json.Marshal(map[string]any{"deliver_subject": inbox, "chunk_size": snapshotChunk, "window_size": snapshotWindow})
	if err != nil {
		return err
	}
	var out struct {
		StreamSnapshot
		apiRefusal
	}
	if err := ask(ctx, nc, "$JS.API.STREAM.SNAPSHOT."+stream, request, &out); err != nil {
		return snapshotError(stream, err)
	}
	if out.Error != nil {
		return snapshotError(stream, out.Error)
	}
	return take(out.StreamSnapshot, func(w io.Writer) error { return receiveSnapshot(ctx, sub, stream, w) })
}

// receiveSnapshot writes what the server sends until the end.
func receiveSnapshot(ctx context.Context, sub *nats.Subscription, stream string, w io.Writer) error {
	for {
		wait, cancel := context.WithTimeout(ctx, snapshotWait)
		m, err := sub.NextMsgWithContext(wait)
		cancel()
		if err != nil {
			return snapshotError(stream, fmt.Errorf("the server has stopped sending: %w", err))
		}
		if len(m.Data) == 0 { // the end
			if status := m.Header.Get("Status"); status != "" && !strings.HasPrefix(status, "2") {
				return snapshotError(stream, errors.New(status+" "+m.Header.Get("Description")))
			}
			return nil
		}
		if _, err := w.Write(m.Data); err != nil {
			return err
		}
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				return snapshotError(stream, err)
			}
		}
	}
}

func snapshotError(stream string, err error) error {
	e := &mnq.Error{Kind: mnq.Unavailable, Op: "node.Snapshot", Resource: stream, Err: err}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		e.Kind = mnq.NotFound
	}
	return e
}

// ask sends a request until it is answered, within the patience of a cluster, and
// decodes the answer.
func ask(ctx context.Context, nc *nats.Conn, subject string, body []byte, out any) error {
	m, err := Retry(ctx, PatienceFor(3), func(ctx context.Context) (*nats.Msg, error) {
		return nc.RequestWithContext(ctx, subject, body)
	})
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, out)
}

// RestoreStream makes a stream from what Snapshot has written, with at most as many
// replicas as given. Kind Exists: there is one of that name.
func RestoreStream(ctx context.Context, nc *nats.Conn, s StreamSnapshot, replicas int, r io.Reader) error {
	name, request, err := s.restoreRequest(replicas)
	if err != nil {
		return err
	}
	fail := func(err error) error {
		e := &mnq.Error{Kind: mnq.Unavailable, Op: "node.RestoreStream", Resource: name, Err: err}
		if api, ok := errors.AsType[*jetstream.APIError](err); ok {
			e.Kind = mnq.Invalid
			if api.ErrorCode == 10130 || api.ErrorCode == jetstream.JSErrCodeStreamNameInUse {
				e.Kind = mnq.Exists
			}
		}
		return e
	}
	var began struct {
		apiRefusal
		Deliver string `json:"deliver_subject"`
	}
	// Once: it is not known whether one without an answer has begun.
	m, err := requestOnce(ctx, nc, "$JS.API.STREAM.RESTORE."+name, request)
	if err == nil {
		err = json.Unmarshal(m.Data, &began)
	}
	if err != nil {
		return fail(err)
	}
	if began.Error != nil {
		return fail(began.Error)
	}
	buf := make([]byte, snapshotChunk)
	for {
		n, err := io.ReadFull(r, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		m, sent := requestOnce(ctx, nc, began.Deliver, buf[:n]) // nothing at all is the end
		if sent != nil {
			return fail(sent)
		}
		var answer apiRefusal
		if len(m.Data) > 0 && json.Unmarshal(m.Data, &answer) == nil && answer.Error != nil {
			return fail(answer.Error)
		}
		if n == 0 {
			return nil
		}
	}
}

// requestOnce waits as long as a server may need to make a large stream its own. What
// nobody has received is sent again: that a server listens may not have come around yet.
func requestOnce(ctx context.Context, nc *nats.Conn, subject string, body []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*snapshotWait)
	defer cancel()
	for until := time.Now().Add(snapshotWait); ; {
		m, err := nc.RequestWithContext(ctx, subject, body)
		if !errors.Is(err, nats.ErrNoResponders) || time.Now().After(until) {
			return m, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s StreamSnapshot) restoreRequest(replicas int) (name string, request []byte, err error) {
	var known struct {
		Name     string `json:"name"`
		Replicas int    `json:"num_replicas"`
	}
	config := map[string]json.RawMessage{}
	if err := errors.Join(json.Unmarshal(s.Config, &known), json.Unmarshal(s.Config, &config)); err != nil {
		return "", nil, err
	}
	if known.Name == "" || strings.ContainsAny(known.Name, ".*> \t\r\n") {
		return "", nil, &mnq.Error{Kind: mnq.Invalid, Op: "node.RestoreStream", Msg: "a stream without a name that can be used"}
	}
	if known.Replicas > replicas {
		config["num_replicas"] = fmt.Append(nil, replicas)
	}
	request, err = json.Marshal(map[string]any{"config": config, "state": s.State})
	return known.Name, request, err
}

// StreamNames lists the streams of an account in the order of their names.
func StreamNames(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	return Retry(ctx, PatienceFor(3), func(ctx context.Context) (names []string, err error) {
		list := js.StreamNames(ctx)
		for name := range list.Name() {
			names = append(names, name)
		}
		return names, list.Err()
	})
}
