package service

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestBoundsCountWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	b := NewBounds(BoundsConfig{InFlight: 2, BodyBytes: 10 << 10})
	first, ok := b.Enter()
	_, ok2 := b.Enter()
	if _, ok3 := b.Enter(); !ok || !ok2 || ok3 || b.InFlight() != 2 {
		t.Errorf("entered: %v %v %v, in flight %d", ok, ok2, ok3, b.InFlight())
	}
	first()
	first()
	if _, ok := b.Enter(); !ok || b.InFlight() != 2 {
		t.Errorf("after one left, twice: %v, in flight %d", ok, b.InFlight())
	}

	free, ok := b.Body(8 << 10)
	if _, ok2 := b.Body(smallestCountedBody + 1); !ok || ok2 {
		t.Errorf("bodies: %v, one too many %v", ok, ok2)
	}
	if _, ok := b.Body(smallestCountedBody); !ok {
		t.Error("a small body was refused")
	}
	free()
	if _, ok := b.Body(10 << 10); !ok {
		t.Error("refused after the first was freed")
	}
}

func TestBoundsWithoutLimits(t *testing.T) {
	t.Parallel()
	for _, b := range []*Bounds{nil, NewBounds(BoundsConfig{})} {
		for range 10_000 {
			if _, ok := b.Enter(); !ok {
				t.Fatal("refused")
			}
			if _, ok := b.Body(1 << 20); !ok {
				t.Fatal("refused")
			}
			b.Failed("a")
			if b.Failing("a") || b.Reached("c", "n") != "" {
				t.Fatal("refused")
			}
		}
	}
}

func TestRates(t *testing.T) { //nolint:paralleltest // a bubble's clock is its own
	synctest.Test(t, func(t *testing.T) {
		b := NewBounds(BoundsConfig{CredentialRate: 10, NamespaceRate: 15, AuthFailures: 1})
		count := func(credential, namespace string) (passed int, limit string) {
			for {
				if limit = b.Reached(credential, namespace); limit != "" {
					return passed, limit
				}
				passed++
			}
		}
		expect := func(what string, wantN int, wantLimit string, n int, limit string) {
			t.Helper()
			if n != wantN || limit != wantLimit {
				t.Errorf("%s: %d passed, then %q; want %d, %q", what, n, limit, wantN, wantLimit)
			}
		}
		n, limit := count("a", "x")
		expect("a burst", 20, LimitCredentialRate, n, limit)
		n, limit = count("b", "x")
		expect("another key of the namespace", 10, LimitNamespaceRate, n, limit)
		n, limit = count("c", "y")
		expect("another namespace", 20, LimitCredentialRate, n, limit)
		n, limit = count("d", "")
		expect("without a namespace", 20, LimitCredentialRate, n, limit)
		time.Sleep(time.Second)
		n, limit = count("a", "z")
		expect("a second later", 10, LimitCredentialRate, n, limit)

		for range 10 {
			if b.Failing("1.2.3.4") {
				t.Fatal("refused too early")
			}
			b.Failed("1.2.3.4")
		}
		if !b.Failing("1.2.3.4") || b.Failing("1.2.3.5") {
			t.Error("only who failed ten times is refused")
		}
		time.Sleep(time.Second)
		if b.Failing("1.2.3.4") {
			t.Error("still refused a second later")
		}
	})
}

func TestRatesForgetSoonerThanTheyGrow(t *testing.T) {
	t.Parallel()
	r := newRates(1, 1)
	for i := range maxRates + 1000 {
		if !r.allow(strconv.Itoa(i)) {
			t.Fatal("a new name was refused")
		}
	}
	if len(r.byName) > maxRates {
		t.Errorf("%d names are kept", len(r.byName))
	}
}

// boundServer serves on loopback with the bounds and tells what was refused.
func boundServer(t *testing.T, limit, perAddress int) (h *HTTP, refused func() []string) {
	t.Helper()
	var mu sync.Mutex
	var list []string
	h, err := NewHTTP(t.Context(), HTTPConfig{
		Address: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), MaxConnections: limit, MaxPerAddress: perAddress,
		Before: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		Refused: func(l string) {
			mu.Lock()
			defer mu.Unlock()
			list = append(list, l)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Stop(context.Background()) }) // the connections are gone
	return h, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

// ask sends a request and returns the status line of the answer; "" when the
// connection was closed instead.
func ask(t *testing.T, c net.Conn) string {
	t.Helper()
	_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")) // a closed one shows below
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line)
}

func TestConnectionsTooManyAreTurnedAway(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		limit, perAddress int
		want              string
	}{{2, 0, LimitConnections}, {0, 2, LimitAddressConnections}} {
		h, refused := boundServer(t, tc.limit, tc.perAddress)
		var conns []net.Conn
		dial := func() net.Conn {
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", h.Address())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		for range 2 {
			c := dial()
			if got := ask(t, c); got != "HTTP/1.1 204 No Content" {
				t.Fatalf("within the limit: %q", got)
			}
			conns = append(conns, c)
		}
		if got := ask(t, dial()); got != "" && got != "HTTP/1.1 503 Service Unavailable" {
			t.Errorf("one too many: %q", got)
		}
		if got := refused(); len(got) != 1 || got[0] != tc.want {
			t.Errorf("refused: %v", got)
		}
		_ = conns[0].Close()
		for give := time.After(30 * time.Second); h.Connections() > 1; {
			select {
			case <-give:
				t.Fatalf("%d connections are counted", h.Connections())
			default:
			}
		}
		if got := ask(t, dial()); got != "HTTP/1.1 204 No Content" {
			t.Errorf("after one was closed: %q", got)
		}
	}
}
