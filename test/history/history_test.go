package history

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"
)

const s = time.Second

func send(body string, begin, end time.Duration, ok bool) Event {
	return Event{Kind: Send, Body: body, Begin: begin, End: end, OK: ok}
}

func receive(call int, body string, begin, end time.Duration) Event {
	group, sequence, _ := strings.Cut(body, "/")
	e := Event{Kind: Receive, Call: call, Body: body, Begin: begin, End: end, OK: true, Visibility: 30 * s}
	if sequence != "" {
		e.Group, e.Sequence = group, sequence
	}
	return e
}

func remove(body string, begin, end time.Duration, ok bool) Event {
	return Event{Kind: Delete, Body: body, Begin: begin, End: end, OK: ok}
}

func with(id string, e Event) Event {
	e.ID = id
	return e
}

func tried(attempts int, e Event) Event {
	e.Attempts = attempts
	return e
}

func refused(e Event) Event {
	e.Refused = true
	return e
}

func numbered(sequence string, e Event) Event {
	e.Group, e.Sequence = "g", sequence
	return e
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events []Event
		want   string // "" or the kind of violation and its bodies
	}{
		"AllIsWell":                      {[]Event{send("a", 0, 1, true), receive(1, "a", 2, 3), remove("a", 4, 5, true)}, ""},
		"LostIsAcknowledgedAndNeverSeen": {[]Event{send("a", 0, 1, true), send("b", 0, 1, true), receive(1, "b", 2, 3)}, "1 lost: [a]"},
		"AnUnknownSendMayBeMissing":      {[]Event{send("a", 0, 1, false)}, ""},
		"AnUnknownSendMayCome":           {[]Event{send("a", 0, 1, false), receive(1, "a", 2, 3)}, ""},
		"PhantomWasNeverSent":            {[]Event{receive(1, "a", 2, 3)}, "1 phantom: [a]"},
		"ReappearedAfterItsDeletion": {
			[]Event{send("a", 0, 1, true), receive(1, "a", 2, 3), remove("a", 4, 5, true), receive(2, "a", 6, 7)},
			"1 reappeared: [a]",
		},
		"AReceiveUnderWayMayStillBringIt": {
			[]Event{send("a", 0, 1, true), receive(1, "a", 2, 3), remove("a", 4, 6, true), receive(2, "a", 5, 7)},
			"",
		},
		"AnUnknownDeletionMayNotHaveHappened": {
			[]Event{send("a", 0, 1, true), receive(1, "a", 2, 3), remove("a", 4, 5, false), receive(2, "a", 6, 7)},
			"",
		},
		"ReorderedWhenTheSecondComesFirst": {
			[]Event{send("g/1", 0, 1, true), send("g/2", 0, 1, true), receive(1, "g/2", 2, 3), remove("g/2", 4, 4, true), receive(2, "g/1", 5, 6)},
			"1 reordered: [g/2]",
		},
		"NotReorderedWithinOneCall": {
			[]Event{send("g/1", 0, 1, true), send("g/2", 0, 1, true), receive(1, "g/1", 2, 3), receive(1, "g/2", 2, 3)},
			"",
		},
		"NotReorderedWhenTheFirstComesAgain": {
			[]Event{
				send("g/1", 0, 1, true), send("g/2", 0, 1, true),
				receive(1, "g/1", 2, 3), remove("g/1", 4, 4, false), receive(2, "g/2", 5, 6), remove("g/2", 7, 7, true), receive(3, "g/1", 40*s, 41*s),
			},
			"",
		},
		"OverlappedWhileAnotherHoldsTheGroup": {
			[]Event{send("g/1", 0, 1, true), send("g/2", 0, 1, true), receive(1, "g/1", 2, 3), receive(2, "g/2", 4, 5), remove("g/1", 6, 7, true)},
			"1 reordered: [g/2]\n1 overlapped: [g/2]",
		},
		"NotOverlappedAfterTheDeletion": {
			[]Event{send("g/1", 0, 1, true), send("g/2", 0, 1, true), receive(1, "g/1", 2, 3), remove("g/1", 4, 6, false), receive(2, "g/2", 5, 7)},
			"",
		},
		"NotOverlappedWhenAFirstDeletionFailed": {
			[]Event{
				send("g/1", 0, 1, true), send("g/2", 0, 1, true), receive(1, "g/1", 2, 3), remove("g/1", 4, 5, false),
				receive(2, "g/1", 31*s, 32*s), remove("g/1", 33*s, 34*s, true), receive(3, "g/2", 35*s, 36*s),
			},
			"",
		},
		"NotOverlappedAfterTheVisibilityTimeout": {
			[]Event{send("g/1", 0, 1, true), receive(1, "g/1", 2, 3), receive(2, "g/1", 20*s, 31*s)},
			"",
		},
		"OverlappedWhenSomeOfTheMessagesAreStillHeld": {
			[]Event{
				send("g/1", 0, 1, true), send("g/2", 0, 1, true), send("g/3", 0, 1, true),
				receive(1, "g/1", 2, 3), receive(1, "g/2", 2, 3), remove("g/1", 4, 5, true), receive(2, "g/3", 6, 7), remove("g/2", 8, 9, true),
			},
			"1 reordered: [g/3]\n1 overlapped: [g/3]",
		},
		"ReappearedUnderTheIdOfWhatWasDeleted": {
			[]Event{with("1", tried(3, send("a", 0, 1, true))), with("1", receive(1, "a", 2, 3)), with("1", remove("a", 4, 5, true)), with("1", receive(2, "a", 6, 7))},
			"1 reappeared: [a]",
		},
		"ARepeatedSendMayBeTwoMessages": {
			[]Event{
				with("2", tried(2, send("a", 0, 1, true))), with("1", receive(1, "a", 2, 3)), with("1", remove("a", 4, 5, true)),
				with("2", receive(2, "a", 6, 7)), with("2", remove("a", 8, 9, true)),
			},
			"",
		},
		"CopiedAlthoughItWasSentOnce": {
			[]Event{with("2", send("a", 0, 1, true)), with("1", receive(1, "a", 2, 3)), with("2", receive(2, "a", 6, 7))},
			"1 copied: [a]",
		},
		"CopiedMoreOftenThanItWasSent": {
			[]Event{with("2", tried(2, send("a", 0, 1, true))), with("1", receive(1, "a", 2, 3)), with("2", receive(2, "a", 6, 7)), with("3", receive(3, "a", 6, 7))},
			"1 copied: [a]",
		},
		"AsManyCopiesAsATopicDelivers": {
			[]Event{tried(Any, send("a", 0, 1, true)), with("1", receive(1, "a", 2, 3)), with("2", receive(2, "a", 6, 7)), with("3", receive(3, "a", 6, 7))},
			"",
		},
		"LostWhenATopicDeliversNothing": {[]Event{tried(Any, send("a", 0, 1, true))}, "1 lost: [a]"},
		"CopiedInAFIFOQueueWhereRepeatedSendsAreOne": {
			[]Event{with("2", tried(2, send("g/1", 0, 1, true))), with("1", receive(1, "g/1", 2, 3)), with("2", receive(2, "g/1", 40*s, 41*s))},
			"1 copied: [g/1]",
		},
		"LostIsWhatWasAcknowledgedNotItsCopy": {
			[]Event{with("2", tried(2, send("a", 0, 1, true))), with("1", receive(1, "a", 2, 3))},
			"1 lost: [a]",
		},
		"ReorderedInOneCall": {
			[]Event{send("g/1", 0, 1, true), send("g/2", 0, 1, true), receive(1, "g/2", 2, 3), receive(1, "g/1", 2, 3)},
			"1 reordered: [g/2]",
		},
		"ReorderedBecauseADeletionWasRefused": {
			[]Event{
				send("g/1", 0, 1, true), send("g/2", 0, 1, true), receive(1, "g/1", 2, 3), refused(remove("g/1", 4, 5, false)),
				receive(2, "g/2", 40*s, 41*s),
			},
			"1 reordered: [g/2]",
		},
		"OverlappedInTwoHandsOfReceivesAtOneTime": {
			[]Event{send("g/1", 0, 1, true), receive(1, "g/1", 2, 5), receive(2, "g/1", 3, 4)},
			"1 overlapped: [g/1]",
		},
		"NotOverlappedAfterARelease": {
			[]Event{
				send("g/1", 0, 1, true), send("g/2", 0, 1, true), receive(1, "g/1", 2, 3), receive(1, "g/2", 2, 3),
				{Kind: Release, Body: "g/1", Group: "g", Begin: 4, End: 5, OK: true},
				receive(2, "g/1", 6, 7),
			},
			"",
		},
		"MisnumberedWithTwoNumbers": {
			[]Event{send("g/1", 0, 1, true), receive(1, "g/1", 2, 3), numbered("7", receive(2, "g/1", 40*s, 41*s))},
			"1 misnumbered: [g/1]",
		},
		"MisnumberedBehindItsSuccessor": {
			[]Event{numbered("8", send("g/1", 0, 1, true)), numbered("7", send("g/2", 2, 3, true)), numbered("7", receive(1, "g/2", 4, 5)), numbered("8", receive(1, "g/1", 4, 5))},
			"1 misnumbered: [g/2]",
		},
		"OtherGroupsAreFree": {
			[]Event{send("g/1", 0, 1, true), send("h/2", 0, 1, true), receive(1, "g/1", 2, 3), receive(2, "h/2", 4, 5)},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := New()
			h.Add(c.events...)
			if got := strings.TrimSpace(h.Check().Violations()); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			reversed := slices.SortedStableFunc(slices.Values(c.events), func(a, b Event) int { return cmp.Compare(b.Begin, a.Begin) })
			if got := strings.TrimSpace(check(reversed).Violations()); got != c.want {
				t.Errorf("recorded in another order: got %q, want %q", got, c.want)
			}
		})
	}
}

func TestReportCounts(t *testing.T) {
	t.Parallel()
	h := New()
	h.Add(tried(3, send("a", 0, 1*s, true)), send("b", 0, 4*s, true), send("c", 0, 5*s, false),
		receive(h.Call(), "a", 6*s, 7*s), receive(h.Call(), "a", 8*s, 9*s), receive(h.Call(), "b", 8*s, 9*s), remove("a", 9*s, 9*s, true))
	const want = "sent 2, unknown 1, received 3, deleted 1, duplicated 1, repeated 1, lost 0, phantom 0, reappeared 0, copied 0, reordered 0, overlapped 0, misnumbered 0, longest gap between sends 3s"
	if got := h.Check().String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
