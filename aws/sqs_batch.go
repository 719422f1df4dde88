package aws

import (
	"fmt"
	"strings"

	"github.com/openmnq/mnq"
)

const (
	maxBatch      = 10
	maxBatchID    = 80
	maxBatchBytes = 1 << 20
)

// checkBatch refuses a batch as a whole. element is what SQS calls one entry.
func checkBatch(element string, ids []string) error {
	switch n := len(ids); {
	case n == 0:
		return invalid("EmptyBatchRequest", "There should be at least one "+element+" in the request.")
	case n > maxBatch:
		return invalid("TooManyEntriesInBatchRequest", fmt.Sprintf("Maximum number of entries per request are 10. You have sent %d.", n))
	}
	for _, id := range ids {
		if !validBatchID(id) {
			return invalid("InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "+
				"It can be at most 80 letters long.")
		}
	}
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			return invalid("BatchEntryIdsNotDistinct", "Id "+id+" repeated.")
		}
		seen[id] = true
	}
	return nil
}

func validBatchID(id string) bool {
	for i := range len(id) {
		if c := id[i]; c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return id != "" && len(id) <= maxBatchID
}

// ids returns the Ids of a batch's entries.
func ids[E any](entries []E, id func(*E) string) []string {
	out := make([]string, 0, len(entries))
	for i := range entries {
		out = append(out, id(&entries[i]))
	}
	return out
}

// wholeFailure returns the error that fails a batch as a whole because it was not
// about a single entry: the queue or topic is gone, or nothing of it could be done
// for a fault of ours, so that clients try the whole call again.
func wholeFailure(s mnq.Service, errs []error) error {
	ours := 0
	for _, err := range errs {
		if err == nil {
			continue
		}
		f := failureOf(s, err)
		if f.name == "QueueDoesNotExist" || f.name == "NotFound" {
			return err
		}
		if f.receiver() {
			ours++
		}
	}
	if ours > 0 && ours == len(errs) {
		return errs[0]
	}
	return nil
}

// entryFailure renders the failure of one entry.
func entryFailure(s mnq.Service, id string, err error) batchResultError {
	f := failureOf(s, err)
	msg := f.msg
	if rest, ok := strings.CutPrefix(msg, "One or more parameters are invalid."); ok {
		msg = "One or more parameters cannot be validated." + rest
	}
	return batchResultError{Id: id, SenderFault: !f.receiver() && mnq.KindOf(err) != mnq.Throttled, Code: f.code, Message: msg}
}
