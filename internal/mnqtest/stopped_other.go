//go:build !linux

package mnqtest

// waitStopped does not wait: only Linux has tests that need it.
func waitStopped(int) error { return nil }
