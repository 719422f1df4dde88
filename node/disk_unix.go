//go:build linux || darwin

package node

import "syscall"

// diskSpace returns what an ordinary process may still write, and the size of
// the file system, in bytes.
func diskSpace(dir string) (free, total uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	size := uint64(st.Bsize) //nolint:gosec // its type differs between systems
	return st.Bavail * size, st.Blocks * size, nil
}
