package wire

import (
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// lane is a subscription for the answers to one request at a time of [Wire.PullApart].
// Messages arrive under their own subject, not under the reply subject, so each standing
// request needs a subscription of its own; they are kept and used again.
type lane struct {
	w      *Wire
	prefix string
	sub    *nats.Subscription

	mu   sync.Mutex
	turn uint64   // of the request, the last token of its reply subject
	sink SinkFunc // nil while free
}

// PullApart sends a request for messages of a consumer, of which there can be any number
// at a time. sink takes what comes, messages and statuses, until it says that it is over.
func (w *Wire) PullApart(subject string, body []byte, sink SinkFunc) error {
	l, err := w.lane()
	if err != nil {
		return err
	}
	reply := l.begin(sink)
	if err := w.nc.PublishRequest(subject, reply, body); err != nil {
		l.mu.Lock()
		l.sink = nil
		l.mu.Unlock()
		w.giveBack(l)
		return err
	}
	return nil
}

func (w *Wire) lane() (*lane, error) {
	w.mu.Lock()
	if n := len(w.free); n > 0 {
		l := w.free[n-1]
		w.free = w.free[:n-1]
		w.mu.Unlock()
		return l, nil
	}
	w.mu.Unlock()
	l := &lane{w: w, prefix: w.nc.NewRespInbox() + "."}
	var err error
	if l.sub, err = w.nc.Subscribe(l.prefix+"*", l.receive); err != nil {
		return nil, err
	}
	if err := l.sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lanes = append(w.lanes, l)
	return l, nil
}

func (w *Wire) giveBack(l *lane) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = append(w.free, l)
}

// begin takes the lane for a request and returns its reply subject.
func (l *lane) begin(sink SinkFunc) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn++
	l.sink = sink
	return l.prefix + strconv.FormatUint(l.turn, 36)
}

func (l *lane) receive(m *nats.Msg) {
	l.mu.Lock()
	sink := l.sink
	if token, ok := strings.CutPrefix(m.Subject, l.prefix); ok && token != strconv.FormatUint(l.turn, 36) {
		sink = nil // a status that an earlier request left behind
	}
	over := sink != nil && sink(m, nil)
	if over {
		l.sink = nil
	}
	l.mu.Unlock()
	if over {
		l.w.giveBack(l)
	}
}

func (l *lane) end() {
	l.mu.Lock()
	sink := l.sink
	l.sink = nil
	l.mu.Unlock()
	if sink != nil {
		sink(nil, ErrLost)
		l.w.giveBack(l)
	}
}
