// Command release writes an OCI image layout with the binaries of a release, one image for
// each Linux architecture, without a Docker daemon and without a registry.
//
//	release DIST VERSION OUT
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// uid is nobody's user in an image without users.
const uid = 65532

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: release DIST VERSION OUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(dist, version, out string) error {
	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		return fmt.Errorf("deliveries over https need certificates of authorities: %w", err)
	}
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := image(filepath.Join(dist, "linux_"+arch, "mnq"), certificates, arch, version)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
		if arch == "amd64" { // for docker load, which takes no layouts
			tag, err := name.NewTag("openmnq/mnq:" + version)
			if err != nil {
				return err
			}
			if err := tarball.WriteToFile(out+"_"+arch+".tar", tag, img); err != nil {
				return err
			}
		}
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	path, err := layout.Write(out, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": version}))
}

// image has the binary, the certificates and an empty data directory, and nothing else.
func image(binary string, certificates []byte, arch, version string) (v1.Image, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	layer, err := layerOf([]entry{
		{"etc/ssl/certs/ca-certificates.crt", 0o644, 0, certificates},
		{"tmp/", 0o1777, 0, nil},
		{"usr/bin/mnq", 0o755, 0, program},
		{"var/lib/mnq/", 0o700, uid, nil},
	})
	if err != nil {
		return nil, err
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		return nil, err
	}
	f, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	f = f.DeepCopy()
	f.OS, f.Architecture, f.Created = "linux", arch, v1.Time{Time: stamp}
	f.Config = v1.Config{
		Entrypoint: []string{"/usr/bin/mnq"}, Cmd: []string{"serve"}, User: fmt.Sprint(uid), WorkingDir: "/var/lib/mnq",
		Env: []string{
			"PATH=/usr/bin", "MNQ_DATA_DIR=/var/lib/mnq/data", "MNQ_HTTP=0.0.0.0:9324", "MNQ_NATS=0.0.0.0:4222",
		},
		ExposedPorts: map[string]struct{}{"9324/tcp": {}, "4222/tcp": {}},
		Volumes:      map[string]struct{}{"/var/lib/mnq": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title": "OpenMNQ", "org.opencontainers.image.version": version,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return mutate.ConfigFile(img, f)
}

// stamp is the time of every file: an image depends on what is in it only.
var stamp = time.Unix(0, 0).UTC()

type entry struct {
	name string
	mode int64
	uid  int
	data []byte
}

func layerOf(entries []entry) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{}
	for _, e := range entries {
		var parents []string
		for dir := filepath.Dir(filepath.Clean(e.name)); dir != "."; dir = filepath.Dir(dir) {
			parents = append([]string{dir + "/"}, parents...)
		}
		for _, dir := range parents {
			if made[dir] {
				continue
			}
			made[dir] = true
			if err := w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: stamp}); err != nil {
				return nil, err
			}
		}
		h := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: e.mode, Uid: e.uid, Gid: e.uid, Size: int64(len(e.data)), ModTime: stamp}
		if e.data == nil {
			h.Typeflag = tar.TypeDir
		}
		err := w.WriteHeader(h)
		_, written := w.Write(e.data)
		if err := errors.Join(err, written); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}
