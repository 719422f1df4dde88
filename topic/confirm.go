package topic

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// tokenLife is how long a confirmation token opens what it was made for. A pending
// subscription ends with its token, and so does a removed one.
const tokenLife = 48 * time.Hour

// A token is 144 bytes in hexadecimal, as long and with the same beginning as SNS's:
//
//	51b2ff3e id(16) number(4) expiry-seconds(8) HMAC-SHA-256…(112)
//
// The number is the one in the subscription's definition. It changes with the state,
// so what was sent earlier does not open a later one.
const (
	tokenBytes  = 144
	tokenFields = 4 + 16 + 4 + 8
)

var tokenPrefix = [4]byte{0x51, 0xb2, 0xff, 0x3e}

// token makes the confirmation token of a subscription.
func (s *Service) token(r *subscriptionRecord) string {
	id, err := uuid.Parse(r.ID)
	if err != nil {
		return ""
	}
	b := make([]byte, 0, tokenBytes)
	b = append(b, tokenPrefix[:]...)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Token))                                               //nolint:gosec // a small count
	b = binary.BigEndian.AppendUint64(b, uint64(r.Changed.Add(tokenLife).Truncate(time.Second).Unix())) //nolint:gosec // after 1970
	return hex.EncodeToString(append(b, s.tokenProof(b)...))
}

func (s *Service) tokenProof(fields []byte) []byte {
	key := deriveKey(s.cfg.Key, "confirmation tokens")
	mac := hmac.New(sha256.New, key[:])
	mac.Write(fields)
	proof, err := hkdf.Expand(sha256.New, mac.Sum(nil), "token", tokenBytes-tokenFields)
	if err != nil {
		panic(err) // the length is a constant
	}
	return proof
}

// readToken reads a token. ok is false for what is none.
func (s *Service) readToken(token string) (id string, number int, expires time.Time, ok bool) {
	b, err := hex.DecodeString(token)
	if err != nil || len(b) != tokenBytes || [4]byte(b[:4]) != tokenPrefix {
		return "", 0, time.Time{}, false
	}
	if !hmac.Equal(b[tokenFields:], s.tokenProof(b[:tokenFields])) {
		return "", 0, time.Time{}, true
	}
	number = int(binary.BigEndian.Uint32(b[20:24]))
	expires = time.Unix(int64(binary.BigEndian.Uint64(b[24:32])), 0) //nolint:gosec // written from an int64
	return uuid.UUID(b[4:20]).String(), number, expires, true
}

// Confirmation is what confirms a subscription.
type Confirmation struct {
	TopicARN                  string
	Token                     string
	AuthenticateOnUnsubscribe bool
	Authenticated             bool // by a signed call
}

// Confirm confirms a subscription of the namespace by the token that its endpoint was
// sent, or restores one that was removed. It may be repeated. Errors: Invalid
// (InvalidParameter), NotFound.
func (s *Service) Confirm(ctx context.Context, ns mnq.Namespace, c Confirmation) (Subscription, error) {
	c.Authenticated = true
	r, err := s.tokenHolder(ctx, c.Token)
	if err != nil {
		return Subscription{}, err
	}
	if r.namespaceID != ns.ID || s.arn(ns, r.Topic) != samePartition(c.TopicARN, s.cfg.Partition) {
		return Subscription{}, invalid("Token")
	}
	return s.confirm(ctx, ns, r, c)
}

// ConfirmLink is Confirm for who follows the link in a SubscriptionConfirmation. The
// token alone decides, but the ARN must be that of a topic in the same place.
func (s *Service) ConfirmLink(ctx context.Context, c Confirmation) (Subscription, error) {
	c.Authenticated = false
	arn := strings.Split(c.TopicARN, ":")
	if len(arn) != 6 || arn[2] != "sns" {
		return Subscription{}, invalid("Topic")
	}
	r, err := s.tokenHolder(ctx, c.Token)
	if err != nil {
		return Subscription{}, invalid("Token")
	}
	ns, err := s.cfg.Namespace(r.namespaceID)
	if err != nil {
		return Subscription{}, invalid("Token")
	}
	if arn[3] != ns.Region || arn[4] != ns.Account() {
		return Subscription{}, invalid("Topic")
	}
	return s.confirm(ctx, ns, r, c)
}

// samePartition replaces the partition of an ARN.
func samePartition(arn, partition string) string {
	t := strings.SplitN(arn, ":", 3)
	if len(t) < 3 {
		return arn
	}
	return t[0] + ":" + partition + ":" + t[2]
}

// tokenHolder returns the subscription that a token was made for.
func (s *Service) tokenHolder(ctx context.Context, token string) (*subscriptionRecord, error) {
	id, number, expires, ok := s.readToken(token)
	if !ok {
		return nil, &mnq.Error{Kind: mnq.Invalid, Code: "InvalidParameter", Op: "topic.Confirm", Field: "Token", Msg: "Invalid token"}
	}
	if id == "" || time.Now().After(expires) {
		return nil, invalid("Token")
	}
	r := s.subscriptionByID(id)
	if r == nil || r.Token != number { // another process may have made it a moment ago
		if err := s.defs.fresh(ctx); err != nil {
			return nil, unavailable("topic.Confirm", id, err)
		}
		r = s.subscriptionByID(id)
	}
	if r == nil || r.Token != number {
		return nil, invalid("Token")
	}
	return r, nil
}

func (s *Service) confirm(ctx context.Context, ns mnq.Namespace, r *subscriptionRecord, c Confirmation) (Subscription, error) {
	const op = "topic.Confirm"
	for range maxRaces {
		t := s.lookup(ns.ID, r.Topic)
		if t == nil || t.id != r.topicID || t.deleted() {
			return Subscription{}, missing(r.Topic)
		}
		if r.State == stateConfirmed {
			return s.shown(ns, r), nil
		}
		if err := t.ready(ctx); err != nil {
			return Subscription{}, err
		}
		from, err := t.lastSequence(ctx) // read before the confirmation is written
		if err != nil {
			return Subscription{}, err
		}
		err = s.rewrite(ctx, r, func(r *subscriptionRecord) error {
			r.State, r.From, r.Changed = stateConfirmed, from, time.Now().UTC()
			r.Authenticated, r.SignedUnsubscribes = c.Authenticated, c.AuthenticateOnUnsubscribe
			return nil
		})
		if err == nil {
			return s.shown(ns, s.subscriptionByID(r.ID)), nil
		}
		if !wire.LostRace(err) {
			return Subscription{}, err
		}
		if r, err = s.tokenHolder(ctx, c.Token); err != nil {
			return Subscription{}, err
		}
	}
	return Subscription{}, unavailable(op, r.ID, errBusy)
}

// Unsubscribe removes a subscription: nothing that is published afterwards is
// delivered to it. One that does not exist is as good as removed. An endpoint of
// protocol http or https is told, and can restore the subscription for two days.
func (s *Service) Unsubscribe(ctx context.Context, ns mnq.Namespace, topic, id string) error {
	return s.unsubscribe(ctx, ns, topic, id, nil)
}

// UnsubscribeLink is Unsubscribe for who follows the link in a notification. Denied
// (AuthorizationError) when the subscription was confirmed with
// AuthenticateOnUnsubscribe.
func (s *Service) UnsubscribeLink(ctx context.Context, subscriptionARN string) error {
	t := strings.Split(subscriptionARN, ":")
	if len(t) != 7 || t[2] != "sns" {
		return invalid("SubscriptionArn")
	}
	r := s.subscriptionByID(t[6])
	if r == nil && s.strangers.Allow() { // another process may have made it a moment ago
		if err := s.defs.fresh(ctx); err != nil {
			return unavailable("topic.Unsubscribe", clip(t[6]), err)
		}
		r = s.subscriptionByID(t[6])
	}
	if r == nil {
		return nil
	}
	ns, err := s.cfg.Namespace(r.namespaceID)
	if err != nil || s.shown(ns, r).ARN() != samePartition(subscriptionARN, s.cfg.Partition) {
		return nil //nolint:nilerr // as missing as one that never was
	}
	return s.unsubscribe(ctx, ns, r.Topic, r.ID, func(r *subscriptionRecord) error {
		if r.SignedUnsubscribes {
			return &mnq.Error{
				Kind: mnq.Denied, Code: "AuthorizationError", Op: "topic.Unsubscribe",
				Msg: "Unsubscribing needs a signed request: the subscription was confirmed with AuthenticateOnUnsubscribe.",
			}
		}
		return nil
	})
}

func (s *Service) unsubscribe(ctx context.Context, ns mnq.Namespace, topic, id string, may func(*subscriptionRecord) error) error {
	const op = "topic.Unsubscribe"
	for try := range maxRaces {
		t, r, err := s.find(ctx, ns, topic, id)
		switch {
		case mnq.IsNotFound(err) && try == 0: // another process may have made it a moment ago
			if err := s.defs.fresh(ctx); err != nil {
				return unavailable(op, clip(id), err)
			}
			continue
		case mnq.IsNotFound(err):
			return nil
		case err != nil:
			return err
		case r.State == statePending:
			return invalid("SubscriptionArn Reason: the subscription is not confirmed yet")
		}
		if may != nil {
			if err := may(r); err != nil {
				return err
			}
		}
		if err = s.removeSubscription(ctx, r); err == nil {
			if r.Protocol == protoHTTP || r.Protocol == protoHTTPS {
				s.tellUnsubscribed(ctx, t, s.subscriptionByID(id))
			}
			return nil
		}
		if !wire.LostRace(err) {
			return err
		}
		if err := s.defs.fresh(ctx); err != nil {
			return unavailable(op, id, err)
		}
	}
	return unavailable(op, id, errBusy)
}

// removeSubscription takes a subscription out of use: for good, or so that its endpoint
// can restore it.
func (s *Service) removeSubscription(ctx context.Context, r *subscriptionRecord) error {
	if r.Protocol != protoHTTP && r.Protocol != protoHTTPS {
		return s.stored("topic.Unsubscribe", r.ID, s.defs.remove(ctx, r.key, r.revision))
	}
	return s.rewrite(ctx, r, func(r *subscriptionRecord) error {
		r.State, r.Changed = stateRemoved, time.Now().UTC()
		r.Token++
		return nil
	})
}
