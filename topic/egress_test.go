package topic

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openmnq/mnq"
)

// names is a resolver of its own: for each name a function that tells its IPv4
// addresses, asked at each look-up. Other names do not exist.
func names(table map[string]func() []string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go answerDNS(server, table)
		return client, nil
	}}
}

// answerDNS answers questions as a name server does over TCP.
func answerDNS(c net.Conn, table map[string]func() []string) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		var labels []string
		i := 12
		for q[i] != 0 {
			labels = append(labels, string(q[i+1:i+1+int(q[i])]))
			i += 1 + int(q[i])
		}
		kind := binary.BigEndian.Uint16(q[i+1:])
		answers, rcode := [][]byte{}, byte(3)
		if of, ok := table[strings.ToLower(strings.Join(labels, "."))]; ok {
			rcode = 0
			for _, a := range of() {
				if kind == 1 { // A
					ip := netip.MustParseAddr(a).As4()
					answers = append(answers, append([]byte{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4}, ip[:]...))
				}
			}
		}
		out := append([]byte{q[0], q[1], 0x81, 0x80 | rcode, 0, 1, 0, byte(len(answers)), 0, 0, 0, 0}, q[12:i+5]...)
		for _, a := range answers {
			out = append(out, a...)
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

func always(addrs ...string) func() []string { return func() []string { return addrs } }

func TestAddressesThatAreDialled(t *testing.T) {
	t.Parallel()
	private := EgressConfig{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}}
	own := EgressConfig{Loopback: true, Own: func() []netip.AddrPort {
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9324"), netip.MustParseAddrPort("8.8.8.8:4222"), netip.MustParseAddrPort("[::]:8443")}
	}}
	for _, c := range []struct {
		address string
		cfg     EgressConfig
		open    bool
	}{
		{"8.8.8.8:443", EgressConfig{}, true},
		{"8.8.8.8:80", EgressConfig{}, true},
		{"8.8.8.8:1024", EgressConfig{}, true},
		{"8.8.8.8:25", EgressConfig{}, false},
		{"8.8.8.8:22", EgressConfig{}, false},
		{"8.8.8.8:22", EgressConfig{Ports: []uint16{22}}, true},
		{"[2606:4700::1111]:443", EgressConfig{}, true},
		{"[::ffff:8.8.8.8]:443", EgressConfig{}, true},
		{"[64:ff9b::8.8.8.8]:443", EgressConfig{}, true},
		{"[2002:808:808::1]:443", EgressConfig{}, true},

		{"127.0.0.1:8080", EgressConfig{}, false},
		{"127.255.255.254:8080", EgressConfig{}, false},
		{"0.0.0.0:8080", EgressConfig{}, false},
		{"0.1.2.3:8080", EgressConfig{}, false},
		{"10.0.0.1:8080", EgressConfig{}, false},
		{"100.64.0.1:80", EgressConfig{}, false},
		{"100.127.255.255:80", EgressConfig{}, false},
		{"100.128.0.0:80", EgressConfig{}, true},
		{"100.100.100.200:80", EgressConfig{}, false}, // Alibaba's metadata
		{"169.254.169.254:80", EgressConfig{}, false},
		{"169.254.42.42:80", EgressConfig{}, false}, // Scaleway's metadata
		{"172.15.255.255:80", EgressConfig{}, true},
		{"172.16.0.1:80", EgressConfig{}, false},
		{"172.31.255.255:80", EgressConfig{}, false},
		{"172.32.0.0:80", EgressConfig{}, true},
		{"192.0.0.192:80", EgressConfig{}, false}, // Oracle's metadata
		{"192.168.1.1:80", EgressConfig{}, false},
		{"198.18.0.1:80", EgressConfig{}, false},
		{"198.19.255.255:80", EgressConfig{}, false},
		{"224.0.0.1:80", EgressConfig{}, false},
		{"255.255.255.255:80", EgressConfig{}, false},
		{"[::]:80", EgressConfig{}, false},
		{"[::1]:80", EgressConfig{}, false},
		{"[::7f00:1]:80", EgressConfig{}, false},
		{"[::ffff:127.0.0.1]:80", EgressConfig{}, false},
		{"[::ffff:10.0.0.1]:80", EgressConfig{}, false},
		{"[::ffff:0:127.0.0.1]:80", EgressConfig{}, false},
		{"[64:ff9b::127.0.0.1]:80", EgressConfig{}, false},
		{"[64:ff9b::169.254.169.254]:80", EgressConfig{}, false},
		{"[64:ff9b:1::a00:1]:80", EgressConfig{}, false},
		{"[2002:7f00:1::]:80", EgressConfig{}, false},
		{"[2002:a9fe:a9fe::1]:80", EgressConfig{}, false},
		{"[2001:0:53aa:64c::1]:80", EgressConfig{}, false},
		{"[fc00::1]:80", EgressConfig{}, false},
		{"[fd00:ec2::254]:80", EgressConfig{}, false}, // AWS's metadata
		{"[fe80::1]:80", EgressConfig{}, false},
		{"[fe80::1%eth0]:80", EgressConfig{Loopback: true, Allow: []netip.Prefix{netip.MustParsePrefix("fe80::/10")}}, false},
		{"[fec0::1]:80", EgressConfig{}, false},
		{"[ff02::1]:80", EgressConfig{}, false},

		{"10.1.2.3:80", private, true},
		{"10.2.0.1:80", private, false},
		{"[::ffff:10.1.2.3]:80", private, true},
		{"[fd00:1::1]:80", private, true},
		{"[fd00:2::1]:80", private, false},
		{"127.0.0.1:80", private, false},

		{"127.0.0.1:80", EgressConfig{Loopback: true}, true},
		{"[::1]:80", EgressConfig{Loopback: true}, true},
		{"[::ffff:127.0.0.1]:80", EgressConfig{Loopback: true}, true},
		{"10.0.0.1:80", EgressConfig{Loopback: true}, false},
		{"0.0.0.0:80", EgressConfig{Loopback: true}, false},

		{"127.0.0.1:9324", own, false},
		{"[::ffff:127.0.0.1]:9324", own, false},
		{"127.0.0.1:9325", own, true},
		{"8.8.8.8:4222", own, false},
		{"[64:ff9b::8.8.8.8]:4222", own, false},
		{"8.8.8.9:4222", own, true},
		{"127.0.0.1:8443", own, false}, // listens everywhere
		{"[::1]:8443", own, false},
		{"8.8.8.8:8443", own, true},
	} {
		e := newEgress(c.cfg)
		if err := e.control("tcp", c.address, nil); (err == nil) != c.open {
			t.Errorf("%s: %v, want open %v", c.address, err, c.open)
		}
	}
}

func TestEndpointsThatAreRefusedAtSubscribe(t *testing.T) {
	t.Parallel()
	e := newEgress(EgressConfig{resolver: names(map[string]func() []string{
		"public.example":           always("8.8.8.8"),
		"internal.example":         always("10.0.0.1"),
		"both.example":             always("8.8.8.8", "192.168.0.1"),
		"metadata.google.internal": always("169.254.169.254"),
		"127.1":                    always("127.0.0.1"),
	})})
	const invalid, denied = "InvalidParameter", "AuthorizationError"
	for _, c := range []struct{ protocol, endpoint, code string }{
		{"http", "http://public.example/hook?x=1", ""},
		{"https", "https://user:secret@public.example:8443/hook", ""},
		{"lambda", "http://public.example:8080", ""},
		{"lambda", "https://public.example", ""},
		{"http", "http://PUBLIC.example.:80/", ""},
		{"http", "http://8.8.8.8/", ""},
		{"https", "https://[2606:4700::1111]/", ""},

		{"http", "http://internal.example/", denied},
		{"http", "http://both.example/", denied},
		{"http", "http://metadata.google.internal/computeMetadata/v1/", denied},
		{"http", "http://nowhere.example/", denied}, // the same as internal.example
		{"http", "http://localhost/", denied},
		{"http", "http://localhost./", denied},
		{"http", "http://169.254.169.254/latest/meta-data/", denied},
		{"http", "http://[::ffff:127.0.0.1]/", denied},
		{"http", "http://[::1]:8080/", denied},
		{"http", "http://[fd00:ec2::254]/", denied},
		{"http", "http://0.0.0.0:9324/", denied},

		{"http", "http://127.1/", invalid},
		{"http", "http://0x7f.1/", invalid},
		{"http", "http://0x7f000001/", invalid},
		{"http", "http://2130706433/", invalid},
		{"http", "http://0177.0.0.1/", invalid},
		{"http", "http://127.0.0.1./", invalid},
		{"http", "http://①②⑦.⓪.⓪.①/", invalid},
		{"http", "http://127。0。0。1/", invalid},
		{"http", "http://bücher.example/", invalid},
		{"http", "http://public.example\t/", invalid},
		{"http", "http://public.example%00.internal/", invalid},
		{"http", "http://pub_lic..example/", invalid},
		{"http", "http://[fe80::1%25eth0]/", denied},
		{"http", "https://public.example/", invalid},
		{"https", "http://public.example/", invalid},
		{"http", "HTTP://public.example/", ""},
		{"http", "ftp://public.example/", invalid},
		{"lambda", "gopher://public.example/", invalid},
		{"lambda", "arn:aws:lambda:us-east-1:000000000000:function:f", invalid},
		{"http", "file:///etc/passwd", invalid},
		{"http", "http:public.example", invalid},
		{"http", "//public.example/", invalid},
		{"http", "http://", invalid},
		{"http", "", invalid},
		{"http", "http://public.example/#f", invalid},
		{"http", "http://public.example:0/", invalid},
		{"http", "http://public.example:65536/", invalid},
		{"http", "http://public.example:22/", invalid},
		{"http", "http://public.example/" + strings.Repeat("a", maxEndpoint), invalid},
	} {
		_, err := e.checkEndpoint(t.Context(), c.protocol, c.endpoint)
		code := ""
		if e, ok := errors.AsType[*mnq.Error](err); ok {
			code = e.Code
			if strings.Contains(err.Error(), "secret") || e.Msg == "" {
				t.Errorf("%s: %v", c.endpoint, err)
			}
		}
		if code != c.code {
			t.Errorf("%s %s: %v, want %q", c.protocol, c.endpoint, err, c.code)
		}
	}
}

func TestNameServerThatIsSilentDoesNotPreventSubscribing(t *testing.T) {
	t.Parallel()
	e := newEgress(EgressConfig{resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: errors.New("no route to the name server")}
	}}})
	if got, err := e.checkEndpoint(t.Context(), "http", "http://later.example/"); err != nil || got.host != "later.example:80" {
		t.Errorf("%+v, %v", got, err)
	}
}

// receiver is a real server on loopback that counts the connections it gets.
func receiver(t *testing.T, h http.HandlerFunc) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	conns := &atomic.Int64{}
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, conns
}

func send(t *testing.T, e *egress, url string) result {
	t.Helper()
	t.Cleanup(e.stop)
	return e.post(t.Context(), url, http.Header{}, []byte("hello"))
}

func ok(http.ResponseWriter, *http.Request) {}

func TestConnectionIsRefusedBeforeItIsMade(t *testing.T) {
	t.Parallel()
	s, conns := receiver(t, ok)
	port := netip.MustParseAddrPort(s.Listener.Addr().String()).Port()
	own := func() []netip.AddrPort { return []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), port)} }
	for _, cfg := range []EgressConfig{{}, {Loopback: true, Own: own}} {
		if got := send(t, newEgress(cfg), s.URL); got != (result{class: classRefused}) {
			t.Errorf("%+v", got)
		}
	}
	if n := conns.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
	if got := send(t, newEgress(EgressConfig{Loopback: true}), s.URL); got != (result{classHTTP, 200}) || conns.Load() != 1 {
		t.Errorf("%+v, %d connections", got, conns.Load())
	}
}

// TestRebinding has a name that is public when it is subscribed and internal when
// it is dialled.
func TestRebinding(t *testing.T) {
	t.Parallel()
	s, conns := receiver(t, ok)
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	asked := atomic.Int64{}
	e := newEgress(EgressConfig{resolver: names(map[string]func() []string{"turncoat.example": func() []string {
		if asked.Add(1) <= 2 { // A and AAAA of the first look-up
			return []string{"8.8.8.8"}
		}
		return []string{"127.0.0.1"}
	}})})
	url := "http://turncoat.example" + port + "/"
	if _, err := e.checkEndpoint(t.Context(), "http", url); err != nil {
		t.Fatal(err)
	}
	if got := send(t, e, url); got.class != classRefused || conns.Load() != 0 {
		t.Errorf("%+v, %d connections", got, conns.Load())
	}
}

func TestRedirectIsAnAnswer(t *testing.T) {
	t.Parallel()
	inner, conns := receiver(t, ok)
	outer, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inner.URL, http.StatusTemporaryRedirect)
	})
	if got := send(t, newEgress(EgressConfig{Loopback: true}), outer.URL); got != (result{classHTTP, 307}) || conns.Load() != 0 {
		t.Errorf("%+v, %d connections", got, conns.Load())
	}
}

func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) { //nolint:paralleltest // sets the environment
	proxy, conns := receiver(t, ok)
	target, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	e := newEgress(EgressConfig{Loopback: true, resolver: names(map[string]func() []string{"a.example": always("127.0.0.1")})})
	if got := send(t, e, "http://a.example"+target.URL[strings.LastIndexByte(target.URL, ':'):]); got.status != http.StatusAccepted || conns.Load() != 0 {
		t.Errorf("%+v, %d connections to the proxy", got, conns.Load())
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	s, conns := receiver(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), 1000)) })
	e := newEgress(EgressConfig{Loopback: true})
	for range 5 {
		if got := send(t, e, s.URL); got.status != 200 {
			t.Fatalf("%+v", got)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestKeptConnectionThatIsClosed: the endpoint gives up a connection after each
// answer without saying so.
func TestKeptConnectionThatIsClosed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			req, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
			c.Close()
		}
	}()
	e := newEgress(EgressConfig{Loopback: true})
	for range 20 {
		if got := send(t, e, "http://"+l.Addr().String()); got.status != 200 {
			t.Fatalf("%+v", got)
		}
	}
}

func TestHTTPSVerifiesCertificates(t *testing.T) {
	t.Parallel()
	headers := make(chan http.Header, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers <- r.Header
		w.WriteHeader(200 + r.ProtoMajor)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	e := newEgress(EgressConfig{Loopback: true})
	if got := send(t, e, s.URL); got != (result{class: classTLS}) {
		t.Errorf("a self-signed certificate: %+v", got)
	}
	e = newEgress(EgressConfig{Loopback: true, resolver: names(map[string]func() []string{"other.test": always("127.0.0.1")})})
	e.transport.TLSClientConfig.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	h := httpHeader{kind: typeNotification, id: "i", topicARN: "t", subscription: "s", raw: true}.header()
	if got := e.post(t.Context(), s.URL, h, []byte("hello")); got != (result{classHTTP, 202}) {
		t.Errorf("a good certificate: %+v, want HTTP/2", got)
	} else if got := <-headers; got.Get("X-Amz-Sns-Message-Type") != typeNotification || got.Get("X-Amz-Sns-Rawdelivery") != "true" || got.Get("Idempotency-Key") != "" {
		t.Errorf("headers over HTTP/2: %v", got)
	}
	if got := send(t, e, strings.Replace(s.URL, "127.0.0.1", "other.test", 1)); got != (result{class: classTLS}) {
		t.Errorf("a wrong name: %+v", got)
	}
	plain, _ := receiver(t, ok)
	if got := send(t, e, strings.Replace(plain.URL, "http:", "https:", 1)); got != (result{class: classTLS}) {
		t.Errorf("no TLS at all: %+v", got)
	}
}

// TestAnswersAreBounded: the memory that an answer costs does not depend on the endpoint.
func TestAnswersAreBounded(t *testing.T) { //nolint:paralleltest // measures memory
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = io.CopyN(z, zeros{}, 50<<20)
	_ = z.Close()
	sent := atomic.Int64{}
	s, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/header":
			w.Header().Set("X-Huge", strings.Repeat("h", 10<<20))
		case "/endless":
			buf := make([]byte, 32<<10)
			for {
				n, err := w.Write(buf)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}
	})
	e := newEgress(EgressConfig{Loopback: true})
	if got := send(t, e, s.URL+"/header"); got != (result{class: classConnection}) {
		t.Errorf("a header of 10 MB: %+v", got)
	}
	if got := send(t, e, s.URL+"/endless"); got != (result{classHTTP, 200}) {
		t.Errorf("an endless body: %+v", got)
	}
	if n := sent.Load(); n > 16<<20 { // what the sockets' buffers take
		t.Errorf("%d bytes of the endless body were taken", n)
	}
	before := memory()
	if got := send(t, e, s.URL+"/bomb"); got != (result{classHTTP, 200}) {
		t.Errorf("a bomb: %+v", got)
	}
	if n := memory() - before; n > 20<<20 {
		t.Errorf("a bomb took %d bytes", n)
	}
}

func TestDisplayEndpointHidesPasswords(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://a.example/x?y=z":        "https://a.example/x?y=z",
		"https://user:s3cret@a.example/": "https://user:****@a.example/",
		"https://user@a.example/":        "https://user@a.example/",
		"http://a b:c@d/%zz":             "http://a b:c@d/%zz", // not a URL, which Subscribe refuses
		"arn:scw:sqs:fr-par:x:q":         "arn:scw:sqs:fr-par:x:q",
		"https://a.example/?to=x@y.z":    "https://a.example/?to=x@y.z",
	} {
		if got := displayEndpoint(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestClientReportsNames(t *testing.T) {
	t.Parallel()
	e := newEgress(EgressConfig{resolver: names(nil)})
	if got := send(t, e, "http://nowhere.example/"); got != (result{class: classDNS}) {
		t.Errorf("%+v", got)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got := send(t, newEgress(EgressConfig{Loopback: true}), "http://"+l.Addr().String()); got != (result{class: classConnection}) {
		t.Errorf("nobody listens: %+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	hang, _ := receiver(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if got := newEgress(EgressConfig{Loopback: true}).post(ctx, hang.URL, http.Header{}, nil); got != (result{class: classTimeout}) {
		t.Errorf("a silent endpoint: %+v", got)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// memory is how many bytes have been allocated so far.
func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
