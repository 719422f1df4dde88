package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// volatileDisk is a file system of its own in an image file. What it was told to sync is
// in the image, everything else only in the kernel's memory: a copy of the image is what
// a machine finds after a power cut.
type volatileDisk struct {
	t     *testing.T
	dir   string // where it is mounted
	image string
	n     int
	lost  int // cuts after which what was not synced was gone
}

func newVolatileDisk(t *testing.T, name string) *volatileDisk {
	t.Helper()
	needRoot(t, name)
	d := &volatileDisk{t: t, dir: t.TempDir(), image: filepath.Join(t.TempDir(), "disk.0")}
	f, err := os.Create(d.image)
	if err == nil {
		err = f.Truncate(256 << 20)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if out, err := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", "-F", "-m", "0", d.image).CombinedOutput(); err != nil {
		cannot(t, name, fmt.Sprintf("mkfs.ext4: %v %s", err, out))
	}
	if out, err := d.mount(); err != nil {
		cannot(t, name, fmt.Sprintf("no image can be mounted: %s", out))
	}
	t.Cleanup(d.unmount)
	return d
}

// mount mounts the image so that nothing is written out by the passing of time.
func (d *volatileDisk) mount() ([]byte, error) {
	return exec.Command("mount", "-o", "loop,commit=300", d.image, d.dir).CombinedOutput()
}

func (d *volatileDisk) unmount() {
	if out, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil {
		d.t.Errorf("umount: %v %s", err, out)
	}
}

// cut does to a server what a power cut does: it ends in that moment, and finds what
// was on the disk then.
func (d *volatileDisk) cut(p *mnqtest.Process) {
	d.t.Helper()
	synced, unsynced := filepath.Join(d.dir, "synced"), filepath.Join(d.dir, "unsynced")
	d.probe(synced, true)
	p.Pause() // so that the copy is one moment, and no sync of the server takes the probe along
	d.probe(unsynced, false)
	d.n++
	next := fmt.Sprintf("%s.%d", d.image[:len(d.image)-len(filepath.Ext(d.image))], d.n)
	if out, err := exec.Command("cp", "--sparse=always", d.image, next).CombinedOutput(); err != nil {
		d.t.Fatalf("cp: %v %s", err, out)
	}
	p.Kill()
	d.unmount()
	old := d.image
	d.image = next
	if out, err := d.mount(); err != nil {
		d.t.Fatalf("mount: %v %s", err, out)
	}
	if err := os.Remove(old); err != nil {
		d.t.Fatal(err)
	}
	if b, err := os.ReadFile(synced); err != nil || string(b) != "probe" {
		d.t.Fatalf("this is no power cut: what was synced is gone: %q %v", b, err)
	}
	if _, err := os.Stat(unsynced); err != nil {
		d.lost++
	}
	for _, path := range []string{synced, unsynced} {
		_ = os.Remove(path) // the other is not there
	}
}

// probe writes a file that tells afterwards what a power cut leaves.
func (d *volatileDisk) probe(path string, sync bool) {
	d.t.Helper()
	f, err := os.Create(path)
	if err == nil {
		_, err = f.WriteString("probe")
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	_ = f.Close()
}

// TestPowerLoss cuts the power of a loaded server again and again.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	const name = "power loss"
	d := newVolatileDisk(t, name)
	r := begin(t, name)
	p := mnqtest.Start(t, mnqtest.Options{Dir: filepath.Join(d.dir, "data"), Args: []string{"--dev", "--log-level", "error"}})
	c := client(http.DefaultTransport, p.URL, devKeys, 1)
	var loads []*load
	for _, fifo := range []bool{false, true} {
		loads = append(loads, newLoad(t, c, loadConfig{
			name: "q", fifo: fifo, producers: 2, consumers: 2, visibility: 5 * time.Second, pace: 5 * time.Millisecond, size: 200,
		}))
	}
	for range many(3, 40) {
		<-time.After(time.Duration(300+rand.IntN(700)) * time.Millisecond)
		d.cut(p)
		p.Restart()
		r.faults++
	}
	if d.lost < r.faults/2+1 {
		t.Errorf("after %d of %d cuts only what was not synced was gone: this shows nothing", d.lost, r.faults)
	}
	r.say("unsynced writes dropped in %d", d.lost)
	for _, l := range loads {
		l.progress(t, 5)
		l.finish(t, r)
	}
	p.Kill()
}
