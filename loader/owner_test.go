// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

const ownerVariable = "SPILLWAY_TEST_OWNER"

// A child of this test owns the pins until it is killed.
func TestMain(m *testing.M) {
	if folder := os.Getenv(ownerVariable); folder != "" {
		if _, err := pins.Own(folder); err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString("owned\n")
		time.Sleep(time.Minute)
	}
	os.Exit(m.Run())
}

// Whoever is second learns who is first, and a killed owner leaves nothing stale.
func TestF4OwnerOfPins(t *testing.T) {
	folder := testPins(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownerVariable+"="+folder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 16)
	if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "owned") {
		t.Fatalf("the child said %q, %v", line[:n], err)
	}
	var owned *pins.OwnedError
	if _, err := pins.Own(folder); !errors.As(err, &owned) || !errors.Is(err, pins.ErrOwned) ||
		owned.PID != cmd.Process.Pid {
		t.Errorf("got %v, want process %d", err, cmd.Process.Pid)
	}
	if pid, is := pins.OwnerOf(folder); !is || pid != cmd.Process.Pid {
		t.Errorf("whoever only looks is told %d, %v, want process %d", pid, is, cmd.Process.Pid)
	}
	// Another name for the same mount leads to the same folder.
	other := t.TempDir()
	if err := unix.Mount("/sys/fs/bpf", other, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := pins.Own(filepath.Join(other, filepath.Base(folder))); !errors.Is(err, pins.ErrOwned) {
		t.Errorf("by another name: %v", err)
	}
	if err := unix.Unmount(other, 0); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if pid, is := pins.OwnerOf(folder); is {
		t.Errorf("process %d owns the pins after its death", pid)
	}
	o, err := pins.Own(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if !o.Holds() {
		t.Error("not held")
	}
	if _, is := pins.OwnerOf(folder); is {
		t.Error("this process is told that another one owns what it owns itself")
	}
}

// A folder that was moved aside is no longer what the path leads to, and the next one is somebody's to take.
func TestF4OwnerOfPinsThatWereMoved(t *testing.T) {
	folder := testPins(t)
	o, err := pins.Own(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := errors.Join(os.Rename(folder, folder+"-aside"), os.Remove(folder+"-aside")); err != nil {
		t.Fatal(err)
	}
	if o.Holds() {
		t.Error("the folder is gone")
	}
	if _, err := pins.OwnExisting(folder); !errors.Is(err, kernel.ErrNotPinned) {
		t.Errorf("nothing is there: %v", err)
	}
	again, err := pins.Own(folder)
	if err != nil || !again.Holds() {
		t.Fatalf("%v", err)
	}
	_ = again.Close()
	if _, err := pins.Own(t.TempDir()); !errors.Is(err, kernel.ErrUnsupported) {
		t.Errorf("no BPF file system: %v", err)
	}
}
