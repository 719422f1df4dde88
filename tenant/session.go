package tenant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

// Sessions of the console are in a bucket of their own, whose entries end by
// themselves, so that any process takes a session that another began. Each identity has
// a fixed number of places for them: however often somebody signs in, the bucket does
// not grow.

const (
	sessionBucket = "mnq_sessions"

	// SessionTime is for how long a session is good.
	SessionTime = 12 * time.Hour

	sessionPlaces = 16 // of one identity; with all of them taken the oldest session ends
	sessionName   = 16 // bytes of a token that name the identity, by a hash
	sessionSecret = 32 // bytes of it that nobody else knows
)

// Session is somebody who has signed in to the console.
type Session struct {
	Identity mnq.Identity // what they may do now, not when they signed in
	CSRF     string       // what every form has to carry
	Began    time.Time
}

// sessionRecord is a session as it is stored, sealed.
type sessionRecord struct {
	Actor string    `json:"actor"`
	Hash  []byte    `json:"hash"` // SHA-256 of the token's secret
	CSRF  string    `json:"csrf"`
	Began time.Time `json:"began"`
}

func (r *sessionRecord) over(t time.Time) bool { return t.Sub(r.Began) >= SessionTime }

// sessions is the bucket, which is made when it is first needed.
type sessions struct {
	mu sync.Mutex
	kv *node.Bucket
}

func (d *Directory) sessionBucket(ctx context.Context) (*node.Bucket, error) {
	d.sessions.mu.Lock()
	defer d.sessions.mu.Unlock()
	if d.sessions.kv == nil {
		kv, err := node.OpenBucket(ctx, d.cfg.Node.Control(), node.BucketConfig{
			Name: sessionBucket, Description: "OpenMNQ console sessions", Replicas: d.cfg.Node.Replicas(), TTL: SessionTime,
		})
		if err != nil {
			return nil, unavailable("tenant.sessions", "open the sessions", err)
		}
		d.sessions.kv = kv
	}
	return d.sessions.kv, nil
}

func sessionOwner(actor string) []byte {
	sum := sha256.Sum256([]byte(actor))
	return sum[:sessionName]
}

func sessionKey(owner []byte, place byte) string {
	return fmt.Sprintf("%s.%d", hex.EncodeToString(owner), place)
}

// OpenSession begins a session of an identity that has just been authenticated, and
// returns the token that stands for it.
func (d *Directory) OpenSession(ctx context.Context, id mnq.Identity) (token mnq.Secret, err error) {
	if _, _, err := d.identify(id.AccessKey); err != nil {
		return "", err
	}
	kv, err := d.sessionBucket(ctx)
	if err != nil {
		return "", err
	}
	owner := sessionOwner(id.AccessKey)
	place, err := d.freePlace(ctx, kv, owner)
	if err != nil {
		return "", err
	}
	secret := make([]byte, sessionSecret)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the process instead
	hash := sha256.Sum256(secret)
	raw, err := json.Marshal(sessionRecord{Actor: id.AccessKey, Hash: hash[:], CSRF: rand.Text(), Began: time.Now().UTC()})
	if err != nil {
		return "", err
	}
	key := sessionKey(owner, place)
	if _, err := kv.Put(ctx, key, d.sealer.Seal("session", key, raw)); err != nil {
		return "", unavailable("tenant.OpenSession", "session", err)
	}
	whole := append(append(append([]byte{}, owner...), place), secret...)
	return mnq.Secret(base64.RawURLEncoding.EncodeToString(whole)), nil
}

// freePlace is one that is empty, or else the one of the oldest session.
func (d *Directory) freePlace(ctx context.Context, kv *node.Bucket, owner []byte) (byte, error) {
	var oldest byte
	var began time.Time
	for place := range byte(sessionPlaces) {
		r, err := d.readSession(ctx, kv, sessionKey(owner, place))
		switch {
		case errors.Is(err, errNoSession):
			return place, nil
		case err != nil:
			return 0, err
		case r.over(time.Now()):
			return place, nil
		case began.IsZero() || r.Began.Before(began):
			oldest, began = place, r.Began
		}
	}
	return oldest, nil
}

var errNoSession = &mnq.Error{Kind: mnq.Unauthenticated, Op: "tenant.Session", Msg: "the session is over: sign in again"}

func (d *Directory) readSession(ctx context.Context, kv *node.Bucket, key string) (*sessionRecord, error) {
	e, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, errNoSession
	}
	if err != nil {
		return nil, unavailable("tenant.Session", "session", err)
	}
	raw, err := d.sealer.Open("session", key, e.Value())
	if err != nil {
		return nil, errNoSession
	}
	r := &sessionRecord{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, errNoSession
	}
	return r, nil
}

// find returns the session that a token stands for, and where it is.
func (d *Directory) findSession(ctx context.Context, token mnq.Secret) (*sessionRecord, string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(token.Reveal())
	if err != nil || len(raw) != sessionName+1+sessionSecret || raw[sessionName] >= sessionPlaces {
		return nil, "", errNoSession
	}
	kv, err := d.sessionBucket(ctx)
	if err != nil {
		return nil, "", err
	}
	key := sessionKey(raw[:sessionName], raw[sessionName])
	r, err := d.readSession(ctx, kv, key)
	if err != nil {
		return nil, "", err
	}
	hash := sha256.Sum256(raw[sessionName+1:])
	if subtle.ConstantTimeCompare(hash[:], r.Hash) != 1 || r.over(time.Now()) {
		return nil, "", errNoSession
	}
	return r, key, nil
}

// Session returns the session that a token stands for, in whichever process it began.
// Over, or its API key, user or password is not what it was: kind Unauthenticated.
func (d *Directory) Session(ctx context.Context, token mnq.Secret) (Session, error) {
	r, _, err := d.findSession(ctx, token)
	if err != nil {
		return Session{}, err
	}
	id, since, err := d.identify(r.Actor)
	if err != nil || r.Began.Before(since) {
		return Session{}, errNoSession
	}
	return Session{Identity: id, CSRF: r.CSRF, Began: r.Began}, nil
}

// CloseSession ends a session for all processes. One that is over already is no error.
func (d *Directory) CloseSession(ctx context.Context, token mnq.Secret) error {
	_, key, err := d.findSession(ctx, token)
	if err != nil {
		if mnq.KindOf(err) == mnq.Unauthenticated {
			return nil
		}
		return err
	}
	kv, err := d.sessionBucket(ctx)
	if err != nil {
		return err
	}
	if _, err := kv.Remove(ctx, key, node.Purge{TTL: SessionTime}); err != nil {
		return unavailable("tenant.CloseSession", "session", err)
	}
	return nil
}
