package wire

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrSequence is the refusal of a write that expected another state of the stream.
var ErrSequence = errors.New("somebody else wrote first")

// QuotaError is the refusal of a write for which the account has no room.
type QuotaError struct{ text string }

func (e *QuotaError) Error() string { return e.text }

// NoResponders reports that nothing serves the subject: the stream is gone, or
// JetStream is down.
func NoResponders(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }

// apiError is the error in an answer of JetStream.
type apiError struct {
	Code    int    `json:"err_code"`
	Message string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// Stored reads the answer to a publish: the sequence under which it was stored, and
// whether it had been stored before under the same message id. Errors: ErrSequence and
// a *QuotaError mean that it was not stored; after any other nobody knows.
func (a Answer) Stored() (seq uint64, duplicate bool, err error) {
	switch {
	case a.Err != nil:
		return 0, false, a.Err
	case a.Seq > 0:
		return a.Seq, false, nil
	case NoResponders(a.Msg):
		return 0, false, nats.ErrNoResponders
	}
	var ack struct {
		Seq       uint64    `json:"seq"`
		Duplicate bool      `json:"duplicate"`
		Error     *apiError `json:"error"`
	}
	if err := json.Unmarshal(a.Msg.Data, &ack); err != nil {
		return 0, false, err
	}
	switch {
	case ack.Error == nil && ack.Seq > 0:
		return ack.Seq, ack.Duplicate, nil
	case ack.Error == nil:
		return 0, false, fmt.Errorf("answer without a sequence: %.100s", a.Msg.Data)
	case sequenceCode(ack.Error.Code):
		return 0, false, ErrSequence
	case quotaCode(ack.Error.Code):
		return 0, false, &QuotaError{ack.Error.Error()}
	default:
		return 0, false, ack.Error
	}
}

// Done reads the answer to an acknowledgement.
func (a Answer) Done() error {
	if a.Err == nil && NoResponders(a.Msg) {
		return nats.ErrNoResponders
	}
	return a.Err
}

// Removed reads the answer to the removal of a message. One that is not there, maybe
// with its whole stream, is as good as removed.
func (a Answer) Removed() error {
	const noMessage, noSequence, noStream = 10037, 10057, 10059
	if err := a.Done(); err != nil {
		return err
	}
	var r struct {
		Success bool      `json:"success"`
		Error   *apiError `json:"error"`
	}
	if err := json.Unmarshal(a.Msg.Data, &r); err != nil {
		return err
	}
	switch {
	case r.Success, r.Error != nil && (r.Error.Code == noMessage || r.Error.Code == noSequence || r.Error.Code == noStream):
		return nil
	case r.Error != nil:
		return r.Error
	default:
		return fmt.Errorf("answer without success: %.100s", a.Msg.Data)
	}
}

// LostRace reports whether a compare-and-set write was refused because somebody else
// wrote first.
func LostRace(err error) bool {
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, ErrSequence) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && sequenceCode(int(api.ErrorCode))
}

// OverQuota reports whether JetStream refused because the account's limit is reached.
func OverQuota(err error) bool {
	if _, ok := errors.AsType[*QuotaError](err); ok {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && quotaCode(int(api.ErrorCode))
}

// sequenceCode names the errors of a write that expected another state: wrong last
// sequence, another write to the subject in progress.
func sequenceCode(code int) bool { return code == 10071 || code == 10164 }

// quotaCode names the errors of an account at its limit: resource limits exceeded, no
// storage for the stream, too many streams, too many consumers.
func quotaCode(code int) bool {
	return code == 10002 || code == 10047 || code == 10027 || code == 10026
}
