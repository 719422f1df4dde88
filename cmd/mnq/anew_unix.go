//go:build unix

package main

import (
	"os"
	"syscall"
)

// startAnew replaces the program by itself, under the same process id: everything that
// it had in memory or open is gone in that moment, as if it had been killed.
func startAnew() {
	path, err := os.Executable()
	if err == nil {
		_ = syscall.Exec(path, os.Args, os.Environ()) //nolint:gosec // itself
	}
	os.Exit(exitFailed) // whoever supervises it starts it again
}
