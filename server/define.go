package server

import (
	"bytes"
	"context"
	"io"
	"net/http"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/openmnq/mnq/definition"
	"github.com/openmnq/mnq/tenant"
)

// define creates the queues and topics of the configuration, through the same front door
// as clients, without a socket.
func (s *Server) define(ctx context.Context) error {
	if s.cfg.Definitions == nil || s.cfg.Definitions.Empty() {
		return nil
	}
	key, secret := tenant.DevKeys()
	changes, err := definition.NewEndpoint(sdkaws.Config{
		Region: s.cfg.Region, BaseEndpoint: sdkaws.String(s.publicHTTP()), HTTPClient: &http.Client{Transport: inProcess{s.planes}},
		Credentials: credentials.NewStaticCredentialsProvider(key, secret.Reveal(), ""),
	}).Apply(ctx, s.cfg.Definitions)
	for _, c := range changes {
		s.log.InfoContext(ctx, "defined", "what", c.What, "done", c.Done, "region", s.cfg.Region)
	}
	if err != nil {
		return badSetting("config", err)
	}
	return nil
}

// inProcess makes requests to a handler.
type inProcess struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper].
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:0"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	out := &answer{status: http.StatusOK, header: http.Header{}}
	p.handler.ServeHTTP(out, in)
	return &http.Response{
		StatusCode: out.status, Status: http.StatusText(out.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: out.header, Body: io.NopCloser(&out.body), ContentLength: int64(out.body.Len()), Request: r,
	}, nil
}

// answer is a response in memory.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
