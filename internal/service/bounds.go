package service

import (
	"cmp"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// The limits that a front door can find reached, as metrics name them.
const (
	LimitInFlight       = "in_flight"
	LimitBodies         = "bodies"
	LimitCredentialRate = "credential_rate" //nolint:gosec // a name, no secret
	LimitNamespaceRate  = "namespace_rate"
	LimitAuthFailures   = "auth_failures"
)

// smallestCountedBody is what the body of every request may take up, whatever the
// budget: most are shorter.
const smallestCountedBody = 4 << 10

// maxRates bounds how many credentials, namespaces or addresses are remembered. What
// is forgotten begins anew, so it costs strictness and never memory.
const maxRates = 1 << 16

// BoundsConfig says what a process takes on. Zero is no limit, except where it says
// otherwise.
type BoundsConfig struct {
	InFlight       int   // requests worked on at a time; long polls that wait do not count
	BodyBytes      int64 // memory for the bodies of requests
	CredentialRate int   // requests a second of each credential; twice as many may come at once
	NamespaceRate  int   // requests a second of each namespace
	AuthFailures   int   // refused identities a second from one address; ten times as many may come at once
}

// Bounds decides what is turned away before it costs anything, so that the memory
// that requests take up does not depend on how many are sent. A nil Bounds has no
// limits. It is safe for concurrent use.
type Bounds struct {
	cfg        BoundsConfig
	inFlight   atomic.Int64
	bodies     atomic.Int64
	credential *rates
	namespace  *rates
	failures   *rates
}

// NewBounds returns what keeps to cfg.
func NewBounds(cfg BoundsConfig) *Bounds {
	return &Bounds{
		cfg: cfg, credential: newRates(cfg.CredentialRate, 2*cfg.CredentialRate), namespace: newRates(cfg.NamespaceRate, 2*cfg.NamespaceRate),
		failures: newRates(cfg.AuthFailures, 10*cfg.AuthFailures),
	}
}

// Enter counts a request as being worked on until leave is called, which may be done
// twice. ok is false, and leave nil, when there are too many.
func (b *Bounds) Enter() (leave func(), ok bool) {
	if b == nil || b.cfg.InFlight == 0 {
		return func() {}, true
	}
	return take(&b.inFlight, 1, int64(b.cfg.InFlight))
}

// Body sets memory aside for a body of that many bytes until free is called, which may
// be done twice. ok is false, and free nil, when there is not enough.
func (b *Bounds) Body(bytes int64) (free func(), ok bool) {
	if b == nil || b.cfg.BodyBytes == 0 || bytes <= smallestCountedBody {
		return func() {}, true
	}
	return take(&b.bodies, bytes, b.cfg.BodyBytes)
}

func take(used *atomic.Int64, n, limit int64) (giveBack func(), ok bool) {
	if used.Add(n) > limit {
		used.Add(-n)
		return nil, false
	}
	return sync.OnceFunc(func() { used.Add(-n) }), true
}

// InFlight is how many requests are being worked on.
func (b *Bounds) InFlight() int64 { return b.inFlight.Load() }

// Reached counts a request of a credential, and of the namespace it opens if any, and
// returns which of the two rates it is beyond; "" is neither.
func (b *Bounds) Reached(credential, namespace string) string {
	switch {
	case b == nil:
		return ""
	case !b.credential.allow(credential):
		return LimitCredentialRate
	case namespace != "" && !b.namespace.allow(namespace):
		return LimitNamespaceRate
	default:
		return ""
	}
}

// Failing reports whether what who stands for (an address, or an address with an
// access key) was refused so often of late that it is not worth looking at what it
// sends.
func (b *Bounds) Failing(who string) bool { return b != nil && b.failures.spent(who) }

// Failed notes that who could not prove an identity.
func (b *Bounds) Failed(who string) {
	if b != nil {
		b.failures.allow(who)
	}
}

// rates are token buckets by name. nil allows everything.
type rates struct {
	perSecond rate.Limit
	burst     int

	mu     sync.Mutex
	byName map[string]*rate.Limiter
}

func newRates(perSecond, burst int) *rates {
	if perSecond <= 0 {
		return nil
	}
	return &rates{perSecond: rate.Limit(perSecond), burst: burst, byName: map[string]*rate.Limiter{}}
}

func (r *rates) allow(name string) bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.byName[name]
	if l == nil {
		r.makeRoom()
		l = rate.NewLimiter(r.perSecond, r.burst)
		r.byName[name] = l
	}
	return l.Allow()
}

// spent reports whether allow would refuse, without counting.
func (r *rates) spent(name string) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.byName[name]
	return l != nil && l.Tokens() < 1
}

// makeRoom forgets a few that have all their tokens, which makes no difference, or
// else whichever comes first. The caller holds r.mu.
func (r *rates) makeRoom() {
	if len(r.byName) < maxRates {
		return
	}
	looked, victim := 0, ""
	for name, l := range r.byName {
		victim = cmp.Or(victim, name)
		if l.Tokens() >= float64(r.burst) {
			delete(r.byName, name)
		}
		if looked++; looked == 16 {
			break
		}
	}
	if len(r.byName) >= maxRates {
		delete(r.byName, victim)
	}
}
