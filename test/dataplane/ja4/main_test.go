// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/spillway/spillway/config"
	support "github.com/spillway/spillway/test/support/plane"
)

// The main thread stands for the process: it must never move to another namespace, so the main goroutine keeps it.
func init() { runtime.LockOSThread() }

// capacity: places for unfinished hellos are few, so that a test can have a collision; the rest is ample.
var capacity = config.Capacity{
	Prefixes4: 1024, Prefixes6: 1024, TCPFingerprints: 64, JA4s: 256, Rules: 64,
	Flows: 65536, Syns: 4096, Hellos: 64, Shapes: 4096, Bans: 64, Allowlist: 64, Services: 32,
}

var shared struct {
	once  sync.Once
	plane *plane
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if p := shared.plane; p != nil {
		if err := p.close(); err != nil {
			fmt.Println("FAIL: clean up:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// open returns the package's dataplane with nothing remembered, an empty generation enforced, the product's budgets.
func open(t *testing.T) *plane {
	t.Helper()
	support.Need(t)
	shared.once.Do(func() { shared.plane, shared.err = openPlane("ja4", capacity) })
	if shared.err != nil {
		t.Fatalf("open the dataplane: %v", shared.err)
	}
	p := shared.plane
	p.t = t
	p.renew()
	return p
}
