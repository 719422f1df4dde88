package queue

import "context"

// write stores messages and returns the answer to each. Where each write is
// synced, those of concurrent callers go together.
func (q *Queue) write(ctx context.Context, w *link, reqs []request) []answer {
	if !q.svc.cfg.GroupCommit || len(reqs) == 0 || !q.space.usage.roomy() {
		return w.Exchange(ctx, reqs, answerTimeout)
	}
	return q.commits.Write(ctx, q.svc.run, w.Wire, reqs)
}
