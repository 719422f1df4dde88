//go:build unix

package service

import "syscall"

// openFiles is how many files the process may have open; 0 is unknown.
func openFiles() uint64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return l.Cur
}
