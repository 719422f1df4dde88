package topic

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/openmnq/mnq"
)

// EgressConfig says where HTTP deliveries may go. The zero value lets them reach
// public addresses only, on the ports 80, 443 and those from 1024.
type EgressConfig struct {
	// Allow opens ranges that are refused otherwise: private networks of the operator's.
	Allow []netip.Prefix
	// Loopback opens 127.0.0.0/8 and ::1, for development.
	Loopback bool
	// Ports below 1024 that are open besides 80 and 443.
	Ports []uint16
	// Own returns the addresses that this process listens on. They are never
	// dialled, whatever Allow and Loopback say; an unspecified address stands for
	// every address of this machine. nil: none.
	Own func() []netip.AddrPort

	// For tests: names, and connections without sockets.
	resolver *net.Resolver
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

// The bounds of one request. A slow endpoint costs its subscription time, and the
// process never more than this.
const (
	dialTimeout    = 5 * time.Second
	tlsTimeout     = 5 * time.Second
	requestTimeout = 15 * time.Second
	lookupTimeout  = 5 * time.Second

	maxAnswerHeader = 64 << 10
	maxAnswerBody   = 64 << 10
	maxDrain        = time.Second // for reading an answer's body, whose status has decided already
	maxEndpoint     = 2048        // bytes of an endpoint's URL
)

// egress is the way out: the one HTTP client of all deliveries and confirmations.
// What it dials is checked at the moment of dialling, after the name was resolved,
// so an endpoint cannot be turned against the operator's network by a name that
// changes its address, a redirect or a proxy.
type egress struct {
	cfg       EgressConfig
	client    *http.Client
	transport *http.Transport
}

func newEgress(cfg EgressConfig) *egress {
	e := &egress{cfg: cfg}
	dial := cfg.dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, Resolver: cfg.resolver, Control: e.control}).DialContext
	}
	e.transport = &http.Transport{
		Proxy:                  nil, // a proxy would dial for us, unchecked
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    tlsTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // an answer is never unpacked
		MaxResponseHeaderBytes: maxAnswerHeader,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    2 * endpointSlots,
		IdleConnTimeout:        time.Minute,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: requestTimeout, PingTimeout: tlsTimeout},
	}
	e.client = &http.Client{
		Transport: e.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	return e
}

// stop closes idle connections.
func (e *egress) stop() { e.transport.CloseIdleConnections() }

// refused are the ranges that are not dialled: what is not a public unicast address.
var refused = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
	"::/96",           // unspecified, loopback and the old form of IPv4 in IPv6
	"64:ff9b:1::/48",  // NAT64 within a network
	"100::/64",        // discarded
	"2001::/32",       // Teredo, which hides an IPv4 address
	"fc00::/7",        // unique local, with AWS's metadata address
	"fe80::/10",       // link-local
	"fec0::/10",       // site-local
	"ff00::/8",        // multicast
	"::ffff:0:0:0/96", // SIIT, which holds an IPv4 address
)

var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
	sixToV4 = netip.MustParsePrefix("2002::/16")
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// errRefused is the answer to an address that must not be dialled.
var errRefused = errors.New("the address is not open to deliveries")

// control is called with each address that is about to be dialled.
func (e *egress) control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return errRefused
	}
	return e.check(a)
}

// check decides about an address and port. An IPv6 address that stands for an
// IPv4 one is judged as that one too.
func (e *egress) check(a netip.AddrPort) error {
	addr := a.Addr().Unmap()
	if addr.Zone() != "" || !e.portOpen(a.Port()) {
		return errRefused
	}
	for _, addr := range [...]netip.Addr{addr, standsFor(addr)} {
		if !e.addressOpen(addr) || e.own(netip.AddrPortFrom(addr, a.Port())) {
			return errRefused
		}
	}
	return nil
}

func (e *egress) addressOpen(a netip.Addr) bool {
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	return !slices.ContainsFunc(refused, in) || slices.ContainsFunc(e.cfg.Allow, in) || e.cfg.Loopback && a.IsLoopback()
}

// standsFor returns the IPv4 address within a NAT64 or 6to4 address, else a.
func standsFor(a netip.Addr) netip.Addr {
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToV4.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}

func (e *egress) portOpen(port uint16) bool {
	return port == 80 || port == 443 || port >= 1024 || slices.Contains(e.cfg.Ports, port)
}

// own reports whether a is where this process itself listens.
func (e *egress) own(a netip.AddrPort) bool {
	if e.cfg.Own == nil {
		return false
	}
	for _, l := range e.cfg.Own() {
		if l.Port() != a.Port() {
			continue
		}
		if addr := l.Addr().Unmap(); addr == a.Addr() || addr.IsUnspecified() && ofThisMachine(a.Addr()) {
			return true
		}
	}
	return false
}

func ofThisMachine(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return true // who cannot tell does not dial
	}
	for _, i := range list {
		if p, err := netip.ParsePrefix(i.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}

func invalidEndpoint(reason string) error {
	return &mnq.Error{
		Kind: mnq.Invalid, Code: "InvalidParameter", Op: "topic.Subscribe", Field: "Endpoint",
		Msg: "Invalid parameter: Endpoint Reason: " + reason,
	}
}

// parseEndpoint checks the form of an endpoint of the protocol http, https or
// lambda. Errors: kind Invalid, code InvalidParameter.
func (e *egress) parseEndpoint(protocol, endpoint string) (*url.URL, error) {
	if len(endpoint) > maxEndpoint {
		return nil, invalidEndpoint("the URL is longer than " + strconv.Itoa(maxEndpoint) + " bytes")
	}
	u, err := url.Parse(endpoint) // its error quotes the URL, which may hold a password
	switch {
	case err != nil || u.Opaque != "" || u.Host == "":
		return nil, invalidEndpoint("not a URL such as https://example.com/path")
	case u.Scheme != "http" && u.Scheme != "https", protocol != "lambda" && u.Scheme != protocol:
		return nil, invalidEndpoint("the URL must begin with " + schemes(protocol))
	case u.Fragment != "":
		return nil, invalidEndpoint("a URL with a fragment (#) cannot be called")
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil && !validHost(host) {
		return nil, invalidEndpoint("the host must be a name in ASCII (xn--… for others) or an IP address in its usual form")
	}
	port, err := portOf(u)
	switch {
	case err != nil:
		return nil, invalidEndpoint("the port must be a number from 1 to 65535")
	case !e.portOpen(port):
		return nil, invalidEndpoint("port " + strconv.Itoa(int(port)) + " is not open to deliveries; use 80, 443 or one from 1024")
	}
	return u, nil
}

func schemes(protocol string) string {
	if protocol == "lambda" {
		return "http:// or https://"
	}
	return protocol + "://"
}

// validHost accepts names of letters, digits, hyphens and underscores. A last
// label that begins with a digit is refused: resolvers take 127.1 and 0x7f.1 for
// addresses.
func validHost(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 253 {
		return false
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.ContainsFunc(l, notInName) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return last[0] < '0' || last[0] > '9'
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

func portOf(u *url.URL) (uint16, error) {
	text := u.Port()
	if text == "" {
		if u.Scheme == "https" {
			return 443, nil
		}
		return 80, nil
	}
	p, err := strconv.ParseUint(text, 10, 16)
	if err == nil && p == 0 {
		err = strconv.ErrRange
	}
	return uint16(p), err
}

// target is a checked endpoint.
type target struct {
	url   *url.URL
	host  string       // and port: what limits are kept for
	addrs []netip.Addr // what the name resolved to, none when that is not known now
}

// checkEndpoint decides whether an endpoint may be subscribed: its form, and that
// it resolves to open addresses only. A name that cannot be resolved for the
// moment is accepted, because the address is checked at each connect anyway. The
// errors are of the codes InvalidParameter and AuthorizationError; a name that
// does not exist gets the same as one with an internal address, so that the
// answer tells nothing about the operator's network.
func (e *egress) checkEndpoint(ctx context.Context, protocol, endpoint string) (target, error) {
	u, err := e.parseEndpoint(protocol, endpoint)
	if err != nil {
		return target{}, err
	}
	port, _ := portOf(u)
	t := target{url: u, host: strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") + ":" + strconv.Itoa(int(port))}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		t.addrs = []netip.Addr{a}
	} else {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		t.addrs, err = e.cfg.resolver.LookupNetIP(ctx, "ip", u.Hostname())
		if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
			return target{}, errNotOpen
		}
	}
	for _, a := range t.addrs {
		if e.check(netip.AddrPortFrom(a, port)) != nil {
			return target{}, errNotOpen
		}
	}
	return t, nil
}

var errNotOpen = &mnq.Error{
	Kind: mnq.Denied, Code: "AuthorizationError", Op: "topic.Subscribe", Field: "Endpoint",
	Msg:  "Endpoint: the host does not have a public address that this service delivers to. The operator can open further address ranges.",
	Hint: "--egress-allow",
}

// class says in one word how an attempt ended. It is all that a tenant learns
// about a failure: neither addresses nor answers.
type class string

const (
	classHTTP       class = "http" // with a status
	classTimeout    class = "timeout"
	classDNS        class = "dns"
	classRefused    class = "address_refused"
	classTLS        class = "tls"
	classConnection class = "connection"
)

// result is how one attempt ended. status is 0 unless class is classHTTP.
type result struct {
	class  class
	status int
}

// post sends one request and returns how it ended, at the latest after
// requestTimeout. The status decides as soon as it is there; of the body a little
// is read, so that the connection can be used again, and thrown away.
func (e *egress) post(ctx context.Context, endpoint string, header http.Header, body []byte) result {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return result{class: classConnection}
	}
	req.Header = header
	// Sent once more when a kept connection turns out to be closed; the header itself is not sent.
	req.Header["Idempotency-Key"] = nil
	resp, err := e.client.Do(req)
	if err != nil {
		return result{class: classify(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	defer time.AfterFunc(maxDrain, cancel).Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswerBody)
	return result{class: classHTTP, status: resp.StatusCode}
}

// classify reduces an error of the client to its class.
func classify(err error) class {
	var (
		network net.Error
		invalid *tls.CertificateVerificationError
		alert   tls.AlertError
		record  tls.RecordHeaderError
	)
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return classDNS
	}
	switch {
	case errors.Is(err, errRefused):
		return classRefused
	case errors.As(err, &invalid), errors.As(err, &alert), errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return classTLS
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return classTimeout
	}
	return classConnection
}
