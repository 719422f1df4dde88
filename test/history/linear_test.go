package history

import (
	"slices"
	"testing"
	"time"
)

const enough = time.Minute // to decide on a few calls

func TestLinearizable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events []Event
		good   bool
	}{
		"AllIsWell": {[]Event{
			send("g/1", 0, 1, true), send("g/2", 2, 3, true), receive(1, "g/1", 4, 5), remove("g/1", 6, 7, true),
			receive(2, "g/2", 8, 9), remove("g/2", 10, 11, true),
		}, true},
		"SentAtOneTimeInEitherOrder": {[]Event{
			send("g/1", 0, 3, true), send("g/2", 1, 2, true), receive(1, "g/2", 4, 5), receive(1, "g/1", 4, 5),
		}, true},
		"NotTheHead": {[]Event{send("g/1", 0, 1, true), send("g/2", 2, 3, true), receive(1, "g/2", 4, 5)}, false},
		"NotInOrder": {[]Event{
			send("g/1", 0, 1, true), send("g/2", 2, 3, true), receive(1, "g/2", 4, 5), receive(1, "g/1", 4, 5),
		}, false},
		"WithAGap": {[]Event{
			send("g/1", 0, 1, true), send("g/2", 2, 3, true), send("g/3", 4, 5, true), receive(1, "g/1", 6, 7), receive(1, "g/3", 6, 7),
		}, false},
		"BeforeItWasSent": {[]Event{send("g/1", 4, 5, true), receive(1, "g/1", 2, 3)}, false},
		"AfterItsDeletion": {[]Event{
			send("g/1", 0, 1, true), receive(1, "g/1", 2, 3), remove("g/1", 4, 5, true), receive(2, "g/1", 6, 7),
		}, false},
		"WhileItIsHidden": {[]Event{send("g/1", 0, 1, true), receive(1, "g/1", 2, 3), receive(2, "g/1", 4, 5)}, false},
		"WhileTheHeadIsHidden": {[]Event{
			send("g/1", 0, 1, true), send("g/2", 2, 3, true), receive(1, "g/1", 4, 5), receive(2, "g/2", 6, 7),
		}, false},
		"WhenItIsNotHiddenAnyMore": {[]Event{send("g/1", 0, 1, true), receive(1, "g/1", 2, 3), receive(2, "g/1", 31*s, 32*s)}, true},
		"WhenItWasReleased": {[]Event{
			send("g/1", 0, 1, true), receive(1, "g/1", 2, 3), {Kind: Release, Body: "g/1", Group: "g", Begin: 4, End: 5, OK: true}, receive(2, "g/1", 6, 7),
		}, true},
		"AnUnknownDeletionHasHappened": {[]Event{
			send("g/1", 0, 1, true), send("g/2", 2, 3, true), receive(1, "g/1", 4, 5), remove("g/1", 6, 7, false), receive(2, "g/2", 8, 9),
		}, true},
		"AnUnknownDeletionHasNotHappened": {[]Event{
			send("g/1", 0, 1, true), receive(1, "g/1", 2, 3), remove("g/1", 4, 5, false), receive(2, "g/1", 40*s, 41*s),
		}, true},
		"AnUnknownDeletionHasHappenedAndNot": {[]Event{
			send("g/1", 0, 1, true), send("g/2", 2, 3, true), receive(1, "g/1", 4, 5), remove("g/1", 6, 7, false),
			receive(2, "g/2", 8, 9), receive(3, "g/1", 40*s, 41*s),
		}, false},
		"ARefusedDeletionHasNotHappened": {[]Event{
			send("g/1", 0, 1, true), send("g/2", 2, 3, true), receive(1, "g/1", 4, 5), refused(remove("g/1", 6, 7, false)), receive(2, "g/2", 8, 9),
		}, false},
		"AnUnknownSendComesLate": {[]Event{send("g/1", 0, 1, false), send("g/2", 2, 3, true), receive(1, "g/2", 4, 5), receive(1, "g/1", 4, 5)}, true},
		"ARepeatedSendIsOneMessage": {[]Event{
			send("g/1", 0, 1, false), send("g/1", 2, 3, true), send("g/2", 4, 5, true), receive(1, "g/2", 6, 7), receive(1, "g/1", 6, 7),
		}, false},
		"OtherGroupsAreFree": {[]Event{send("g/1", 0, 1, true), send("h/2", 2, 3, true), receive(1, "h/2", 4, 5), receive(2, "g/1", 6, 7)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := New()
			for _, e := range c.events {
				e.Group = e.Body[:1]
				h.Add(e)
			}
			wrong, undecided := h.Linearizable(enough)
			if len(undecided) > 0 || (len(wrong) == 0) != c.good || !c.good && !slices.Equal(wrong, []string{"g"}) {
				t.Errorf("wrong %v, undecided %v", wrong, undecided)
			}
		})
	}
}

func TestRegisterLinearizable(t *testing.T) {
	t.Parallel()
	write := func(begin, end time.Duration, value string, expected, revision uint64, o Outcome) Register {
		return Register{Begin: begin, End: end, Write: true, Value: value, Expected: expected, Revision: revision, Outcome: o}
	}
	read := func(begin, end time.Duration, value string, revision uint64) Register {
		return Register{Begin: begin, End: end, Value: value, Revision: revision}
	}
	for name, c := range map[string]struct {
		calls []Register
		good  bool
	}{
		"AllIsWell":                    {[]Register{write(0, 1, "a", 0, 5, OK), read(2, 3, "a", 5), write(4, 5, "b", 5, 7, OK), read(6, 7, "b", 7)}, true},
		"OfTwoAtOneTimeOneIsRefused":   {[]Register{write(0, 3, "a", 0, 5, OK), write(1, 2, "b", 0, 0, Refused), read(4, 5, "a", 5)}, true},
		"TwoThatExpectedTheSame":       {[]Register{write(0, 3, "a", 0, 5, OK), write(1, 2, "b", 0, 6, OK)}, false},
		"OldValue":                     {[]Register{write(0, 1, "a", 0, 5, OK), write(2, 3, "b", 5, 6, OK), read(4, 5, "a", 5)}, false},
		"RefusedForNoReason":           {[]Register{write(0, 1, "a", 0, 0, Refused), read(2, 3, "", 0)}, false},
		"RefusedAndYetThere":           {[]Register{write(0, 1, "a", 0, 5, OK), write(2, 3, "b", 3, 0, Refused), read(4, 5, "b", 6)}, false},
		"AnUnknownWriteHasHappened":    {[]Register{write(0, 1, "a", 0, 0, Unknown), read(2, 3, "a", 5), write(4, 5, "b", 5, 6, OK)}, true},
		"AnUnknownWriteHappensLater":   {[]Register{write(0, 1, "a", 0, 0, Unknown), read(2, 3, "", 0), read(4, 5, "a", 5)}, true},
		"AnUnknownWriteHasNotHappened": {[]Register{write(0, 1, "a", 0, 0, Unknown), write(2, 3, "b", 0, 5, OK), read(4, 5, "b", 5)}, true},
		"AnUnknownWriteHasHappenedTwice": {
			[]Register{write(0, 1, "a", 0, 0, Unknown), read(2, 3, "a", 5), write(4, 5, "b", 5, 6, OK), read(6, 7, "a", 7)},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := RegisterLinearizable(c.calls, enough); got != c.good {
				t.Errorf("got %v", got)
			}
		})
	}
}
