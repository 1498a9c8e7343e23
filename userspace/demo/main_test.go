// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// childEnv makes this test binary show the demo with the binary that it names, until it is killed.
const childEnv = "SPILLWAY_DEMO_TEST_EXECUTABLE"

func TestMain(m *testing.M) {
	if exe := os.Getenv(childEnv); exe != "" {
		if err := Run(context.Background(), Options{Out: os.Stdout, Executable: exe}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The demos mostly wait: more of them at once than there are processors end earlier.
	flag.Parse()
	_ = flag.Set("test.parallel", "4")
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// requireRoot skips, and in CI fails, without the privilege that the demo needs.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	const missing = "the demo needs root: CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}

// built are the programs that the demo runs, built once.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// executable builds the real binary, and the bot beside it.
func executable(t *testing.T) string {
	t.Helper()
	requireRoot(t)
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "spillway-demo-test-"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o711); built.err != nil { // a script runs it as the agent's user
			return
		}
		build := exec.Command("go", "build", "-o", built.dir, "github.com/spillway/spillway/cmd/spillway",
			"github.com/spillway/spillway/test/support/bots/mimic")
		if out, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "spillway")
}
