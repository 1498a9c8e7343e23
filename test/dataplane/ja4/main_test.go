// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

const bpffs = "/sys/fs/bpf"

// The main thread stands for the process: it must never move to another namespace, so the main goroutine keeps it.
func init() { runtime.LockOSThread() }

// capacity: places for unfinished hellos are few, so that a test can have a collision; the rest is ample.
var capacity = config.Capacity{
	Prefixes4: 1024, Prefixes6: 1024, TCPFingerprints: 64, JA4s: 256, Rules: 64,
	Flows: 65536, Syns: 4096, Hellos: 64, Shapes: 4096, Bans: 64, Allowlist: 64, Services: 32,
}

var shared struct {
	once   sync.Once
	plane  *plane
	err    error
	folder string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if p := shared.plane; p != nil {
		_ = p.close()
	}
	if shared.folder != "" {
		if err := loader.DetachPins(shared.folder); err != nil {
			fmt.Println("FAIL: clean up:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// open returns the package's dataplane with nothing remembered, an empty generation enforced, the product's budgets.
func open(t *testing.T) *plane {
	t.Helper()
	if os.Geteuid() != 0 {
		const missing = "program runs need root: CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip("left out: " + missing)
	}
	shared.once.Do(func() {
		if shared.err = mountBPF(); shared.err == nil {
			shared.folder = filepath.Join(bpffs, fmt.Sprintf("spillway-ja4-%d", os.Getpid()))
			shared.plane, shared.err = openPlane(shared.folder)
		}
	})
	if shared.err != nil {
		t.Fatalf("open the dataplane: %v", shared.err)
	}
	p := shared.plane
	p.t = t
	p.renew()
	return p
}

// mountBPF mounts the BPF file system where containers come without it.
func mountBPF() error {
	var st unix.Statfs_t
	if err := unix.Statfs(bpffs, &st); err == nil && st.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", bpffs, err)
	}
	return nil
}
