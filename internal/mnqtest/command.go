package mnqtest

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"testing"
)

// Ran is what a command has said and how it ended.
type Ran struct {
	Out, Err string
	Code     int
}

// Run runs mnq with the arguments, and with the variables NAME=value added to an
// environment that says nothing about servers.
func Run(t testing.TB, env []string, args ...string) Ran {
	t.Helper()
	return RunUntil(context.Background(), t, env, args...)
}

// RunUntil is Run, and ends the command when ctx ends.
func RunUntil(ctx context.Context, t testing.TB, env []string, args ...string) Ran {
	t.Helper()
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	cmd.Env = Environment(t.TempDir(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Error(err)
		return Ran{Err: err.Error(), Code: -1}
	}
	return Ran{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// AdminEnv are the variables of admin.env, for Run.
func (p *Process) AdminEnv() (env []string) {
	for k, v := range p.Env {
		env = append(env, k+"="+v)
	}
	return env
}
