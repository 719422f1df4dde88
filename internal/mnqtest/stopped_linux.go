package mnqtest

import (
	"errors"

	"golang.org/x/sys/unix"
)

// waitStopped waits until all threads of a child have stopped.
func waitStopped(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
