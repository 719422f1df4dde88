package faults

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// smallDisk mounts a disk of that many MiB in memory, until the test ends.
func smallDisk(t *testing.T, name string, mib int) string {
	t.Helper()
	needRoot(t, name)
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "none", dir).CombinedOutput(); err != nil {
		cannot(t, name, fmt.Sprintf("no file system can be mounted: %s", out))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return dir
}

// fill writes a file until so many bytes of the disk are free.
func fill(t *testing.T, dir string, leave int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 64<<10)
	for left := free(t, dir) - leave; left > 0; left -= int64(len(chunk)) {
		if _, err := f.Write(chunk[:min(left, int64(len(chunk)))]); err != nil {
			return // full
		}
	}
}

func ready(p *mnqtest.Process) bool {
	res, err := http.Get(p.URL + "/readyz")
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// TestDiskFull fills the disk, a little at first, and then to the last byte.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	const name = "disk full"
	disk := smallDisk(t, name, 192)
	r := begin(t, name)
	p := mnqtest.Start(t, mnqtest.Options{Dir: filepath.Join(disk, "data"), Args: []string{"--dev"}})
	c := client(http.DefaultTransport, p.URL, devKeys, 1)
	var loads []*load
	for _, fifo := range []bool{false, true} {
		loads = append(loads, newLoad(t, c, loadConfig{
			name: "q", fifo: fifo, producers: 2, consumers: 1, visibility: 5 * time.Second, pace: 10 * time.Millisecond, size: 2000,
		}))
	}
	stopped := func(what string) {
		t.Helper()
		mnqtest.Within(t, time.Minute, func() error {
			for _, l := range loads {
				if !l.saw(what) {
					return fmt.Errorf("no call was refused with %q: %s", what, l.errors())
				}
			}
			return nil
		})
	}
	var recovery time.Duration
	for range many(2, 10) {
		loads[0].progress(t, 20)
		fill(t, disk, 50<<20) // less than the reserve
		r.faults++
		stopped("The disk is nearly full")
		if !ready(p) {
			t.Error("not ready although messages can be received and deleted")
		}
		if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
			t.Fatal(err)
		}
		for _, l := range loads {
			recovery = max(recovery, l.progress(t, 20))
		}

		fill(t, disk, 0)
		r.faults++
		for _, l := range loads {
			l.refused(t, 20)
		}
		if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
			t.Fatal(err)
		}
		for _, l := range loads {
			recovery = max(recovery, l.progress(t, 20))
		}
		mnqtest.Within(t, time.Minute, func() error {
			if !ready(p) {
				return errors.New("not ready")
			}
			return nil
		})
	}
	for _, l := range loads {
		l.finish(t, r)
	}
	r.say("in order again after %.1f s at most, writes failed and storage started again %d times, process restarts 0",
		recovery.Seconds(), strings.Count(p.Output(), "jetstream was started again"))
}

// TestSlowDisk makes every sync of a server take as long as on a very slow disk.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	const name = "slow disk"
	if _, err := exec.LookPath("strace"); err != nil {
		cannot(t, name, "there is no strace")
	}
	r := begin(t, name)
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev"}})
	c := client(http.DefaultTransport, p.URL, devKeys, 1)
	var loads []*load
	for _, fifo := range []bool{false, true} {
		loads = append(loads, newLoad(t, c, loadConfig{
			name: "q", fifo: fifo, producers: 4, consumers: 2, visibility: 10 * time.Second, pace: 10 * time.Millisecond, size: 500,
		}))
	}
	before, most := resident(t, p), int64(0)
	for _, delay := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, 500 * time.Millisecond}[:many(2, 3)] {
		slow := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
			"-e", fmt.Sprintf("inject=fsync,fdatasync:delay_exit=%d", delay.Microseconds()), "-p", strconv.Itoa(p.Pid()))
		if err := slow.Start(); err != nil {
			cannot(t, name, err.Error())
		}
		for until := time.Now().Add(time.Duration(many(3, 20)) * time.Second); time.Now().Before(until); most = max(most, resident(t, p)) {
			wait(t.Context(), 200*time.Millisecond)
		}
		if err := slow.Process.Signal(os.Interrupt); err != nil {
			t.Errorf("strace ended by itself: %v", err)
		}
		if err := slow.Wait(); err != nil && slow.ProcessState.Exited() && slow.ProcessState.ExitCode() == 1 {
			cannot(t, name, "strace may not trace: "+err.Error())
		}
		r.faults++
		for _, l := range loads {
			l.progress(t, 10)
		}
	}
	for _, l := range loads {
		l.finish(t, r)
	}
	r.say("memory %d MiB before, %d at most", before>>20, most>>20)
}
