package queue

import (
	"fmt"
	"slices"
	"time"
)

// modelled is a message as the model sees it.
type modelled struct {
	Sent        // of a copy unknown until it is seen
	group, body string
	at          time.Time // when it came into the queue
	past        int       // receives in other queues
	first       time.Time
	count       int
	hidden      time.Time // until when; zero: visible
	owner       *Service  // whose clock says so
	handle      string    // of the last delivery
	left        bool      // it has been moved into another queue
}

// fifoModel is a FIFO queue in the most obvious form: a list.
type fifoModel struct {
	delay    time.Duration
	scope    string
	receives int         // after which a message is dead; 0: never
	races    bool        // there are several processes
	msgs     []*modelled // in the order of the queue
	memo     map[string][]*modelled
	dealt    map[string]*modelled // by handle, also old ones
}

func newFIFOModel() *fifoModel {
	return &fifoModel{memo: map[string][]*modelled{}, dealt: map[string]*modelled{}}
}

func (m *fifoModel) dedupKey(group, body string) string {
	if m.scope == scopeGroup {
		return group + "/" + body
	}
	return body
}

// add puts a message at the end.
func (m *fifoModel) add(x *modelled) {
	key := m.dedupKey(x.group, x.body)
	m.msgs, m.memo[key] = append(m.msgs, x), append(m.memo[key], x)
}

// earlier returns the message that a send is a duplicate of, or nil when it is new.
func (m *fifoModel) earlier(group, body string, now time.Time) *modelled {
	for _, old := range m.memo[m.dedupKey(group, body)] {
		if now.Sub(old.at) < dedupWindow {
			return old
		}
	}
	return nil
}

func (m *fifoModel) hiddenFrom(s *Service, x *modelled, now time.Time) bool {
	switch {
	case x.count == 0:
		return x.at.Add(m.delay).After(now)
	case x.hidden.IsZero():
		return false
	case x.owner == s:
		return x.hidden.After(now)
	default:
		return x.hidden.Add(clockSlack).After(now)
	}
}

// available returns what each group has to give: the dead letters at its head, which
// leave the queue, and what can be received then.
func (m *fifoModel) available(s *Service, now time.Time) (dead, alive map[string][]*modelled) {
	dead, alive = map[string][]*modelled{}, map[string][]*modelled{}
	blocked := map[string]bool{}
	for _, x := range m.msgs {
		isDead := m.receives > 0 && x.count >= m.receives
		switch blocked[x.group] = blocked[x.group] || m.hiddenFrom(s, x, now) || isDead && len(alive[x.group]) > 0; {
		case blocked[x.group]:
		case isDead:
			dead[x.group] = append(dead[x.group], x)
		default:
			alive[x.group] = append(alive[x.group], x)
		}
	}
	return dead, alive
}

// oldest is when the oldest message was sent; zero when there is none.
func (m *fifoModel) oldest() (at time.Time) {
	for _, x := range m.msgs {
		if at.IsZero() || x.at.Before(at) {
			at = x.at
		}
	}
	return at
}

func (m *fifoModel) gone(x *modelled) bool { return !slices.Contains(m.msgs, x) }

func (m *fifoModel) remove(x *modelled) {
	m.msgs = slices.DeleteFunc(m.msgs, func(y *modelled) bool { return x == y })
}

// seen holds what is told of a message against what is known of it.
func (x *modelled) seen(g Message) string {
	if x.MessageID == "" {
		x.MessageID = g.ID
	}
	if x.SequenceNumber == "" {
		x.SequenceNumber = g.SequenceNumber
	}
	if g.ID != x.MessageID || g.ReceiveCount != x.past+x.count+1 || g.SequenceNumber != x.SequenceNumber || g.Body != x.body {
		return fmt.Sprintf("%+v, want %+v", g, x)
	}
	if !x.first.IsZero() && g.FirstReceived.UnixMilli() != x.first.UnixMilli() {
		return "first receive time changed"
	}
	return ""
}

// explain returns what is wrong with an answer to a receive at now, or nothing.
// Among several processes a group may lose its turn to a lost race.
func (m *fifoModel) explain(s *Service, n int, now time.Time, got []Message) string {
	fair := !m.races
	_, have := m.available(s, now)
	total := 0
	for _, ms := range have {
		total += len(ms)
	}
	if len(got) != min(n, total) {
		return fmt.Sprintf("%d messages, want %d", len(got), min(n, total))
	}
	last := ""
	closed := map[string]bool{}
	for _, g := range got {
		if g.GroupID != last {
			if closed[g.GroupID] {
				return "messages of a group are not together"
			}
			if last != "" && len(have[last]) > 0 && fair {
				return "group " + last + " was left for another one"
			}
			last, closed[g.GroupID] = g.GroupID, true
		}
		if len(have[last]) == 0 || have[last][0].body != g.Body || have[last][0].MessageID != "" && have[last][0].MessageID != g.ID {
			return "group " + last + " is out of order at " + g.Body
		}
		if why := have[last][0].seen(g); why != "" {
			return why
		}
		have[last] = have[last][1:]
	}
	return ""
}

// took notes a receive.
func (m *fifoModel) took(s *Service, got []Message, at time.Time, visibility time.Duration) {
	for _, g := range got {
		for _, x := range m.msgs {
			if x.MessageID != g.ID {
				continue
			}
			x.count++
			x.first = g.FirstReceived
			x.hidden, x.owner, x.handle = time.Time{}, s, g.Handle
			if visibility > 0 {
				x.hidden = at.Add(visibility)
			}
			m.dealt[g.Handle] = x
		}
	}
}
