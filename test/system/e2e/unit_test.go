// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/world"
)

// underUnit gives the edge a BPF file system as systemd mounts it, for root alone, and returns the wrapper by which the
// agent sees it as its unit lets it: TemporaryFileSystem= over it, and BindPaths= of its own folder at the same place.
func underUnit(t *testing.T, e *world.Edge) (view []string) {
	t.Helper()
	bpffs, aside := filepath.Join(e.Folder, "bpf"), filepath.Join(e.Folder, "aside")
	for _, folder := range []string{bpffs, aside} {
		world.Must(t, os.Mkdir(folder, 0o755))
	}
	world.Must(t, unix.Mount("bpf", bpffs, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"))
	e.Pins = filepath.Join(bpffs, "spillway")
	t.Cleanup(func() {
		e.Kill()
		if err := loader.DetachPins(e.Pins); err != nil {
			t.Error(err)
		}
		if err := unix.Unmount(bpffs, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	e.WriteHost("enforce", world.Direct)
	const script = `mount --bind "$1/spillway" "$2" && mount -t tmpfs -o mode=0755 none "$1" && mkdir "$1/spillway" &&
		mount --bind "$2" "$1/spillway" && umount "$2" && mount -o remount,ro "$1" && shift 2 && exec "$@"`
	return []string{"unshare", "--mount", "sh", "-c", script, "sh", bpffs, aside}
}

// The agent works with what its unit lets it see, and root's commands see the same pins.
func TestF1AgentSeesWhatItsUnitShows(t *testing.T) {
	e := world.NewEdge(t)
	view := underUnit(t, e)
	tr := world.StartTraffic(t, e)
	start := func() {
		t.Helper()
		e.MustCLI("prepare", "--user", world.AgentUser())
		e.StartWith(view...)
		world.Eventually(t, "the agent answers", e.Answers)
	}
	start()
	e.MustCLI("apply", e.WriteBundle("deny", world.DenyBots()), "--yes")
	tr.BotsAreStopped(t)
	e.MustCLI("reload")
	e.MustCLI("verify")
	if out, code := e.CLI("status"); code != 0 {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	e.MustCLI("bypass", "on")
	tr.BotsAreServed(t)
	e.MustCLI("bypass", "off")
	e.Kill()
	tr.BotsAreStopped(t)
	e.MustCLI("bypass", "on")
	tr.BotsAreServed(t)
	e.MustCLI("bypass", "off")
	start()
	tr.BotsAreStopped(t)
	e.Owned()
	e.Kill()
	e.MustCLI("detach", "--yes")
	tr.BotsAreServed(t)
	tr.VisitorsNeverNoticed(t)
}

// An agent whose folder nobody prepared says so, and not that a lockdown or a capability is to blame.
func TestF1UnpreparedPinsAreTold(t *testing.T) {
	e := world.NewEdge(t)
	underUnit(t, e)
	e.Start()
	out, code := e.CLI("status")
	if code != 4 || !strings.Contains(out, "spillway prepare") || strings.Contains(out, "lockdown") {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	e.MustCLI("prepare", "--user", world.AgentUser())
	for _, user := range []string{"nobody-of-that-name", "1:", "x:y"} {
		if out, code := e.CLI("prepare", "--user", user); code != 1 {
			t.Errorf("prepare for %q: exit %d: %s", user, code, out)
		}
	}
	if out, code := e.CLIWith(world.Rights(), "prepare", "--user", world.AgentUser()); code != 1 ||
		!strings.Contains(out, "only root") {
		t.Errorf("prepare by the agent's user: exit %d: %s", code, out)
	}
}

// Who makes the pin folder first is not believed, and does not block the switch.
func TestF13SquattedPins(t *testing.T) {
	const stranger = 60_018
	e := world.NewEdge(t)
	tr := world.StartTraffic(t, e)
	world.Must(t, os.MkdirAll(filepath.Join(e.Pins, "v9"), 0o755))
	world.Must(t, os.Chown(e.Pins, stranger, stranger))
	for _, start := range []func(){func() { e.StartAs(world.Rights()...) }, e.StartRoot} { // nobody prepares
		start()
		world.Eventually(t, "the agent answers", e.Answers)
		out, code := e.CLI("status")
		if text := strings.Join(strings.Fields(out), " "); code != 4 || !strings.Contains(text, "belongs to user 60018") ||
			!strings.Contains(text, "rm -r") {
			t.Errorf("status: exit %d\n%s", code, out)
		}
		e.Kill()
	}
	if out, code := e.CLI("prepare", "--user", world.AgentUser()); code != 1 ||
		!strings.Contains(out, "belongs to user 60018") {
		t.Errorf("prepare: exit %d: %s", code, out)
	}
	if left, _ := os.ReadDir(e.Pins); len(left) != 1 {
		t.Errorf("something was made in the stranger's folder: %v", left)
	}
	tr.BotsAreServed(t)
	world.Must(t, os.RemoveAll(e.Pins))

	e.Start()
	e.MustCLI("apply", e.WriteBundle("deny", world.DenyBots()), "--yes")
	tr.BotsAreStopped(t)
	e.Kill()
	world.Must(t, os.Chown(e.Pins, stranger, stranger))
	if out, code := e.CLI("rollback", "--reason", "test"); code == 0 {
		t.Errorf("rollback believed a stranger's pins: %s", out)
	}
	out, _ := e.CLI("bypass", "on") // by the network card
	tr.BotsAreServed(t)
	if !strings.Contains(out, "bypass is on") {
		t.Errorf("bypass said: %s", out)
	}
	world.Must(t, os.Chown(e.Pins, world.AgentID, world.AgentID))
	e.Start()
	e.MustCLI("bypass", "off")
	tr.BotsAreStopped(t)
	tr.VisitorsNeverNoticed(t)
}
