package wire

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Record is a message as it lies in a stream.
type Record struct {
	Subject  string
	Sequence uint64
	Stored   time.Time
	Header   nats.Header
	Data     []byte
}

// Last reads the last message of each subject from the stream's leader; nil where there
// is none.
func (w *Wire) Last(ctx context.Context, stream string, subjects ...string) ([]*Record, error) {
	const noMessage = 10037
	reqs := make([]Request, len(subjects))
	for i, s := range subjects {
		reqs[i] = Request{Subject: "$JS.API.STREAM.MSG.GET." + stream, Data: []byte(`{"last_by_subj":` + strconv.Quote(s) + `}`)}
	}
	out := make([]*Record, len(subjects))
	for i, a := range w.Exchange(ctx, reqs, Timeout) {
		if err := a.Done(); err != nil {
			return nil, err
		}
		var r struct {
			Message *struct {
				Subject string    `json:"subject"`
				Seq     uint64    `json:"seq"`
				Header  []byte    `json:"hdrs"`
				Data    []byte    `json:"data"`
				Time    time.Time `json:"time"`
			} `json:"message"`
			Error *apiError `json:"error"`
		}
		if err := json.Unmarshal(a.Msg.Data, &r); err != nil {
			return nil, err
		}
		switch {
		case r.Error != nil && r.Error.Code == noMessage:
		case r.Error != nil:
			return nil, r.Error
		case r.Message == nil:
			return nil, errors.New("answer without a message")
		default:
			out[i] = &Record{Subject: r.Message.Subject, Sequence: r.Message.Seq, Stored: r.Message.Time, Data: r.Message.Data}
			if len(r.Message.Header) > 0 {
				h, err := nats.DecodeHeadersMsg(r.Message.Header)
				if err != nil {
					return nil, err
				}
				out[i].Header = h
			}
		}
	}
	return out, nil
}

// After reads up to n messages of a subject, which may have wildcards, in order, from
// the sequence on. One replica answers: it may not have the last of them yet, but there
// is no gap. The stream must allow direct gets.
func (w *Wire) After(ctx context.Context, stream, subject string, from uint64, n int) ([]*Record, error) {
	body := `{"seq":` + strconv.FormatUint(from, 10) + `,"next_by_subj":` + strconv.Quote(subject) +
		`,"batch":` + strconv.Itoa(n) + `,"max_bytes":` + strconv.Itoa(maxPullBytes) + `}`
	var out []*Record
	err := w.Collect(ctx, Request{Subject: "$JS.API.DIRECT.GET." + stream, Data: []byte(body)}, func(m *nats.Msg) (bool, error) {
		switch status := m.Header.Get("Status"); status {
		case "": // a message
			r, err := directRecord(m)
			if err == nil {
				out = append(out, r)
			}
			return false, err
		case "204", "404": // the end
			return true, nil
		default:
			return true, errors.New(status + " " + m.Header.Get("Description"))
		}
	})
	return out, err
}

// directRecord reads an answer to a direct get.
func directRecord(m *nats.Msg) (*Record, error) {
	seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return nil, err
	}
	stored, err := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	return &Record{Subject: m.Header.Get("Nats-Subject"), Sequence: seq, Stored: stored, Header: m.Header, Data: m.Data}, err
}

// State is what a stream's leader says about it.
type State struct {
	LastSequence uint64
	Subjects     map[string]uint64 // messages of those that were asked for
}

// ErrNoStream is the answer for a stream that is not there.
var ErrNoStream = errors.New("no such stream")

// State asks a stream's leader for its state, with the subjects that match a filter, or
// none with "".
func (w *Wire) State(ctx context.Context, stream, subjects string) (State, error) {
	const notFound = 10059
	r := Request{Subject: "$JS.API.STREAM.INFO." + stream}
	if subjects != "" {
		r.Data = []byte(`{"subjects_filter":` + strconv.Quote(subjects) + `}`)
	}
	a := w.Exchange(ctx, []Request{r}, Timeout)[0]
	if err := a.Done(); err != nil {
		return State{}, err
	}
	var info struct {
		State struct {
			LastSeq  uint64            `json:"last_seq"`
			Subjects map[string]uint64 `json:"subjects"`
		} `json:"state"`
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(a.Msg.Data, &info); err != nil {
		return State{}, err
	}
	if e := info.Error; e != nil && e.Code == notFound {
		return State{}, ErrNoStream
	} else if e != nil {
		return State{}, e
	}
	return State{LastSequence: info.State.LastSeq, Subjects: info.State.Subjects}, nil
}
