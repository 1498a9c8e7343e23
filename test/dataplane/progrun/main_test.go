// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/spillway/spillway/bpf"
)

// reached collects the reasons that packets of all tests left with.
var reached sync.Map

// The main thread stands for the process: it must never move to another namespace, so the main goroutine keeps it.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	code := m.Run()
	if err := closeIdle(); err != nil {
		fmt.Println("FAIL: clean up:", err)
		code = 1
	}
	whole := true
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		whole = whole && flag.Lookup(name).Value.String() == ""
	}
	if code == 0 && whole && os.Geteuid() == 0 {
		code = missingReasons()
	}
	os.Exit(code)
}

// ja4Reasons: what can be the matter with a ClientHello is test/dataplane/ja4's, where each of these is counted by a
// named case.
var ja4Reasons = []string{"hello_busy", "hello_hidden", "hello_malformed", "hello_overlap", "hello_too_long",
	"hello_unseen", "hello_urgent"}

// missingReasons fails a whole run that did not see every other reason of types.h.
func missingReasons() int {
	var missing []string
	for _, r := range bpf.Reasons() {
		name := bpf.ReasonName(r)
		if _, ok := reached.Load(name); !ok && !slices.Contains(ja4Reasons, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return 0
	}
	slices.Sort(missing)
	fmt.Printf("FAIL: no packet of any test left with these reasons: %v\n", missing)
	return 1
}
