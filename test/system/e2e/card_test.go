// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/support/world"
)

// hide are the ways in which pins were out of sight while the program on the card went on blocking.
//
//	second bpffs   another BPF file system over the one that has the pins
//	other sysfs    what `ip netns exec` does: a /sys of its own, without the BPF file system
var hide = map[string][]string{
	"second bpffs": {"unshare", "-m", "sh", "-c", `mount -t bpf -o mode=0755 bpf /sys/fs/bpf && exec "$@"`, "sh"},
	"other sysfs":  {"unshare", "-m", "sh", "-c", `mount -t sysfs sysfs /sys && exec "$@"`, "sh"},
}

// F3: pins that are hidden, or named otherwise, say nothing of what a packet meets. The command looks at the card: as
// root it switches what is there, and with the unit's rights it says that it cannot read it.
func TestF3TheCardCounts(t *testing.T) {
	e := world.NewEdge(t)
	tr := world.StartTraffic(t, e)
	e.Start()
	e.MustCLI("apply", e.WriteBundle("deny", world.DenyBots()), "--yes")
	tr.BotsAreStopped(t)
	e.Kill()
	d := e.Adopt()

	other := filepath.Join(e.Folder, "other.yaml")
	text, err := os.ReadFile(e.HostFile())
	world.Must(t, err)
	world.Must(t, os.WriteFile(other, []byte(strings.Replace(string(text), e.Pins, e.Pins+"-other", 1)), 0o644))
	ways := map[string]struct{ wrapper, args []string }{"edited paths.pins": {nil, []string{"--config", other}}}
	for name, wrapper := range hide {
		ways[name] = struct{ wrapper, args []string }{wrapper, nil}
	}
	for name, way := range ways {
		say := func(rights []string, code int, want string, args ...string) {
			t.Helper()
			out, got := e.CLIWith(slices.Concat(way.wrapper, rights), append(slices.Clone(way.args), args...)...)
			flat := strings.Join(strings.Fields(out), " ")
			if got != code || !strings.Contains(flat, want) {
				t.Errorf("%s: spillway %v: exit %d, want %d and %q\n%s", name, args, got, code, want, out)
			}
			if !d.Bypass().Active() && (strings.Contains(flat, "everything passes") || strings.Contains(flat, "detached from")) {
				t.Errorf("%s: spillway %v says more than was read, while bots are stopped:\n%s", name, args, out)
			}
		}
		unit := world.Rights()
		say(unit, 4, "UNKNOWN: another program", "status")
		say(unit, 1, "run as root: sudo spillway status", "bypass", "on")
		say(unit, 3, "and it cannot be read from here", "rollback")
		say(nil, 4, "its bypass is off, so it may block", "status")
		say(nil, 3, "nothing was detached", "detach", "--yes")
		if d.Bypass().Active() {
			t.Fatalf("%s: something switched the bypass", name)
		}
		tr.BotsAreStopped(t)
		say(nil, 0, "everything passes on "+e.EdgeIf, "bypass", "on")
		if !d.Bypass().Active() {
			t.Fatalf("%s: root's bypass reached nothing", name)
		}
		tr.BotsAreServed(t)
		say(nil, 4, "BYPASS IS ON: everything passes on "+e.EdgeIf, "status")
		say(nil, 0, "bypass is off on "+e.EdgeIf, "bypass", "off")
		if d.Bypass().Active() {
			t.Fatalf("%s: the bypass is still on", name)
		}
		tr.BotsAreStopped(t)
	}
	tr.VisitorsNeverNoticed(t)
}

// F3: an agent with other pins than those of the card says so, whatever it is asked, and never that everything passes.
func TestF3AgentBesideAnothersProgram(t *testing.T) {
	e := world.NewEdge(t)
	tr := world.StartTraffic(t, e)
	e.Start()
	e.MustCLI("apply", e.WriteBundle("deny", world.DenyBots()), "--yes")
	tr.BotsAreStopped(t)
	d := e.Adopt()
	e.Kill()
	first := e.Pins
	e.Pins += "-b"
	e.WriteHost("enforce", world.Direct)
	e.Start()
	out, code := e.CLIWith(world.Rights(), "status")
	if flat := strings.Join(strings.Fields(out), " "); code != 4 || !strings.Contains(flat, "UNKNOWN: another program") ||
		strings.Contains(flat, "everything passes") {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	out, code = e.CLIWith(world.Rights(), "bypass", "on")
	if flat := strings.Join(strings.Fields(out), " "); code != 4 ||
		!strings.Contains(flat, "! incomplete: another program") || strings.Contains(flat, "everything passes,") ||
		d.Bypass().Active() {
		t.Errorf("bypass with the unit's rights: exit %d\n%s", code, out)
	}
	tr.BotsAreStopped(t)
	if out, code = e.CLI("bypass", "on"); code != 0 || !strings.Contains(out, "everything passes") ||
		!d.Bypass().Active() {
		t.Errorf("bypass as root: exit %d\n%s", code, out)
	}
	tr.BotsAreServed(t)
	e.Kill()
	if out, code = e.CLI("detach", "--yes"); code != 4 || !strings.Contains(out, "another program") ||
		strings.Contains(out, "everything passes") {
		t.Errorf("detach: exit %d\n%s", code, out)
	}
	e.Pins = first
	tr.VisitorsNeverNoticed(t)
}
