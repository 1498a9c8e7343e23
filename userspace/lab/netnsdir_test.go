// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// A lab's names are removed although somebody makes and removes names of his own meanwhile, also the first of this
// boot: `ip netns add` then makes the folder a mount point, which hid what lay in it.
func TestNamesBesideThoseOfIP(t *testing.T) {
	if os.Getenv("SPILLWAY_TEST_RUN") == "" {
		inFreshRun(t)
		return
	}
	name := fmt.Sprintf("%s%d-%08x-edge", idPrefix, os.Getpid(), 1)
	n, err := newNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"netns", "add", "strange"}, {"netns", "exec", name, "true"},
		{"netns", "del", "strange"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Errorf("ip %v: %v: %s", args, err, out)
		}
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(n.Path()); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", n.Path(), err)
	}
}

// inFreshRun runs this test again with mounts of its own and a /run in which nobody made a name yet.
func inFreshRun(t *testing.T) {
	t.Helper()
	requireRoot(t)
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec",
		`mount -t tmpfs run /run; exec "$0" "$@"`,
		os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), "SPILLWAY_TEST_RUN=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
