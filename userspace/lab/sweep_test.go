// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestSweepRemovesDeadOwner(t *testing.T) {
	alive := newLab(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(out).ReadString('\n')
	id := strings.TrimSpace(line)

	// While the owner lives, Sweep must not touch its lab. Then nothing of it
	// may outlive Sweep, not even a process that nobody watches.
	sweepFor(t, id)
	before := leftovers(t, id)
	orphan := startOrphan(t, filepath.Join(netnsDir, id+"-edge"))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if readErr != nil || len(before) < 5 {
		t.Fatalf("the child's lab %q shows %q (%v)", id, before, readErr)
	}
	if diff := cmp.Diff(before, leftovers(t, id)); diff != "" {
		t.Errorf("a killed owner leaves its lab (-want +got):\n%s", diff)
	}
	// Another's Sweep may be at it and hold the lock: ask until all is gone.
	eventually(t, "the dead owner's lab is gone", func() bool {
		sweepFor(t, id)
		return len(leftovers(t, id)) == 0
	})
	if err := orphan.Wait(); err == nil {
		t.Error("a process in the dead lab ended by itself, want killed")
	}
	if err := alive.Edge.Do(func() error { return nil }); err != nil {
		t.Errorf("a living lab after Sweep: %v", err)
	}
	if got := leftovers(t, alive.ID()); len(got) < 5 {
		t.Errorf("a living lab after Sweep has only %q", got)
	}
}

// startOrphan starts a process in a namespace which no lab of ours owns.
func startOrphan(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	started := make(chan error, 1)
	goLocked(func() { // never unlocked
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
	})
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func TestLabID(t *testing.T) {
	for name, want := range map[string]string{
		"spw-12-0badcafe":       "spw-12-0badcafe",
		"spw-12-0badcafe-edge":  "spw-12-0badcafe",
		"spw-12-0badcafe-out":   "spw-12-0badcafe",
		".spw-12-0badcafe":      "spw-12-0badcafe",
		"spw-12-0badcafe-other": "",
		"spw-12":                "",
		"spw-x-0badcafe":        "",
		"spw-12-0bad":           "",
		"spw-12-0badcafg":       "",
		"other":                 "",
	} {
		if got, ok := labID(name); got != want || ok != (want != "") {
			t.Errorf("labID(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
}

// sweepFor sweeps. What a stranger left and nobody can remove is told, and is no fault of this test.
func sweepFor(t *testing.T, id string) {
	t.Helper()
	err := Sweep()
	if err == nil {
		return
	}
	if strings.Contains(err.Error(), id) {
		t.Error(err)
		return
	}
	t.Logf("somebody's leftovers stay: %v", err)
}
