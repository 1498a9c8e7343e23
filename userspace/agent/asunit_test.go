// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/rights"
)

// unitID is the user and group of the agents on a real kernel. No file of the machine names it.
const unitID = 60_017

// writeUnitHost is writeHost for an agent that runs as its unit does: the host file is root's and readable, the folders
// of state and sockets are the agent's, as StateDirectory= and RuntimeDirectory= make them.
func writeUnitHost(t *testing.T, yaml, pins string) (*config.Host, string) {
	t.Helper()
	dir := t.TempDir()
	h, path := writeHost(t, dir, yaml, pins, "")
	for _, open := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{h.Paths.State, filepath.Dir(h.Listen.Socket)} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(folder, unitID, unitID); err != nil {
			t.Fatal(err)
		}
	}
	return h, path
}

var niceOnce sync.Once

// asUnit is an agent with a host file, as its unit starts it behind a wrapper: root prepares the pins (ExecStartPre=+),
// then it has exactly the unit's user and rights.
func asUnit(t *testing.T, h *config.Host, path string, wrapper ...string) *exec.Cmd {
	t.Helper()
	niceOnce.Do(func() {
		// Only who may raise hard limits (CAP_SYS_RESOURCE) can give it; without it the heartbeat is an ordinary thread.
		if err := unix.Setrlimit(unix.RLIMIT_NICE, &unix.Rlimit{Cur: 20 - rights.Nice, Max: 20 - rights.Nice}); err != nil {
			t.Logf("the unit's LimitNICE= cannot be given here: %v", err)
		}
	})
	if err := pins.PrepareFolder(h.Paths.Pins, unitID, unitID); err != nil {
		t.Fatal(err)
	}
	self, err := os.Open("/proc/self/exe") // go test keeps it in a folder of root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = self.Close() })
	args := slices.Concat(wrapper, rights.Setpriv(unitID, unitID), []string{"--pdeathsig=KILL", "/proc/self/fd/3"})
	cmd := exec.Command(args[0], args[1:]...)
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = append(os.Environ(), childVariable+"="+path)
	return cmd
}

// hasRights fails the test when the agent has another user or other rights than the unit gives.
func (s *site) hasRights() {
	s.t.Helper()
	has, err := rights.Process(s.child.Process.Pid)
	if err != nil {
		s.t.Fatal(err)
	}
	if wrong := rights.Differ(has, unitID, unitID); len(wrong) > 0 {
		s.t.Errorf("the agent does not run as its unit: %s", strings.Join(wrong, "; "))
	}
}
