// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
)

// Folder is where pins lie.
const Folder = "/sys/fs/bpf"

var opened atomic.Uint32

// NewPins returns a folder of pins that nobody else has; name says whose they are.
func NewPins(name string) string {
	return filepath.Join(Folder, fmt.Sprintf("spillway-%s-%d-%d", name, os.Getpid(), opened.Add(1)))
}

// MountBPFFS mounts the BPF file system where containers come without it.
func MountBPFFS() error {
	var st unix.Statfs_t
	if err := unix.Statfs(Folder, &st); err == nil && st.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", Folder, "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount a BPF file system on %s: %w", Folder, err)
	}
	return nil
}

// Missing says why no dataplane can be loaded here; "" when one can.
func Missing() string {
	if os.Geteuid() != 0 {
		return "dataplanes are loaded as root: CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN"
	}
	return ""
}

// Need leaves the test out where no dataplane can be loaded; in CI it fails.
func Need(t testing.TB) {
	t.Helper()
	missing := Missing()
	if missing == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip("left out: " + missing)
}

// OpenMap opens a map of the dataplane in these pins, by its name in bpf/maps.h.
func OpenMap(pins, name string) (*ebpf.Map, error) {
	path := filepath.Join(pins, fmt.Sprintf("v%d", bpf.ABIVersion), "maps", name)
	switch name {
	case bpf.DataplaneMapRoot:
		path = filepath.Join(pins, "root", "words")
	case bpf.RootMapRootNext:
		path = filepath.Join(pins, "root", "next")
	}
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		return nil, fmt.Errorf("open map %s: %w", name, err)
	}
	return m, nil
}
