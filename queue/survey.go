package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// A survey is for those who look at all queues again and again: metrics and charts. It
// asks for many streams in one request, for consumers only where there is something to
// count, and it neither makes an index of a FIFO queue nor keeps one from being dropped.

const (
	surveyBatch  = 256 // requests on their way at once
	surveyFIFO   = 16  // FIFO queues that are looked at at once
	surveyWait   = 500 * time.Millisecond
	surveyLeases = 10_000 // of one FIFO queue that are read; the messages of others count as visible
	surveyClaims = 200    // of one FIFO queue whose messages are looked for

	countSubject = "mnq.count." // and a queue's id: how many messages the index of it has
)

// surveyed is a queue and what the server says about its stream.
type surveyed struct {
	q     *Queue
	state jetstream.StreamState
}

// Survey returns the counts of the namespace's queues by name, as [Queue.Counts] does for
// one; those that could not be counted are missing. It costs next to nothing for queues
// that are empty. Of a FIFO queue that no process has received from for ten minutes, or
// whose processes have just ended, messages that were deleted in the last five minutes may
// count still. Errors: Unavailable.
func (s *Service) Survey(ctx context.Context, ns mnq.Namespace) (map[string]Counts, error) {
	names, _ := s.List(ns, "", "", int(^uint(0)>>1))
	if len(names) == 0 {
		return map[string]Counts{}, nil
	}
	sp := s.lookup(ns.ID, names[0])
	if sp == nil {
		return map[string]Counts{}, nil // deleted meanwhile
	}
	w, err := s.connection(ctx, sp.space)
	if err != nil {
		return nil, err
	}
	all, err := s.surveyStreams(ctx, w, ns.ID)
	if err != nil {
		return nil, unavailable("queue.Survey", ns.ID, err)
	}
	out := make(map[string]Counts, len(all))
	var standard, ordered []surveyed
	for _, f := range all {
		switch {
		case f.state.Msgs == 0:
			out[f.q.name] = Counts{}
		case f.q.fifo == nil:
			standard = append(standard, f)
		default:
			ordered = append(ordered, f)
		}
	}
	for part := range slices.Chunk(standard, surveyBatch) {
		s.surveyStandard(ctx, w, part, out)
	}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(surveyFIFO)
	for _, f := range ordered {
		g.Go(func() error {
			if c, err := f.q.fifo.glance(ctx, w, f.state); err == nil {
				mu.Lock()
				defer mu.Unlock()
				out[f.q.name] = c
			}
			return nil
		})
	}
	_ = g.Wait() // none fails
	return out, ctx.Err()
}

// surveyStreams asks for the states of the streams of all queues.
func (s *Service) surveyStreams(ctx context.Context, w *link, ns string) ([]surveyed, error) {
	var out []surveyed
	for offset, total := 0, 1; offset < total; {
		page, err := retried(ctx, s, func(ctx context.Context) (streamPage, error) { return w.streams(ctx, offset) })
		if err != nil {
			return nil, err
		}
		if len(page.Streams) == 0 {
			break
		}
		offset, total = offset+len(page.Streams), page.Total
		for _, st := range page.Streams {
			id, ok := strings.CutPrefix(st.Config.Name, "q_")
			if q := s.byID(id); ok && q != nil && q.space.id == ns && q.record.Load().State == stateActive {
				out = append(out, surveyed{q, st.State})
			}
		}
	}
	return out, nil
}

// streamPage is the part of an answer to a list of streams that matters here.
type streamPage struct {
	Total   int `json:"total"`
	Streams []struct {
		Config struct {
			Name string `json:"name"`
		} `json:"config"`
		State jetstream.StreamState `json:"state"`
	} `json:"streams"`
	Error *struct {
		Code    int    `json:"err_code"`
		Message string `json:"description"`
	} `json:"error"`
}

func (w *link) streams(ctx context.Context, offset int) (page streamPage, err error) {
	a := w.Exchange(ctx, []request{{Subject: "$JS.API.STREAM.LIST", Data: fmt.Appendf(nil, `{"offset":%d,"subject":"q.>"}`, offset)}}, answerTimeout)[0]
	switch {
	case a.Err != nil:
		return page, a.Err
	case wire.NoResponders(a.Msg):
		return page, nats.ErrNoResponders
	}
	if err := json.Unmarshal(a.Msg.Data, &page); err != nil {
		return page, err
	}
	if page.Error != nil {
		return page, fmt.Errorf("%s (%d)", page.Error.Message, page.Error.Code)
	}
	return page, nil
}

// surveyStandard asks for the consumers of standard queues that are not empty.
func (s *Service) surveyStandard(ctx context.Context, w *link, part []surveyed, out map[string]Counts) {
	var reqs []request
	var of []int // which queue a request is about
	for i, f := range part {
		r := f.q.record.Load()
		for l := trackReady; l == trackReady || l == trackCrowd && r.Crowd; l++ {
			reqs, of = append(reqs, request{Subject: "$JS.API.CONSUMER.INFO." + r.stream() + "." + l.consumer()}), append(of, i)
		}
	}
	waiting, unacked, bad := make([]int64, len(part)), make([]int64, len(part)), make([]bool, len(part))
	for i, a := range w.Exchange(ctx, reqs, answerTimeout) {
		var info struct {
			Pending int64           `json:"num_pending"`
			Unacked int64           `json:"num_ack_pending"`
			Error   json.RawMessage `json:"error"`
		}
		if a.Err != nil || json.Unmarshal(a.Msg.Data, &info) != nil || info.Error != nil {
			bad[of[i]] = true
			continue
		}
		waiting[of[i]] += info.Pending
		unacked[of[i]] += info.Unacked
	}
	now := time.Now()
	for i, f := range part {
		if bad[i] {
			continue
		}
		hidden := f.q.flight.hiddenNow(now, f.state.FirstSeq) + s.ledger.elsewhere(f.q.id, now, f.state.FirstSeq)
		out[f.q.name] = counts(f.state, waiting[i], unacked[i], hidden)
	}
}

// glanced is what a FIFO queue's stream told without an index.
type glanced struct {
	messages int64
	oldest   time.Time
	hidden   []hiddenMessage
}

type hiddenMessage struct {
	until time.Time
	lease uint64 // of its group
}

// glance counts the messages of a FIFO queue whose stream is in that state.
func (f *fifo) glance(ctx context.Context, w *link, st jetstream.StreamState) (Counts, error) {
	if x := f.atHand(); x != nil {
		return x.counts(time.Now()), nil
	}
	if st.Consumers > 0 { // somebody else has an index
		ask, cancel := context.WithTimeout(ctx, surveyWait)
		defer cancel()
		m, err := f.q.svc.cfg.Control.Conn().RequestWithContext(ask, countSubject+f.q.id, nil)
		var c Counts
		if err == nil && json.Unmarshal(m.Data, &c) == nil {
			return c, nil
		}
	}
	// Nobody has received or deleted anything for a while: what is there are messages,
	// and leases.
	seen, err := f.look(ctx, w)
	if err != nil {
		return Counts{}, err
	}
	now := time.Now()
	c := Counts{Visible: seen.messages, Oldest: seen.oldest}
	groups := map[uint64]bool{}
	for _, h := range seen.hidden {
		if h.until.After(now) {
			c.InFlight++
			groups[h.lease] = true
		}
	}
	c.Groups = int64(len(groups))
	if delay := f.rules().delay; delay > 0 {
		if c.Delayed, _, err = f.stored(ctx, w, readFrom{time: now.Add(-delay)}); err != nil {
			return Counts{}, err
		}
	}
	c.Delayed = min(c.Delayed, c.Visible)
	c.InFlight = min(c.InFlight, c.Visible-c.Delayed)
	c.Visible -= c.InFlight + c.Delayed
	return c, nil
}

// atHand returns the index that this process has, without keeping it from being dropped,
// or nil.
func (f *fifo) atHand() *index {
	fw := f.following()
	if fw == nil {
		return nil
	}
	select {
	case <-fw.loaded:
		return fw.x
	default:
		return nil
	}
}

// askedCount answers another process's glance, if there is an index here.
func (l *ledger) askedCount(m *nats.Msg) {
	q := l.svc.byID(strings.TrimPrefix(m.Subject, countSubject))
	if q == nil || q.fifo == nil {
		return
	}
	if x := q.fifo.atHand(); x != nil {
		if answer, err := json.Marshal(x.counts(time.Now())); err == nil {
			_ = m.Respond(answer) // who asks does not wait for long
		}
	}
}

// look reads what the stream tells of a queue without its messages.
func (f *fifo) look(ctx context.Context, w *link) (seen glanced, err error) {
	r := f.q.record.Load()
	from := readFrom{seq: 1}
	mark, err := f.q.got("queue.Survey", w.Exchange(ctx, []request{f.q.getRequest(`{"last_by_subj":"` + r.purgeMark() + `"}`)}, answerTimeout)[0])
	if err != nil {
		return seen, err
	}
	if mark != nil {
		to, _, _ := parseGone(mark.header.Get(headPurged) + " 0")
		from.seq = to + 1
	}
	if age := r.Settings.seconds(attrRetention); age < dedupWindow+tombstoneLinger { // the stream keeps them longer
		from = readFrom{time: time.Now().Add(-age)}
	}
	if seen.messages, seen.oldest, err = f.stored(ctx, w, from); err != nil || seen.messages == 0 {
		return seen, err
	}
	seen.hidden, err = f.hidden(ctx, w)
	return seen, err
}

// stored counts the messages, and the tombstones, from a place or time on, and says when
// the first of them was stored.
func (f *fifo) stored(ctx context.Context, w *link, from readFrom) (n int64, first time.Time, err error) {
	recs, more, err := w.readSome(ctx, f.q.record.Load().stream(), f.q.record.Load().fifoMessages(), readFrom{seq: from.seq, time: from.time, n: 1})
	if err != nil {
		return 0, time.Time{}, f.q.streamError("queue.Survey", err)
	}
	if len(recs) == 0 {
		return 0, time.Time{}, nil
	}
	return more + 1, recs[0].sent, nil
}

// hidden reads from the leases until when messages are hidden that exist.
func (f *fifo) hidden(ctx context.Context, w *link) (all []hiddenMessage, err error) {
	now := time.Now()
	var reqs []request
	for seq, read := uint64(1), 0; read < surveyLeases; {
		recs, more, err := w.readSome(ctx, f.q.record.Load().stream(), f.q.record.Load().leases(), readFrom{seq: seq, n: surveyBatch})
		if err != nil {
			return nil, f.q.streamError("queue.Survey", err)
		}
		for _, rec := range recs {
			le, err := decodeLease(rec.seq, rec.header.Get(headLease))
			if err != nil {
				continue
			}
			for _, c := range le.claims {
				if end := c.over(f.q.svc.self); end.After(now) {
					all = append(all, hiddenMessage{end, rec.seq})
					reqs = append(reqs, f.q.getRequest(`{"seq":`+strconv.FormatUint(c.seq, 10)+`}`))
				}
			}
		}
		if read += len(recs); len(recs) == 0 || more == 0 {
			break
		}
		seq = recs[len(recs)-1].seq + 1
	}
	here := all[:0:0]
	for i, a := range w.Exchange(ctx, reqs[:min(len(reqs), surveyClaims)], answerTimeout) {
		if rec, err := f.q.got("queue.Survey", a); err != nil || rec != nil {
			here = append(here, all[i])
		}
	}
	return append(here, all[min(len(all), surveyClaims):]...), nil
}

// readSome reads records of some subjects in order, and how many more there are.
func (w *link) readSome(ctx context.Context, stream, subjects string, from readFrom) (recs []raw, more int64, err error) {
	body, err := json.Marshal(struct {
		Seq   uint64     `json:"seq,omitempty"`
		Time  *time.Time `json:"start_time,omitempty"`
		Next  string     `json:"next_by_subj"`
		Batch int        `json:"batch"`
		Bytes int        `json:"max_bytes"`
	}{from.seq, notZero(from.time), subjects, from.n, peekMaxBytes})
	if err != nil {
		return nil, 0, err
	}
	err = w.Collect(ctx, request{Subject: "$JS.API.DIRECT.GET." + stream, Data: body}, func(m *nats.Msg) (bool, error) {
		switch status := m.Header.Get("Status"); status {
		case "":
			r, err := directRecord(m)
			if err == nil {
				recs = append(recs, *r)
				more, err = strconv.ParseInt(m.Header.Get("Nats-Num-Pending"), 10, 64)
			}
			return false, err
		case "204", "404":
			return true, nil
		default:
			return true, errors.New(status + " " + m.Header.Get("Description"))
		}
	})
	return recs, more, err
}
