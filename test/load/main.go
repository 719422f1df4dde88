// Command load measures SQS servers side by side: the same work, with real
// signatures, over raw keep-alive connections to loopback, in turns in one run, so
// that a machine whose speed drifts treats all alike. It checks every body it gets
// for loss, duplicates and damage.
//
//	load -bin bin/mnq -peers .tmp/peers            mnq, the references and the peers
//	load -endpoint host:port -name other           any other server of this machine
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

type options struct {
	bin, peers, endpoint, name string
	access, secret, region     string
	targets, works, clients    string
	size, runs                 int
	warm, d                    time.Duration
	json, svg                  string

	serve, addr, dir string
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin/mnq", "the mnq to measure")
	flag.StringVar(&o.peers, "peers", "", "directory with the npm packages of the peers; without it there are none")
	flag.StringVar(&o.endpoint, "endpoint", "", "host:port of a further server on loopback")
	flag.StringVar(&o.name, "name", "other", "what to call that server")
	flag.StringVar(&o.access, "access", access, "access key for that server")
	flag.StringVar(&o.secret, "secret", secret, "secret for that server")
	flag.StringVar(&o.region, "region", region, "region for that server")
	flag.StringVar(&o.targets, "targets", "echo,signed,wal,mnq-always,mnq-interval,fauxqs,fauxqs-sqlite", "servers, in turn")
	flag.StringVar(&o.works, "work", "send,send-half,send10,cycle,cycle10,fifo", "work, in turn; also cycle-100k, cycle-1m")
	flag.StringVar(&o.clients, "c", "16,64", "numbers of connections")
	flag.IntVar(&o.size, "size", 1024, "bytes of a body")
	flag.IntVar(&o.runs, "runs", 3, "measurements of each; the median counts")
	flag.DurationVar(&o.warm, "warm", 300*time.Millisecond, "unmeasured start of each measurement")
	flag.DurationVar(&o.d, "d", 1500*time.Millisecond, "length of each measurement")
	flag.StringVar(&o.json, "json", "", "file for all figures")
	flag.StringVar(&o.svg, "svg", "", "file for a picture of the medians")
	flag.StringVar(&o.serve, "serve", "", "be one of the references instead: echo, signed, wal")
	flag.StringVar(&o.addr, "addr", "", "with -serve: where to listen")
	flag.StringVar(&o.dir, "dir", "", "with -serve: where to keep the log; else where servers keep their data")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.serve != "" {
		return serveReference(o.serve, o.addr, o.dir, endpoint{o.addr, access, secret, region})
	}
	if o.dir != "" {
		if err := os.Setenv("TMPDIR", o.dir); err != nil {
			return err
		}
	}
	targets, err := o.chosen()
	if err != nil {
		return err
	}
	todo, err := o.work()
	if err != nil {
		return err
	}
	defer func() {
		for _, t := range targets {
			_ = t.stop()
		}
	}()
	for _, t := range targets {
		if err := t.start(ctx); err != nil {
			return err
		}
	}
	report, err := o.measureAll(ctx, targets, todo)
	if err != nil {
		return err
	}
	return o.publish(report)
}

// chosen returns the targets that the options name.
func (o options) chosen() ([]*target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	all := localTargets(self, o.bin, o.peers)
	var out []*target
	for name := range strings.SplitSeq(o.targets, ",") {
		i := slices.IndexFunc(all, func(t *target) bool { return t.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no target is called %q", name)
		}
		if peer := i >= len(references)+2; peer && o.peers == "" {
			continue
		}
		out = append(out, all[i])
	}
	if o.endpoint != "" {
		host, _, err := net.SplitHostPort(o.endpoint)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, errors.New("-endpoint must be host:port on loopback")
		}
		out = append(out, &target{name: o.name, endpoint: endpoint{o.endpoint, o.access, o.secret, o.region}})
	}
	return out, nil
}

// job is one kind of work with one number of connections.
type job struct {
	work    work
	clients int
}

func (o options) work() ([]job, error) {
	var out []job
	for name := range strings.SplitSeq(o.works, ",") {
		i := slices.IndexFunc(works, func(w work) bool { return w.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no work is called %q", name)
		}
		for c := range strings.SplitSeq(o.clients, ",") {
			n, err := strconv.Atoi(c)
			if err != nil || n < 1 || n > 4096 {
				return nil, fmt.Errorf("-c: %q is no number of connections", c)
			}
			out = append(out, job{works[i], n})
		}
	}
	return out, nil
}

func (o options) measureAll(ctx context.Context, targets []*target, todo []job) (*report, error) {
	rep := &report{When: time.Now().UTC().Format(time.DateOnly), CPUs: runtime.NumCPU(), Go: runtime.Version(), Size: o.size, Runs: o.runs, Seconds: o.d.Seconds()}
	for n := range o.runs {
		for _, j := range todo {
			for _, t := range targets {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				if t.reference && !j.work.sends {
					continue
				}
				p := plan{work: j.work, clients: j.clients, size: o.size, warm: o.warm, d: o.d, balanced: !t.reference}
				if t.cmd != nil {
					p.reads = t.cpu
				}
				if j.work.paced {
					full := rep.find(t.name, "send", j.clients)
					if !strings.HasPrefix(t.name, "mnq") || full == nil || full.rate() == 0 {
						continue
					}
					p.pace = time.Duration(float64(2*j.clients) / full.rate() * float64(time.Second))
				}
				r, err := measure(ctx, t.endpoint, p)
				if err != nil {
					r.Errors, r.First = r.Errors+1, err.Error()
				}
				line := rep.line(t.name, j)
				line.Results = append(line.Results, r)
				if t.cmd != nil {
					line.Memory = max(line.Memory, t.resident())
				}
				_, _ = fmt.Fprintf(os.Stderr, "%d/%d %-14s %-10s c=%-4d %9.0f/s %s %s\n", n+1, o.runs, t.name, j.work.name, j.clients, r.Rate, r.Balance, r.First)
			}
		}
	}
	return rep, nil
}

func (o options) publish(rep *report) error {
	if err := rep.table(os.Stdout); err != nil {
		return err
	}
	if o.json != "" {
		raw, err := json.MarshalIndent(rep, "", " ")
		if err == nil {
			err = os.WriteFile(o.json, append(raw, '\n'), 0o600)
		}
		if err != nil {
			return err
		}
	}
	if o.svg != "" {
		if err := os.WriteFile(o.svg, rep.plot(), 0o600); err != nil {
			return err
		}
	}
	return rep.faults()
}
