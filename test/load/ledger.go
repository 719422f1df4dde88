package main

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
)

// ledger knows every message of one run: what was sent, what was confirmed, and how
// often each was received. A body says who it is, and what it must be to the last
// byte follows from that.
type ledger struct {
	run  string
	size int

	mu      sync.Mutex
	senders [][]entry // by worker and number
	bad     int       // bodies that are damaged or that nobody sent
}

// entry is one message.
type entry struct {
	confirmed bool
	received  uint16
}

func newLedger(run string, workers, size int) *ledger {
	return &ledger{run: run, size: size, senders: make([][]entry, workers)}
}

// next appends the body of a new message of a worker to b, and returns its number.
func (l *ledger) next(b []byte, worker int) (body []byte, number int) {
	l.mu.Lock()
	number = len(l.senders[worker])
	l.senders[worker] = append(l.senders[worker], entry{})
	l.mu.Unlock()
	return appendBody(b, l.run, worker, number, l.size), number
}

// appendBody appends "run.worker.number." and filler that depends on all three, up
// to size bytes.
func appendBody(b []byte, run string, worker, number, size int) []byte {
	begin := len(b)
	b = append(b, run...)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(worker), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(number), 10)
	b = append(b, '.')
	x := uint64(worker)<<40 ^ uint64(number) ^ 0x9E3779B97F4A7C15
	for len(b)-begin < size {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		for v, n := x, 0; n < 10 && len(b)-begin < size; n++ {
			b = append(b, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[v&63])
			v >>= 6
		}
	}
	return b
}

// confirm notes that the server has answered for a message.
func (l *ledger) confirm(worker, number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.senders[worker][number].confirmed = true
}

// receive notes a received body.
func (l *ledger) receive(body, scratch []byte) []byte {
	worker, number, ok := l.identify(body)
	if ok {
		scratch = appendBody(scratch[:0], l.run, worker, number, l.size)
		ok = bytes.Equal(body, scratch)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || worker >= len(l.senders) || number >= len(l.senders[worker]) {
		l.bad++
		return scratch
	}
	l.senders[worker][number].received++
	return scratch
}

func (l *ledger) identify(body []byte) (worker, number int, ok bool) {
	rest, mine := bytes.CutPrefix(body, []byte(l.run+"."))
	if !mine {
		return 0, 0, false
	}
	t := bytes.SplitN(rest, []byte("."), 3)
	if len(t) != 3 {
		return 0, 0, false
	}
	worker, err := strconv.Atoi(string(t[0]))
	if err != nil || worker < 0 {
		return 0, 0, false
	}
	number, err = strconv.Atoi(string(t[1]))
	return worker, number, err == nil && number >= 0
}

// balance is what a ledger says at the end.
type balance struct {
	Confirmed  int `json:"confirmed"`
	Lost       int `json:"lost"`       // confirmed, never received and not counted by the server either
	Duplicated int `json:"duplicated"` // deliveries beyond the first
	Bad        int `json:"bad"`        // damaged, or sent by nobody
}

// close draws the balance; left is how many messages the server says it still has.
func (l *ledger) close(left int) balance {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := balance{Bad: l.bad}
	missing := 0
	for _, s := range l.senders {
		for _, e := range s {
			if e.confirmed {
				b.Confirmed++
			}
			if e.confirmed && e.received == 0 {
				missing++
			}
			if e.received > 1 {
				b.Duplicated += int(e.received) - 1
			}
		}
	}
	b.Lost = max(0, missing-left)
	return b
}

func (b balance) add(o balance) balance {
	return balance{b.Confirmed + o.Confirmed, b.Lost + o.Lost, b.Duplicated + o.Duplicated, b.Bad + o.Bad}
}

func (b balance) String() string {
	return fmt.Sprintf("%d lost, %d duplicated, %d bad", b.Lost, b.Duplicated, b.Bad)
}
