// Command mnq is OpenMNQ: the server (mnq serve) and its command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/openmnq/mnq"
)

// Exit codes, the same for every command.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitRefused     = 4
	exitUnreachable = 5
	exitPartial     = 6
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], environment(os.Environ()), streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// env is the environment of the process.
type env map[string]string

func environment(list []string) env {
	e := make(env, len(list))
	for _, kv := range list {
		name, value, _ := strings.Cut(kv, "=")
		e[name] = value
	}
	return e
}

// streams are the standard streams of the process.
type streams struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// app is what every command works with.
type app struct {
	streams

	env   env
	model *kong.Application
	ctx   context.Context //nolint:containedctx // handed to the command's Run by kong, which passes values, not arguments
}

type commands struct {
	Serve   serveCmd   `cmd:"" help:"Run the server: control plane, NATS and SQS."`
	Config  configCmd  `cmd:"" help:"Look at the server's settings."`
	Cluster clusterCmd `cmd:"" help:"Prepare the nodes of a cluster."`
	Import  importCmd  `cmd:"" help:"Create the queues, topics and subscriptions of a file, or of another server."`
	Migrate migrateCmd `cmd:"" help:"Copy queues, topics and subscriptions from another server, and move the messages with --drain."`
	Restore restoreCmd `cmd:"" help:"Restore a backup into an empty installation, with the settings of serve."`
	Version versionCmd `cmd:"" help:"Print the version."`

	Namespace  namespaceCmd  `cmd:"" group:"client" help:"Namespaces: isolated NATS accounts, or SQS/SNS brokers."`
	Credential credentialCmd `cmd:"" group:"client" help:"Credentials that open a namespace."`
	Queue      queueCmd      `cmd:"" group:"client" help:"SQS queues and what is in them."`
	Topic      topicCmd      `cmd:"" group:"client" help:"SNS topics and their subscriptions."`
	Task       taskCmd       `cmd:"" group:"client" help:"Work that the server does in the background."`
	Support    supportCmd    `cmd:"" group:"client" help:"Write an archive that helps to find out what is wrong, without secrets and messages."`
	Check      checkCmd      `cmd:"" group:"client" help:"Checks for monitoring: exit code 0 ok, 1 warning, 2 critical, 3 unknown."`
	Status     statusCmd     `cmd:"" group:"client" help:"Nodes, leaders, replicas and lag, disks, and what is wrong: exit code 0 all well, 6 something needs attention, 1 nothing can be stored."`
	Top        topCmd        `cmd:"" group:"client" help:"Watch the queues of a namespace."`
	Backup     backupCmd     `cmd:"" group:"client" help:"Save the whole installation, but for the master key, into one file while it runs."`
	Audit      auditCmd      `cmd:"" group:"client" help:"Who did what: the audit log, the newest record first."`
	Project    projectCmd    `cmd:"" group:"client" help:"Projects, which own namespaces."`
	Key        keyCmd        `cmd:"" group:"client" help:"API keys for the control plane."`
	User       userCmd       `cmd:"" group:"client" help:"Users, who sign in to the console."`
	Completion completionCmd `cmd:"" help:"Print the completion script of a shell."`
	Complete   completeCmd   `cmd:"" name:"__complete" hidden:"" passthrough:""`
	Context    contextCmd    `cmd:"" group:"client" help:"Remembered servers, for use instead of the SCW_* variables."`
}

// run is the program without its process: it reads nothing global and returns
// the exit code.
func run(ctx context.Context, args []string, e env, std streams) int {
	stderr := std.stderr
	var cmds commands
	helped := false
	settings := newResolver(e)
	parser, err := kong.New(&cmds,
		kong.Name("mnq"),
		kong.Description("OpenMNQ: namespaces and credentials, NATS and SQS in one binary."),
		kong.Writers(std.stdout, stderr),
		kong.Exit(func(int) { helped = true }),
		kong.Resolvers(settings),
		kong.ValueFormatter(describeFlag),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: false}),
		kong.ExplicitGroups([]kong.Group{{Key: "client", Title: "Commands that talk to a server (SCW_* variables or mnq context)"}}),
	)
	if err != nil {
		return report(stderr, err)
	}
	parsed, err := parser.Parse(args)
	switch {
	case helped:
		return exitOK
	case settings.err != nil: // more exact than what kong makes of it
		return report(stderr, usage(settings.err))
	case err != nil:
		return report(stderr, usage(err))
	}
	a := &app{streams: std, env: e, model: parser.Model, ctx: ctx}
	return report(stderr, parsed.Run(a, settings.origins(parsed)))
}

// usageError is a command line or a setting that is wrong.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

func usage(err error) error { return usageError{err} }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// statusError ends a command that has said all there is to say with an exit code of
// its own.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// failures are the errors of a command that works on several things.
type failures struct {
	errs    []error // at least one
	partial bool    // other things were done
}

func (f failures) Error() string   { return errors.Join(f.errs...).Error() }
func (f failures) Unwrap() []error { return f.errs }

// report prints err, one line for each failure, and returns its exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if s, ok := errors.AsType[statusError](err); ok {
		return int(s)
	}
	if f, ok := errors.AsType[failures](err); ok {
		for _, one := range f.errs {
			report(stderr, one)
		}
		return exitCode(err)
	}
	text := err.Error()
	if e, ok := errors.AsType[*mnq.Error](err); ok {
		switch {
		case e.Op == opClient:
			text = e.Msg
		case e.Kind == mnq.Invalid && e.Field != "":
			text = settingName(e.Field) + ": " + e.Msg
			if e.Hint != "" {
				text += " (" + e.Hint + ")"
			}
		}
	}
	_, _ = fmt.Fprintln(stderr, "mnq: "+strings.ReplaceAll(text, "\n", "; "))
	return exitCode(err)
}

// settingName is how a setting is spelled on the command line, or in the
// environment when it has no flag.
func settingName(field string) string {
	if envName(field) == envMasterKey {
		return envMasterKey
	}
	return "--" + field
}

func exitCode(err error) int {
	if f, ok := errors.AsType[failures](err); ok && f.partial {
		return exitPartial
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	e, ok := errors.AsType[*mnq.Error](err)
	if !ok {
		return exitFailed
	}
	switch e.Kind {
	case mnq.Invalid:
		if e.Op == opClient {
			return exitFailed
		}
		return exitUsage // a setting that a part refused
	case mnq.NotFound:
		return exitNotFound
	case mnq.Unauthenticated, mnq.Denied:
		return exitRefused
	case mnq.Unavailable:
		if e.Op == opClient {
			return exitUnreachable
		}
		return exitFailed
	case mnq.Internal, mnq.Exists, mnq.Conflict, mnq.QuotaExceeded, mnq.Throttled, mnq.Unsupported:
		return exitFailed
	}
	return exitFailed
}
