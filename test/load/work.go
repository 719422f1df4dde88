package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// endpoint is where a server listens and who the client is.
type endpoint struct {
	addr, access, secret, region string
}

// work is what every worker does again and again. It returns how many messages
// went all the way.
type work struct {
	name    string
	step    func(w *worker) (messages int, err error)
	fifo    bool
	sends   bool // only sends: the references take it too
	waiting int  // messages that are there before it begins
	paced   bool // at half the rate of send, which has to come before it
}

// works by name.
var works = []work{
	{name: "send", step: (*worker).send, sends: true},
	{name: "send-half", step: (*worker).send, paced: true},
	{name: "send10", step: (*worker).sendTen, sends: true},
	{name: "cycle", step: (*worker).cycle},
	{name: "cycle10", step: (*worker).cycleTen},
	{name: "fifo", step: (*worker).cycle, fifo: true},
	{name: "cycle-100k", step: (*worker).cycle, waiting: 100_000},
	{name: "cycle-1m", step: (*worker).cycle, waiting: 1_000_000},
}

const (
	groups     = 64
	visibility = 120 // seconds; longer than a run, so that no second delivery is in order
	drainFor   = 3 * time.Second
	drainers   = 8
)

// worker is one connection that does one kind of work.
type worker struct {
	*client
	id      int
	queue   string // URL, quoted for JSON
	fifo    bool
	ledger  *ledger
	body    []byte // of a message
	json    []byte // of a request
	numbers []int
	scratch []byte
	took    []time.Duration
	done    int
}

// message appends a message as fields of a JSON object.
func (w *worker) message(b []byte) ([]byte, int) {
	var number int
	w.body, number = w.ledger.next(w.body[:0], w.id)
	b = append(b, `"MessageBody":"`...)
	b = append(b, w.body...)
	b = append(b, '"')
	if w.fifo {
		b = append(b, `,"MessageGroupId":"g`...)
		b = strconv.AppendInt(b, int64((w.id*7+number)%groups), 10)
		b = append(b, `","MessageDeduplicationId":"`...)
		b = append(b, w.body[:min(len(w.body), 40)]...)
		b = append(b, '"')
	}
	return b, number
}

func (w *worker) send() (int, error) {
	b := append(append(w.json[:0], `{"QueueUrl":`...), w.queue...)
	b, number := w.message(append(b, ','))
	w.json = append(b, '}')
	if _, err := w.call("SendMessage", w.json); err != nil {
		return 0, err
	}
	w.ledger.confirm(w.id, number)
	return 1, nil
}

func (w *worker) sendTen() (int, error) {
	b := append(append(w.json[:0], `{"QueueUrl":`...), w.queue...)
	b = append(b, `,"Entries":[`...)
	w.numbers = w.numbers[:0]
	for i := range 10 {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, `{"Id":"`...), byte('0'+i)), `",`...)
		var number int
		b, number = w.message(b)
		b = append(b, '}')
		w.numbers = append(w.numbers, number)
	}
	w.json = append(b, `]}`...)
	answer, err := w.call("SendMessageBatch", w.json)
	if err != nil {
		return 0, err
	}
	if bytes.Contains(answer, []byte(`"Failed":[{`)) {
		return 0, fmt.Errorf("SendMessageBatch: %.300s", answer)
	}
	for _, number := range w.numbers {
		w.ledger.confirm(w.id, number)
	}
	return 10, nil
}

// cycle sends a message, receives one and deletes it.
func (w *worker) cycle() (int, error) {
	if _, err := w.send(); err != nil {
		return 0, err
	}
	return w.take(1, 1)
}

func (w *worker) cycleTen() (int, error) {
	if _, err := w.sendTen(); err != nil {
		return 0, err
	}
	return w.take(10, 10)
}

// take receives and deletes until it has had n messages; others may be faster, so it
// gives up after a while.
func (w *worker) take(n, most int) (int, error) {
	got := 0
	for tries := 0; got < n && tries < 20*n; tries++ {
		handles, err := w.receive(min(most, n-got))
		if err != nil {
			return got, err
		}
		if err := w.remove(handles); err != nil {
			return got, err
		}
		got += len(handles)
	}
	return got, nil
}

// receive takes up to n messages and returns their handles, valid until the next
// call but one.
func (w *worker) receive(n int) ([][]byte, error) {
	b := append(append(w.json[:0], `{"QueueUrl":`...), w.queue...)
	b = append(b, `,"MaxNumberOfMessages":`...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, `,"VisibilityTimeout":`...)
	b = strconv.AppendInt(b, visibility, 10)
	w.json = append(b, '}')
	answer, err := w.call("ReceiveMessage", w.json)
	if err != nil {
		return nil, err
	}
	for _, body := range values(answer, `"Body":"`) {
		w.scratch = w.ledger.receive(body, w.scratch)
	}
	return values(bytes.Clone(answer), `"ReceiptHandle":"`), nil
}

func (w *worker) remove(handles [][]byte) error {
	if len(handles) == 0 {
		return nil
	}
	b := append(append(w.json[:0], `{"QueueUrl":`...), w.queue...)
	if len(handles) == 1 {
		b = append(append(append(b, `,"ReceiptHandle":"`...), handles[0]...), `"}`...)
		w.json = b
		_, err := w.call("DeleteMessage", b)
		return err
	}
	b = append(b, `,"Entries":[`...)
	for i, h := range handles {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, `{"Id":"`...), byte('0'+i)), `","ReceiptHandle":"`...)
		b = append(append(b, h...), `"}`...)
	}
	w.json = append(b, `]}`...)
	answer, err := w.call("DeleteMessageBatch", w.json)
	if err == nil && bytes.Contains(answer, []byte(`"Failed":[{`)) {
		err = fmt.Errorf("DeleteMessageBatch: %.300s", answer)
	}
	return err
}

// values returns what stands between field and the next quotation mark, for each
// field. What is looked for needs no escapes.
func values(b []byte, field string) (out [][]byte) {
	for {
		_, after, ok := bytes.Cut(b, []byte(field))
		if !ok {
			return out
		}
		v, rest, _ := bytes.Cut(after, []byte{'"'})
		out, b = append(out, v), rest
	}
}

// plan says how one measurement is made.
type plan struct {
	work     work
	clients  int
	size     int
	warm, d  time.Duration
	pace     time.Duration                         // between the beginnings of two steps of a connection; 0: as fast as it can
	reads    func() (cpu time.Duration, err error) // of the server; nil: not known
	balanced bool                                  // the ledger is drawn up at the end
}

// result is one measurement.
type result struct {
	Rate    float64       `json:"messages_per_second"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	CPU     time.Duration `json:"server_cpu_ns_per_message"`
	Errors  int           `json:"errors"`
	First   string        `json:"first_error,omitempty"`
	Balance balance       `json:"balance"`
}

var runs atomic.Int64

// measure does the work on a queue of its own and draws the balance.
func measure(ctx context.Context, e endpoint, p plan) (r result, err error) {
	run := runs.Add(1)
	name := fmt.Sprintf("load-%s-%d-%d", p.work.name, p.clients, run)
	queue, err := createQueue(ctx, e, name, p.work.fifo)
	if err != nil && p.balanced {
		return r, err
	}
	led := newLedger(fmt.Sprintf("r%x%x", time.Now().UnixNano()&0xFFFFFF, run), p.clients+drainers, p.size)
	workers := make([]*worker, p.clients)
	for i := range workers {
		c, err := dial(ctx, e)
		if err != nil {
			return r, err
		}
		workers[i] = &worker{client: c, id: i, queue: queue, fifo: p.work.fifo, ledger: led}
	}
	defer func() {
		for _, w := range workers {
			err = errors.Join(err, w.close())
		}
	}()
	if err := fill(workers, p.work.waiting); err != nil {
		return r, err
	}
	r, err = drive(workers, p)
	if err != nil || !p.balanced {
		return r, err
	}
	left, err := drain(ctx, e, queue, led, p.work.waiting == 0)
	if err != nil {
		return r, err
	}
	r.Balance = led.close(left)
	_, err = workers[0].call("DeleteQueue", []byte(`{"QueueUrl":`+queue+`}`))
	return r, err
}

func createQueue(ctx context.Context, e endpoint, name string, fifo bool) (quoted string, err error) {
	c, err := dial(ctx, e)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	attributes := ""
	if fifo {
		name += ".fifo"
		attributes = `,"Attributes":{"FifoQueue":"true"}`
	}
	answer, err := c.call("CreateQueue", []byte(`{"QueueName":"`+name+`"`+attributes+`}`))
	if err != nil {
		return "", err
	}
	url := values(answer, `"QueueUrl":"`)
	if len(url) != 1 {
		return `"none"`, nil // a reference, which has no queues
	}
	return strconv.Quote(string(url[0])), nil
}

// fill sends messages in tens before the clock starts.
func fill(workers []*worker, n int) error {
	var all sync.WaitGroup
	errs := make([]error, len(workers))
	for i, w := range workers {
		share := n/len(workers)/10 + 1
		if n == 0 {
			share = 0
		}
		all.Go(func() {
			for range share {
				if _, err := w.sendTen(); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// drive lets the workers work: first unmeasured, then measured.
func drive(workers []*worker, p plan) (r result, err error) {
	begin := time.Now().Add(p.warm)
	end := begin.Add(p.d)
	errs := make([][]error, len(workers))
	var all sync.WaitGroup
	for i, w := range workers {
		all.Go(func() {
			due := time.Now().Add(p.pace * time.Duration(i) / time.Duration(len(workers)))
			for {
				t := time.Now()
				if p.pace > 0 { // who is late is measured from when it was due
					time.Sleep(due.Sub(t))
					t, due = due, due.Add(p.pace)
				}
				if t.After(end) {
					return
				}
				n, err := p.work.step(w)
				if err != nil {
					errs[i] = append(errs[i], err)
					if len(errs[i]) > 10 {
						return
					}
				}
				if now := time.Now(); t.After(begin) && now.Before(end) {
					w.took, w.done = append(w.took, now.Sub(t)), w.done+n
				}
			}
		})
	}
	var before, after time.Duration
	if p.reads != nil {
		time.Sleep(time.Until(begin))
		if before, err = p.reads(); err != nil {
			return r, err
		}
		time.Sleep(time.Until(end))
		if after, err = p.reads(); err != nil {
			return r, err
		}
	}
	all.Wait()
	var took []time.Duration
	done := 0
	for i, w := range workers {
		took, done = append(took, w.took...), done+w.done
		r.Errors += len(errs[i])
		if len(errs[i]) > 0 && r.First == "" {
			r.First = errs[i][0].Error()
		}
	}
	if done == 0 {
		return r, fmt.Errorf("%s: nothing was done: %s", p.work.name, r.First)
	}
	slices.Sort(took)
	r.Rate = float64(done) / p.d.Seconds()
	r.P50, r.P99 = took[len(took)/2], took[len(took)*99/100]
	r.CPU = (after - before) / time.Duration(done)
	return r, nil
}

// drain receives what is left, for a while, and returns how many messages the
// server then still has.
func drain(ctx context.Context, e endpoint, queue string, led *ledger, receive bool) (left int, err error) {
	if receive {
		var all sync.WaitGroup
		errs := make([]error, drainers)
		end := time.Now().Add(drainFor)
		for i := range drainers {
			all.Go(func() {
				c, err := dial(ctx, e)
				if err != nil {
					errs[i] = err
					return
				}
				w := &worker{client: c, queue: queue, ledger: led}
				for empty := 0; empty < 5 && time.Now().Before(end) && err == nil; {
					var handles [][]byte
					if handles, err = w.receive(10); err == nil {
						err = w.remove(handles)
					}
					if len(handles) == 0 {
						empty++
					}
				}
				errs[i] = errors.Join(err, c.close())
			})
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return 0, fmt.Errorf("drain: %w", err)
		}
	}
	c, err := dial(ctx, e)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	answer, err := c.call("GetQueueAttributes", []byte(`{"QueueUrl":`+queue+
		`,"AttributeNames":["ApproximateNumberOfMessages","ApproximateNumberOfMessagesNotVisible"]}`))
	if err != nil {
		return 0, err
	}
	for _, name := range []string{`"ApproximateNumberOfMessages":"`, `"ApproximateNumberOfMessagesNotVisible":"`} {
		for _, v := range values(answer, name) {
			n, err := strconv.Atoi(string(v))
			if err != nil {
				return 0, err
			}
			left += n
		}
	}
	return left, nil
}
