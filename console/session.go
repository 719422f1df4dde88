package console

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/tenant"
)

const (
	sessionCookie = "mnq_session"
	noticeCookie  = "mnq_notice"
	themeCookie   = "mnq_theme"
	placeCookie   = "mnq_place" // the namespace that was looked at last
)

// session is who is signed in.
type session struct {
	who   tenant.Session
	token mnq.Secret
}

func (s *session) ownForm(csrf string) bool {
	return s.who.CSRF != "" && subtle.ConstantTimeCompare([]byte(csrf), []byte(s.who.CSRF)) == 1
}

// signedIn finds the session of the request.
func (p *page) signedIn() error {
	cookie, err := p.r.Cookie(sessionCookie)
	if err != nil || cookie.Value == "" {
		return errSignIn
	}
	token := mnq.Secret(cookie.Value)
	who, err := p.c.cfg.Directory.Session(p.r.Context(), token)
	if mnq.KindOf(err) == mnq.Unauthenticated && err != nil {
		p.setCookie(sessionCookie, "", -1)
		return errSignIn
	}
	if err != nil {
		return err
	}
	p.session = &session{who, token}
	return nil
}

// setCookie sets a cookie of the console; seconds < 0 removes it.
func (p *page) setCookie(name, value string, seconds int) {
	http.SetCookie(p.w, &http.Cookie{ //nolint:gosec // Secure wherever the browser came over TLS
		Name: name, Value: value, Path: Prefix, MaxAge: seconds,
		HttpOnly: true, Secure: p.overTLS(), SameSite: http.SameSiteStrictMode,
	})
}

// overTLS reports whether the browser came over TLS, to us or to a proxy before us.
func (p *page) overTLS() bool {
	return p.r.TLS != nil || strings.HasPrefix(p.c.cfg.PublicURL(), "https://")
}

// toSignIn sends the browser to the form, and back afterwards.
func (p *page) toSignIn() {
	to := Prefix + "/sign-in"
	if p.r.Method == http.MethodGet && p.r.URL.Path != Prefix+"/" {
		to += "?" + url.Values{"to": {p.r.URL.RequestURI()}}.Encode()
	}
	if p.r.Header.Get("Hx-Request") != "" {
		p.w.Header().Set("Hx-Redirect", to)
		p.w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.Redirect(p.w, p.r, to, http.StatusSeeOther)
}

// signIn is the form.
type signIn struct {
	To, Name string
	Failed   string
}

func (p *page) signInForm() error {
	return p.show("sign-in", "Sign in", signIn{To: p.r.URL.Query().Get("to")})
}

// signIn begins a session with an API key or with a user's password.
func (p *page) signIn() error {
	if err := p.readForm(); err != nil {
		return err
	}
	name, secret := strings.TrimSpace(p.r.PostFormValue("name")), mnq.Secret(strings.TrimSpace(p.r.PostFormValue("secret")))
	to := p.r.PostFormValue("to")
	id, err := p.authenticate(name, secret)
	if err != nil {
		p.status = http.StatusUnauthorized
		failed := "There is no such user or API key, or the secret is another one."
		if mnq.KindOf(err) != mnq.Unauthenticated {
			bad := p.problem(err)
			p.status, failed = bad.Status, bad.Line()
		}
		if mnq.KindOf(err) == mnq.Throttled {
			p.status = http.StatusTooManyRequests
			p.w.Header().Set("Retry-After", "60")
		}
		return p.show("sign-in", "Sign in", signIn{To: to, Name: name, Failed: failed})
	}
	token, err := p.c.cfg.Directory.OpenSession(p.r.Context(), id)
	if err != nil {
		return err
	}
	p.setCookie(sessionCookie, token.Reveal(), int(tenant.SessionTime/time.Second))
	return p.redirectTo(ownPath(to))
}

// authenticate checks what was given, and the audit log says how it went.
func (p *page) authenticate(name string, secret mnq.Secret) (id mnq.Identity, err error) {
	if name == "" || secret == "" || len(name) > 128 || len(secret) > 512 {
		return id, &mnq.Error{Kind: mnq.Unauthenticated, Op: "console.signIn", Msg: "a name and a secret are needed"}
	}
	host := service.ClientAddress(p.r)
	if !p.c.tries.allow(time.Now(), name, host) {
		if info := service.RequestOf(p.r.Context()); info != nil {
			info.Throttled = "sign_in"
		}
		return id, &mnq.Error{Kind: mnq.Throttled, Op: "console.signIn", Msg: "Too many attempts. Wait a minute and try again."}
	}
	isKey := strings.HasPrefix(name, "SCW") && uuid.Validate(secret.Reveal()) == nil
	actor := name
	if !isKey {
		actor = tenant.ActorUser + name
	}
	record := tenant.AuditRecord{
		Actor: actor, Role: "full", Action: "console.SignIn", Resource: Prefix, Address: host, Agent: p.r.UserAgent(),
		RequestID: p.requestID(), Via: "console",
	}
	err = p.c.cfg.Directory.AuditLook(p.r.Context(), record, func() error {
		if !isKey {
			id, err = p.c.cfg.Directory.AuthenticateUser(name, secret)
			return err
		}
		id, err = p.c.cfg.Directory.Authenticate(strings.ToLower(secret.Reveal()))
		if err == nil && id.AccessKey != name {
			err = &mnq.Error{Kind: mnq.Unauthenticated, Op: "console.signIn", Msg: "the secret is of another key"}
		}
		return err
	})
	if mnq.KindOf(err) == mnq.Unauthenticated && err != nil {
		if info := service.RequestOf(p.r.Context()); info != nil {
			info.Refused = "sign_in"
		}
	}
	return id, err
}

func (p *page) signOut() error {
	if err := p.c.cfg.Directory.CloseSession(p.r.Context(), p.session.token); err != nil {
		return err
	}
	p.setCookie(sessionCookie, "", -1)
	http.Redirect(p.w, p.r, Prefix+"/sign-in", http.StatusSeeOther)
	return nil
}

// setTheme remembers light or dark, or what the system says.
func (p *page) setTheme() error {
	if err := p.readForm(); err != nil {
		return err
	}
	switch theme := p.r.PostFormValue("theme"); theme {
	case "light", "dark":
		p.setCookie(themeCookie, theme, 365*24*3600)
	default:
		p.setCookie(themeCookie, "", -1)
	}
	return p.redirectTo(ownPath(p.r.PostFormValue("to")))
}

// ownPath is to, if that is a page of the console, and otherwise the first one: a link
// must not lead elsewhere.
func ownPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, Prefix+"/") || strings.Contains(to, "\\") || path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") {
		return Prefix + "/"
	}
	return u.RequestURI()
}

// notice is what the next page says, once, about what has been done.
type notice struct {
	Text string `json:"t"`
	CLI  string `json:"c,omitempty"` // the command that does the same
}

const maxNotice = 1500 // bytes of a cookie

func (p *page) notify(text, cli string) {
	raw, err := json.Marshal(notice{text, cli})
	if err != nil || len(raw) > maxNotice {
		raw, _ = json.Marshal(notice{Text: text[:min(len(text), 300)]}) // two texts always encode
	}
	p.setCookie(noticeCookie, base64.RawURLEncoding.EncodeToString(raw), 60)
}

// noticed takes the notice from the request.
func (p *page) noticed() *notice {
	cookie, err := p.r.Cookie(noticeCookie)
	if err != nil {
		return nil
	}
	p.setCookie(noticeCookie, "", -1)
	raw, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	n := &notice{}
	if err != nil || json.Unmarshal(raw, n) != nil || n.Text == "" {
		return nil
	}
	return n
}

// readForm reads a form of bounded size.
func (p *page) readForm() error {
	err := p.r.ParseForm()
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		_ = large
		return &problem{Status: http.StatusRequestEntityTooLarge, Message: "What you sent is too large: the limit is 4 MiB."}
	}
	if err != nil {
		return &problem{Status: http.StatusBadRequest, Message: "The form cannot be read."}
	}
	return nil
}

// tries bounds how fast secrets can be guessed: by name, by address and in all.
type tries struct {
	mu   sync.Mutex
	each map[string]*rate.Limiter
	all  *rate.Limiter
}

const maxTries = 10_000 // names and addresses remembered

func newTries() *tries {
	return &tries{each: map[string]*rate.Limiter{}, all: rate.NewLimiter(20, 40)}
}

func (t *tries) allow(now time.Time, name, address string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ok := t.all.AllowN(now, 1)
	for _, key := range []string{"n" + name, "a" + address} {
		l := t.each[key]
		if l == nil {
			if len(t.each) >= maxTries {
				clear(t.each)
			}
			l = rate.NewLimiter(rate.Every(6*time.Second), 10)
			if key[0] == 'a' {
				l = rate.NewLimiter(1, 30)
			}
			t.each[key] = l
		}
		ok = l.AllowN(now, 1) && ok
	}
	return ok
}
