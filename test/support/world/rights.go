// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/rights"
)

// AgentID is the user and group that the agents of tests run as. No file of the machine names it.
const AgentID = 60_017

// AgentUser is that user as `spillway prepare` takes it.
func AgentUser() string { return fmt.Sprintf("%d:%d", AgentID, AgentID) }

// Rights is the wrapper that gives a command of root's exactly the rights of the unit. setpriv loses what the lab asked
// for: that the child dies with it.
func Rights() []string {
	return append(rights.Setpriv(AgentID, AgentID), "--pdeathsig=KILL")
}

var niceOnce sync.Once

// giveFolders makes what the unit's StateDirectory=, RuntimeDirectory= and LimitNICE= make.
func (e *Edge) giveFolders() {
	e.t.Helper()
	for _, open := range []string{filepath.Dir(e.Folder), e.Folder} {
		Must(e.t, os.Chmod(open, 0o755))
	}
	for _, folder := range []string{e.State(), filepath.Dir(e.Socket())} {
		Must(e.t, os.Mkdir(folder, 0o755))
		Must(e.t, os.Chown(folder, AgentID, AgentID))
	}
	niceOnce.Do(func() {
		// Only who may raise hard limits (CAP_SYS_RESOURCE) can give it; without it the heartbeat is an ordinary thread.
		if err := unix.Setrlimit(unix.RLIMIT_NICE, &unix.Rlimit{Cur: 20 - rights.Nice, Max: 20 - rights.Nice}); err != nil {
			e.t.Logf("the unit's LimitNICE= cannot be given here: %v", err)
		}
	})
}

// preparePins does what the unit's ExecStartPre=+ does.
func (e *Edge) preparePins() {
	e.t.Helper()
	Must(e.t, pins.PrepareFolder(e.Pins, AgentID, AgentID))
}

// Give makes everything below a folder the agent's, as systemd does with a folder that root filled.
func Give(t testing.TB, folder string) {
	t.Helper()
	Must(t, filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, AgentID, AgentID)
	}))
}

// hasRights fails the test when the agent has other rights than the unit's. A process that ended has none to look at.
func (e *Edge) hasRights() {
	e.t.Helper()
	has, err := rights.Process(e.Pid())
	if err != nil {
		return
	}
	wrong := rights.Differ(has, AgentID, AgentID)
	for name, want := range map[string][]string{"Groups": {}, "CapBnd": {fmt.Sprintf("%016x", rights.Mask())},
		"NoNewPrivs": {"1"}} {
		if !slices.Equal(has[name], want) {
			wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", name, has[name], want))
		}
	}
	if len(wrong) > 0 {
		e.t.Errorf("the agent does not run as its unit: %s", strings.Join(wrong, "; "))
	}
}

// StartRoot starts the agent with all rights, as a person does by hand, and waits until it answers.
func (e *Edge) StartRoot() {
	e.t.Helper()
	e.StartAs()
	Eventually(e.t, "the agent answers", func() bool { return e.Answers() })
}

// Owned fails the test when something in the agent's folders is not the folder's owner's: the agent's, but for pins
// that root made where nobody had prepared them.
func (e *Edge) Owned() {
	e.t.Helper()
	for _, folder := range []string{e.State(), filepath.Dir(e.Socket()), e.Pins} {
		var owner unix.Stat_t
		if err := unix.Lstat(folder, &owner); os.IsNotExist(err) {
			continue
		} else if err != nil {
			e.t.Fatalf("look at %s: %v", folder, err)
		}
		Must(e.t, filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
			var st unix.Stat_t
			if err == nil {
				err = unix.Lstat(path, &st)
			}
			if os.IsNotExist(err) { // the agent is at work
				return nil
			}
			// The group of a socket is that of its role.
			if err == nil && (st.Uid != owner.Uid || st.Gid != owner.Gid && d.Type() != os.ModeSocket) {
				e.t.Errorf("%s belongs to %d:%d, and its folder to %d:%d", path, st.Uid, st.Gid, owner.Uid, owner.Gid)
			}
			return err
		}))
	}
}
