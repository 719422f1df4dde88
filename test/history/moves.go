package history

import (
	"fmt"
	"slices"
)

// CheckMoves finds what is wrong with the history of several FIFO queues among which
// messages move, along the path or, when they come back, in circles. Everything was
// received and deleted in the end.
func (h *History) CheckMoves(path []string, circles bool) (wrong []string) {
	events := h.sorted()
	all := gather(events)
	r := check(withoutNumbers(events)) // each queue has its own
	for _, v := range []violation{{"lost", &r.Lost}, {"phantom", &r.Phantom}, {"back after its deletion", &r.Reappeared}, {"in two hands", &r.Overlapped}} {
		for _, body := range *v.bodies {
			wrong = append(wrong, body+" is "+v.what)
		}
	}
	for _, m := range all {
		if got := m.received(""); len(got) > 0 {
			if _, gone := m.mayHaveLeft(); !gone {
				wrong = append(wrong, fmt.Sprintf("%s got lost after %v", m.body, got[len(got)-1]))
			}
		}
	}
	if circles {
		return wrong
	}
	groups := map[string][]*message{}
	for _, e := range events { // in the order in which they were sent
		if m := all[e.Body]; e.Kind == Send && !slices.Contains(groups[e.Group], m) {
			groups[e.Group] = append(groups[e.Group], m)
		}
	}
	for _, g := range groups {
		for i, m := range g {
			wrong = append(wrong, m.back(path)...)
			for _, queue := range path {
				wrong = append(wrong, m.passed(g[:i], queue)...)
			}
		}
	}
	return wrong
}

// withoutNumbers keeps what a check can tell although the queues are several: it looks
// at each message by itself, as a group of its own.
func withoutNumbers(events []Event) []Event {
	out := slices.Clone(events)
	for i := range out {
		if out[i].Group != "" {
			out[i].Group, out[i].ID, out[i].Sequence = out[i].Body, "", "0"
		}
	}
	return out
}

// received returns the receives of the message from the queue, or from all.
func (m *message) received(queue string) (out []Event) {
	for _, c := range m.copies {
		for _, e := range c.received {
			if queue == "" || e.Queue == queue {
				out = append(out, e)
			}
		}
	}
	return out
}

// back returns the receives of the message from a queue after it had come from a later
// one of the path.
func (m *message) back(path []string) (wrong []string) {
	got := m.received("")
	for _, a := range got {
		for _, b := range got {
			if slices.Index(path, a.Queue) > slices.Index(path, b.Queue) && b.Begin > a.End {
				wrong = append(wrong, fmt.Sprintf("%s went back: %v, then %v", m.body, a, b))
			}
		}
	}
	return wrong
}

// passed returns the receives of the message from the queue before one of its
// predecessors came from it for the first time.
func (m *message) passed(before []*message, queue string) (wrong []string) {
	for _, a := range m.received(queue) {
		for _, p := range before {
			from := p.received(queue)
			if len(from) > 0 && !slices.ContainsFunc(from, func(b Event) bool { return b.Begin < a.End }) {
				wrong = append(wrong, fmt.Sprintf("%s passed %s: %v, then %v", m.body, p.body, a, from[0]))
			}
		}
	}
	return wrong
}
