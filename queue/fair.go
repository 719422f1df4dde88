package queue

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Fair delivery on standard queues. Messages with a group lie on a subject for
// their group's bucket. While a bucket has many messages in the queue, the next ones
// of it go to a second track with a consumer of its own, which receives look at when
// the first is empty, and first every fourth time. So what other groups send
// overtakes the backlog of a noisy one, and the noisy one is served nevertheless.
//
// Whoever sends decides, knowing what the server counted a moment ago and what it
// has sent itself since. A queue without groups never has a second track.

// track is one of a queue's two consumers.
type track byte

const (
	trackReady track = iota
	trackCrowd
)

func (l track) consumer() string {
	if l == trackCrowd {
		return "n"
	}
	return consumerName
}

const (
	buckets = 64
	// crowdAt is how many messages of a bucket, waiting or in flight, make it noisy.
	crowdAt = 100
	// crowdRecount is how long a count of the server is used.
	crowdRecount = 250 * time.Millisecond
	// crowdTurn: one in so many receives looks at the noisy groups first.
	crowdTurn = 4
)

func bucketOf(group string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(group)) // never fails
	return int(h.Sum32() % buckets)
}

// grouped is the subject of a bucket's messages in a track.
func (r record) grouped(l track, bucket int) string {
	letter := ".r.g."
	if l == trackCrowd {
		letter = ".n.g."
	}
	return "q." + r.ID + letter + strconv.Itoa(bucket)
}

func (r record) crowdConfig(replicas int) jetstream.ConsumerConfig {
	c := r.consumerConfig(replicas)
	c.Durable, c.FilterSubject = trackCrowd.consumer(), "q."+r.ID+".n.>"
	return c
}

// fairness is what this process knows of the buckets of one queue.
type fairness struct {
	mu      sync.Mutex
	counted time.Time
	ready   [buckets]int // messages in the first track
	crowd   [buckets]int // and in the second
}

// sent counts one more message of the bucket and reports whether that makes it
// noisy, as far as is known.
func (f *fairness) sent(bucket int) (noisy bool, known time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	noisy = f.crowd[bucket] > 0 || f.ready[bucket] >= crowdAt
	if noisy {
		f.crowd[bucket]++
	} else {
		f.ready[bucket]++
	}
	return noisy, f.counted
}

// trackFor chooses the subject for a message of the group. When the second track cannot
// be used it is in the first one.
func (q *Queue) trackFor(ctx context.Context, w *link, group string) string {
	bucket := bucketOf(group)
	noisy, counted := q.fair.sent(bucket)
	if noisy && time.Since(counted) > crowdRecount {
		if q.recount(ctx, w) != nil {
			noisy = false
		} else {
			noisy, _ = q.fair.sent(bucket)
		}
	}
	if noisy && q.openCrowd(ctx, w) == nil {
		return q.record.Load().grouped(trackCrowd, bucket)
	}
	return q.record.Load().grouped(trackReady, bucket)
}

// recount asks the server how many messages each bucket has.
func (q *Queue) recount(ctx context.Context, w *link) error {
	body := []byte(`{"subjects_filter":"q.` + q.id + `.*.g.*"}`)
	a := w.Exchange(ctx, []request{{Subject: "$JS.API.STREAM.INFO.q_" + q.id, Data: body}}, answerTimeout)[0]
	if a.Err != nil {
		return a.Err
	}
	var info struct {
		State struct {
			Subjects map[string]int `json:"subjects"`
		} `json:"state"`
		Error *struct{ Description string } `json:"error"`
	}
	if err := json.Unmarshal(a.Msg.Data, &info); err != nil {
		return err
	}
	if info.Error != nil {
		return errors.New(info.Error.Description)
	}
	q.fair.mu.Lock()
	defer q.fair.mu.Unlock()
	q.fair.counted = time.Now()
	q.fair.ready, q.fair.crowd = [buckets]int{}, [buckets]int{}
	for subject, n := range info.State.Subjects {
		t := strings.Split(subject, ".")
		bucket, err := strconv.Atoi(t[len(t)-1])
		if err != nil || len(t) != 5 || bucket < 0 || bucket >= buckets {
			continue
		}
		if t[2] == "n" {
			q.fair.crowd[bucket] = n
		} else {
			q.fair.ready[bucket] = n
		}
	}
	return nil
}

// openCrowd makes the second track, once in a queue's life.
func (q *Queue) openCrowd(ctx context.Context, w *link) error {
	r := q.record.Load()
	if r.Crowd {
		return nil
	}
	if err := q.svc.createConsumer(ctx, w.js, r.stream(), r.crowdConfig(q.svc.cfg.Replicas)); err != nil {
		return err
	}
	return q.change(ctx, "queue.Send", func(r *record) error {
		r.Crowd = true
		return nil
	})
}

// tracks returns the queue's consumers in the order in which the next receive looks
// at them.
func (q *Queue) tracks() []track {
	switch {
	case !q.record.Load().Crowd:
		return []track{trackReady}
	case q.turn.Add(1)%crowdTurn == 0:
		return []track{trackCrowd, trackReady}
	default:
		return []track{trackReady, trackCrowd}
	}
}

// longPollTracks waits until there is a message in either track.
func (q *Queue) longPollTracks(ctx context.Context, w *link, n int, wait time.Duration) ([]delivery, error) {
	deadline := time.Now().Add(wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		if got, err := q.poll(ctx, w, n); err != nil || len(got) > 0 {
			return got, err
		}
		var standing [2]*pull
		for l := range standing {
			p, err := q.stand(ctx, w, track(l), n, deadline)
			if err != nil || p == nil {
				for _, p := range standing[:l] {
					q.give(p)
				}
				return nil, err
			}
			standing[l] = p
		}
		var err error
		over := false
		select {
		case <-standing[trackReady].done:
		case <-standing[trackCrowd].done:
		case <-timer.C:
			over = true
		case <-q.closed:
			err = missing(q.name)
		case <-ctx.Done():
			err = ctx.Err()
		}
		var got []delivery
		for _, p := range standing {
			got = append(got, q.give(p)...)
		}
		if err != nil {
			q.release(w, got)
			return nil, err
		}
		if len(got) > n {
			q.release(w, got[n:])
			got = got[:n]
		}
		if len(got) > 0 || over {
			return got, nil
		}
		select {
		case <-time.After(min(retryPull, max(0, time.Until(deadline)))):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if w, err = q.svc.connection(ctx, q.space); err != nil {
			return nil, err
		}
	}
}

// stand makes or takes over a standing request in a track; nil when the time is up
// before there is a place.
func (q *Queue) stand(ctx context.Context, w *link, l track, n int, deadline time.Time) (*pull, error) {
	slots := &q.pulls[l]
	if p := slots.adopt(w); p != nil {
		return p, nil
	}
	select {
	case <-slots.acquire():
	case <-time.After(time.Until(deadline)):
		return nil, nil
	case <-q.closed:
		return nil, missing(q.name)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return q.startPull(w, ask{l, n, max(time.Until(deadline), time.Millisecond)}, slots.release), nil
}

// give leaves a standing request to the next receiver and returns what came of it.
func (q *Queue) give(p *pull) []delivery {
	got := p.abandon()
	select {
	case <-p.done:
	default:
		q.pulls[p.track].orphan(p)
	}
	return got
}
