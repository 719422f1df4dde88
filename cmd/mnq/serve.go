package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/server"
)

// tracesTimeout is how long the collector of traces has for the last of them.
const tracesTimeout = 2 * time.Second

// envMasterKey has no flag, because command lines are visible to other users.
const envMasterKey = "MNQ_MASTER_KEY"

type serveCmd struct {
	server.Settings `embed:"" group:"settings"`
}

// Run serves until the context of the app ends, then drains.
func (c *serveCmd) Run(a *app, settings []setting) error {
	if err := c.Validate(); err != nil {
		return err
	}
	defined, err := definitions(&c.Settings)
	if err != nil {
		return err
	}
	forDev(&c.Settings, settings)
	forCluster(&c.Settings, settings)
	if c.Ephemeral {
		dir, err := os.MkdirTemp("", "mnq-dev-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		c.DataDir = dir
	}
	log := logger(&c.Settings, a.stderr)
	limitMemory(log)
	defer runtime.KeepAlive(reserveMemory())
	tracer, err := service.NewTracer(a.ctx, service.ReadBuild(), func(name string) string { return a.env[name] }, log)
	if err != nil {
		return usagef("%w", err)
	}
	s, err := server.New(a.ctx, server.Config{
		Settings: c.Settings, MasterKey: a.env[envMasterKey], Log: log, CutOff: startAnew, Definitions: defined, Tracer: tracer,
	})
	if err != nil {
		return err
	}
	err = s.Run(a.ctx, a.stdout)
	last, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), tracesTimeout)
	defer cancel()
	if err := tracer.Stop(last); err != nil {
		log.Warn("the last traces are not sent", "error", err)
	}
	return err
}

// memoryShare is how much of the memory that there is the process tries to stay below.
// The rest is for the page cache.
const memoryShare = 0.75

// limitMemory has garbage collected in time for the container or the machine. The NATS
// server keeps the last written block of every stream in memory for ten seconds, 4 MiB
// each: with many busy queues that is gigabytes of garbage if nothing says that it is
// too much. GOMEMLIMIT in the environment decides instead.
func limitMemory(log *slog.Logger) {
	_, err := memlimit.Set(memlimit.WithRatio(memoryShare), memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)))
	if err != nil {
		log.Warn("the memory that there is cannot be found out: GOMEMLIMIT sets a limit", "error", err)
	}
}

// reserveMemory returns memory that is to be kept and never written: address space only.
// The collector takes it for live and waits until as much garbage again has come together.
// What is live otherwise is a few megabytes, and a collection for every few megabytes of
// garbage was a fifth of the processor time of a busy server. GOGC in the environment
// decides instead.
func reserveMemory() []byte {
	const most, share = 64 << 20, 10 // of the limit at most a tenth
	if os.Getenv("GOGC") != "" {
		return nil
	}
	return make([]byte, min(most, debug.SetMemoryLimit(-1)/share))
}

// forCluster fills in what a cluster implies where nothing else was said.
func forCluster(s *server.Settings, origins []setting) {
	for i, o := range origins {
		if s.ClusterName != "" && o.Name == "replicas" && o.Origin == "default" {
			s.Replicas = 3
			origins[i].Value, origins[i].Origin = "3", "cluster"
		}
	}
}

// forDev fills in what --dev implies where nothing else was said.
func forDev(s *server.Settings, origins []setting) {
	for i, o := range origins {
		if s.Dev && o.Name == "arn-partition" && o.Origin == "default" {
			s.ARNPartition = "aws"
			origins[i].Value, origins[i].Origin = "aws", "dev"
		}
	}
}

func logger(s *server.Settings, w interface{ Write([]byte) (int, error) }) *slog.Logger {
	opts := &slog.HandlerOptions{Level: s.LogLevel}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
