package queue

import (
	"context"
	"encoding/base64"
	"strconv"
	"testing"
	"time"
)

// fill puts n dead letters of source into dlq.
func fill(t *testing.T, source *Queue, n int) {
	t.Helper()
	for i := range n {
		send(t, source, strconv.Itoa(i))
	}
	for range (n + 9) / 10 {
		receive(t, source, Receive{Max: 10, Visibility: time.Second})
	}
	time.Sleep(2 * time.Second)
	for range n/10/maxRounds + 1 {
		wantBodies(t, receive(t, source, now))
	}
}

func (b *bundle) move(s *Service, q *Queue, change func(*NewMove)) Move {
	b.t.Helper()
	in := NewMove{Source: q.ARN(b.ns)}
	if change != nil {
		change(&in)
	}
	m, err := s.StartMove(context.Background(), b.ns, in)
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func (b *bundle) moves(s *Service, q *Queue) []Move {
	b.t.Helper()
	list, err := s.Moves(b.ns, q.ARN(b.ns), 10)
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func TestMoveTask(t *testing.T) {
	t.Parallel()

	t.Run("BringsMessagesBackAsNewOnes", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			fill(t, source, 25)
			wantCounts(t, dlq, Counts{Visible: 25})
			b.move(b.services[0], dlq, nil)
			time.Sleep(3 * time.Second)
			wantCounts(t, dlq, Counts{})
			wantCounts(t, source, Counts{Visible: 25})
			m := receive(t, source, now)[0]
			if m.ReceiveCount != 1 || m.DeadLetterSource != "" {
				t.Errorf("%+v", m)
			}
			if list := b.moves(b.services[0], dlq); len(list) != 1 || list[0].Status != MoveCompleted || list[0].Moved != 25 || list[0].ToMove != 25 {
				t.Errorf("%+v", list)
			}
		})
	})
	t.Run("KeepsItsRateAndIsCancelled", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			fill(t, source, 60)
			m := b.move(b.services[0], dlq, func(in *NewMove) { in.Rate = new(2) })
			time.Sleep(10*time.Second + 500*time.Millisecond)
			c, err := source.Counts(t.Context())
			if err != nil || c.Visible < 20 || c.Visible > 22 {
				t.Errorf("%+v, %v after ten seconds at two a second", c, err)
			}
			other := b.process()
			if _, err := other.StartMove(t.Context(), b.ns, NewMove{Source: dlq.ARN(b.ns)}); err == nil {
				t.Error("a second task was started")
			}
			moved, err := other.CancelMove(t.Context(), b.ns, m.Handle())
			if err != nil || moved < 18 || moved > 22 {
				t.Errorf("%d, %v", moved, err)
			}
			time.Sleep(2 * time.Second)
			if list := b.moves(other, dlq); list[0].Status != MoveCancelled {
				t.Errorf("%+v", list)
			}
			before, _ := source.Counts(t.Context())
			time.Sleep(10 * time.Second)
			if after, _ := source.Counts(t.Context()); after.Visible != before.Visible {
				t.Errorf("%+v, later %+v", before, after)
			}
			_, err = other.CancelMove(t.Context(), b.ns, m.Handle())
			wantCode(t, err, "ResourceNotFoundException")
		})
	})
	t.Run("GoesOnInAnotherProcess", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			fill(t, source, 60)
			other := b.process()
			b.move(b.services[0], dlq, func(in *NewMove) { in.Rate = new(2) })
			time.Sleep(5 * time.Second)
			if err := b.services[0].Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if list := b.moves(other, dlq); list[0].Status != MoveCompleted || list[0].Moved != 60 {
				t.Errorf("%+v", list)
			}
			q, _ := other.Queue(b.ns, "source")
			wantCounts(t, q, Counts{Visible: 60})
		})
	})
	t.Run("IsTakenOverFromAProcessThatDied", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			fill(t, source, 10)
			m := Move{ID: "7b1f8e3e-0000-4000-8000-000000000000", Source: dlq.ARN(b.ns), Status: MoveRunning, Started: time.Now(), Last: 1 << 40, Runner: "dead"}
			if err := b.services[0].tasks.change(t.Context(), dlq.taskKey(), func([]Move) ([]Move, error) { return []Move{m}, nil }); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			wantCounts(t, source, Counts{})
			time.Sleep(15 * time.Second)
			wantCounts(t, source, Counts{Visible: 10})
		})
	})
	t.Run("GoesOnAfterARestart", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			fill(t, source, 30)
			b.move(b.services[0], dlq, func(in *NewMove) { in.Rate = new(2) })
			time.Sleep(5 * time.Second)
			b.restart()
			time.Sleep(time.Minute)
			dlq = b.queue(0, "dlq")
			if list := b.moves(b.services[0], dlq); list[0].Status != MoveCompleted || list[0].Moved != 30 {
				t.Errorf("%+v", list)
			}
			wantCounts(t, dlq, Counts{})
			wantCounts(t, b.queue(0, "source"), Counts{Visible: 30})
		})
	})
	t.Run("FailsWhenItCannotGoOn", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			send(t, dlq, "sent there by hand")
			b.move(b.services[0], dlq, nil)
			time.Sleep(time.Second)
			if list := b.moves(b.services[0], dlq); list[0].Status != MoveFailed || list[0].Failure != "CouldNotDetermineMessageSource" {
				t.Errorf("%+v", list)
			}
			wantCounts(t, dlq, Counts{Visible: 1})
			target := b.create("target", nil)
			b.move(b.services[0], dlq, func(in *NewMove) { in.Destination = target.ARN(b.ns) })
			time.Sleep(time.Second)
			wantCounts(t, target, Counts{Visible: 1})

			fill(t, source, 30)
			b.move(b.services[0], dlq, func(in *NewMove) { in.Destination, in.Rate = target.ARN(b.ns), new(1) })
			time.Sleep(5 * time.Second)
			if err := target.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			if list := b.moves(b.services[0], dlq); len(list) != 3 || list[0].Status != MoveFailed || list[0].Failure != "AWS.SimpleQueueService.NonExistentQueue" {
				t.Errorf("%+v", list)
			}
			if c, _ := dlq.Counts(t.Context()); c.Visible < 23 {
				t.Errorf("%+v", c)
			}
		})
	})
	t.Run("IsRefused", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			s := b.services[0]
			arn := dlq.ARN(b.ns)
			for _, c := range []struct {
				in   NewMove
				code string
			}{
				{NewMove{Source: "x"}, "InvalidParameterValue"},
				{NewMove{Source: arn + "x"}, "ResourceNotFoundException"},
				{NewMove{Source: "arn:scw:sqs:fr-par:other:dlq"}, "ResourceNotFoundException"},
				{NewMove{Source: source.ARN(b.ns)}, "InvalidParameterValue"},
				{NewMove{Source: arn, Rate: new(501)}, "InvalidParameterValue"},
				{NewMove{Source: arn, Rate: new(0)}, "InvalidParameterValue"},
				{NewMove{Source: arn, Destination: "x"}, "InvalidParameterValue"},
				{NewMove{Source: arn, Destination: arn}, "InvalidParameterValue"},
				{NewMove{Source: arn, Destination: arn + "x"}, "ResourceNotFoundException"},
			} {
				_, err := s.StartMove(t.Context(), b.ns, c.in)
				wantCode(t, err, c.code)
			}
			handle := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
			for h, code := range map[string]string{
				"%": "InvalidParameterValue", handle("x"): "InvalidParameterValue", handle("{}"): "InvalidParameterValue",
				handle(`{"taskId":"x","sourceArn":"` + arn + `x"}`): "ResourceNotFoundException",
				handle(`{"taskId":"x","sourceArn":"` + arn + `"}`):  "ResourceNotFoundException",
			} {
				_, err := s.CancelMove(t.Context(), b.ns, h)
				wantCode(t, err, code)
			}
		})
	})
}
