// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
	"github.com/spillway/spillway/userspace/api"
)

const later = 1003

func contains(text string, all ...string) bool {
	return !slices.ContainsFunc(all, func(s string) bool { return !strings.Contains(text, s) })
}

func link(st *api.Status) (link, program uint32) {
	for _, i := range st.Interfaces {
		link, program = i.LinkID, i.ProgramID
	}
	return link, program
}

// F2: a later layout takes over by one store: the link is not touched, bans, bundles and a bypass come along, and the
// build before can still let everything pass, and knows that it knows no more.
func TestF2UpgradeUnderTraffic(t *testing.T) {
	s := newSite(t, "")
	s.MustCLI("bypass", "on", "--service", "plain")
	before := s.status(t)
	s.MustCLI("bypass", "off", "--service", "plain")
	s.tr.BotsAreStopped(t)
	s.tr.Count()
	s.Kill()
	s.as(t, later)
	s.Start()
	after := s.took(t)
	oldLink, oldProgram := link(before)
	if l, p := link(after); l != oldLink || p != oldProgram || l == 0 {
		t.Errorf("the link was touched: link %d, program %d; before %d, %d", l, p, oldLink, oldProgram)
	}
	s.unnoticed(t)
	s.MustCLI("rollback", "--reason", "the previous generation came along")
	s.unnoticed(t)

	// The build before, without an agent of either.
	s.Kill()
	s.Program = ""
	out, _ := s.CLI("status")
	if !contains(out, "layout 1003", "not known") {
		t.Errorf("status of the build before:\n%s", out)
	}
	if out, code := s.CLI("rollback", "--reason", "blind"); code == 0 || !contains(out, "layout 1003", "bypass") {
		t.Errorf("rollback of the build before: exit %d\n%s", code, out)
	}
	s.unnoticed(t)
	s.MustCLI("bypass", "on", "--reason", "it works whoever pinned it")
	s.tr.BotsAreServed(t)
	if st := s.status(t); !st.Bypass.Active || st.Protected {
		t.Errorf("status under bypass: %+v", st)
	}
	s.MustCLI("bypass", "off")
	s.tr.BotsAreStopped(t)
	s.tr.Count()
	s.Start() // an agent of the build before: it touches nothing and says so
	world.Eventually(t, "the agent says that a later layout decides", func() bool {
		st := s.status(t)
		return !st.Protected && len(st.Problems) > 0 && contains(st.Problems[0].Message, "layout 1003")
	})
	s.unnoticed(t)
	s.tr.VisitorsNeverNoticed(t)
}

// F2: what cannot be built from disk is not given up.
func TestF2UpgradeIsHeld(t *testing.T) {
	s := newSite(t, "")
	s.Kill()
	back := s.hide(t)
	s.as(t, later)
	s.Start()
	s.held(t, fmt.Sprintf("layout %d goes on deciding", bpf.ABIVersion))
	s.unnoticed(t)
	if r := s.rootLayout(t); r != bpf.ABIVersion {
		t.Errorf("layout %d decides", r)
	}
	back()
	s.took(t)
	s.unnoticed(t)
	s.tr.VisitorsNeverNoticed(t)
}

// hide takes the bundles from the disk, and returns what puts them back.
func (s *site) hide(t *testing.T) (back func()) {
	t.Helper()
	bundles := files(t, filepath.Join(s.State(), "bundles"))
	for _, path := range bundles {
		world.Must(t, os.Rename(path, filepath.Join(s.Folder, filepath.Base(path))))
	}
	return func() {
		for _, path := range bundles {
			world.Must(t, os.Rename(filepath.Join(s.Folder, filepath.Base(path)), path))
		}
	}
}

// held waits until status says why the build before goes on. What it does is not known then, but that it is attached
// is.
func (s *site) held(t *testing.T, why string) {
	t.Helper()
	world.Eventually(t, "status says that the dataplane before goes on", func() bool {
		st := s.status(t)
		return st.State == api.StateUnknown && len(st.Problems) > 0 && contains(st.Problems[0].Message, why) &&
			len(st.Interfaces) == 1 && st.Interfaces[0].State == loader.StateAttached
	})
}

// F2: SIGKILL at a call of bpf(2), of every one that an upgrade makes (SPILLWAY_FAULTS=all) or of some: whatever
// decides is whole, the next start finishes, and nobody noticed.
func TestF2UpgradeKilledAtEveryCall(t *testing.T) {
	s := newSite(t, "")
	s.Kill()
	in, err := inject.Listen(s.Folder, inject.BPF, s.State())
	world.Must(t, err)
	t.Cleanup(func() {
		s.Kill()
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	calls := s.countCalls(t, in)
	seed := uint64(time.Now().UnixNano())
	t.Logf("an upgrade makes %d calls; seed %d", calls, seed)
	for _, at := range points(rand.New(rand.NewPCG(seed, 0)), calls) {
		s.Kill()
		s.as(t, s.layout+1)
		in.Arm(at, inject.Fault{Kill: true})
		s.StartWith(in.Wrapper()...)
		s.killed(patience)
		report, err := in.Disarm()
		world.Must(t, err)
		name := fmt.Sprintf("call %d of %d (%s)", at, report.Seen, report.Hit)
		if leak := s.tr.Leaked(); leak != "" {
			t.Fatalf("%s: %s", name, leak)
		}
		s.Start()
		s.took(t)
		if leak := s.tr.Leaked(); leak != "" {
			t.Fatalf("%s, next start: %s", name, leak)
		}
		if t.Failed() {
			t.Fatalf("after %s", name)
		}
	}
	s.unnoticed(t)
	s.tr.VisitorsNeverNoticed(t)
}

const patience = 20 * time.Second

// countCalls counts those of an undisturbed upgrade up to its first answer.
func (s *site) countCalls(t *testing.T, in *inject.Listener) int {
	t.Helper()
	s.as(t, s.layout+1)
	in.Arm(0, inject.Fault{})
	s.StartWith(in.Wrapper()...)
	world.Eventually(t, "the agent answers", func() bool { return s.Answers() })
	report, err := in.Disarm()
	world.Must(t, err)
	s.took(t)
	s.tr.Count()
	return report.Seen
}

// points are the calls at which a run kills: all, or one of each of a few parts (SPILLWAY_FAULTS says how many).
func points(r *rand.Rand, calls int) (out []int) {
	if everything {
		for at := range calls {
			out = append(out, at+1)
		}
		return out
	}
	few := 5
	if n, err := strconv.Atoi(os.Getenv("SPILLWAY_FAULTS")); err == nil {
		few = n
	}
	for part := range few {
		from, to := part*calls/few, (part+1)*calls/few
		out = append(out, from+1+r.IntN(max(to-from, 1)))
	}
	return out
}

// F2: from layouts 3 to 7 nothing is lost, and the link is not touched. Words, hosts or connections had another
// shape. Each takes a minute, and a build of its own: without SPILLWAY_FAULTS=all (make soak) it is one of them by a
// printed seed, every other time the newest.
func TestF2UpgradeFromEarlierLayouts(t *testing.T) {
	earlier := []string{layout3, layout4, layout5, layout6, layout7}
	names := map[string]string{layout3: "layout 3", layout4: "layout 4", layout5: "layout 5", layout6: "layout 6",
		layout7: "layout 7"}
	if !everything {
		seed := uint64(time.Now().UnixNano())
		pick := min(rand.New(rand.NewPCG(seed, 0)).IntN(2*(len(earlier)-1)), len(earlier)-1)
		earlier = earlier[pick:][:1]
		t.Logf("seed %d: %s; SPILLWAY_FAULTS=all takes all", seed, names[earlier[0]])
	}
	for _, commit := range earlier {
		t.Run(names[commit], func(t *testing.T) { upgradeFrom(t, commit, names[commit]) })
	}
}

func upgradeFrom(t *testing.T, commit, layout string) {
	t.Helper()
	s := newSite(t, commit)
	s.MustCLI("bypass", "on", "--service", "plain", "--for", "1h")
	before := s.status(t)
	s.tr.Count()
	s.Kill()

	// Without an agent: the switch works on it, the rest is not half understood.
	s.Program = ""
	if out, code := s.CLI("rollback", "--reason", "blind"); code == 0 || !contains(out, layout) {
		t.Errorf("rollback of %s: exit %d\n%s", layout, code, out)
	}
	back := s.hide(t)
	s.Start()
	s.held(t, layout+" goes on deciding")
	back()
	var said string
	world.Eventually(t, "this build decides", func() bool { // for a moment after the store the agent is on its way
		said, _ = s.CLI("status")
		return s.rootLayout(t) == s.layout && s.status(t).Source == api.SourceAgent && !contains(said, "UNKNOWN")
	})
	if !contains(said, "service plain passes, its bypass is on") {
		t.Errorf("the bypass of a service did not come along:\n%s", said)
	}
	s.MustCLI("bypass", "off", "--service", "plain")
	after := s.took(t)
	oldLink, oldProgram := link(before)
	if l, p := link(after); l != oldLink || p != oldProgram || l == 0 {
		t.Errorf("the link was touched: link %d, program %d; before %d, %d", l, p, oldLink, oldProgram)
	}
	s.tr.BotsAreStopped(t)
	s.tr.Count()
	s.MustCLI("rollback", "--reason", "the previous generation came along")
	s.unnoticed(t)
	s.tr.VisitorsNeverNoticed(t)
}

// F2: from a build without a root the link is updated, once; nothing else differs.
func TestF2UpgradeFromLayout2(t *testing.T) {
	s := newSite(t, rootless)
	before := s.status(t)
	s.leave(t)

	// Without an agent: the switch works on it, the rest is not half understood.
	s.Program = ""
	s.MustCLI("bypass", "on", "--reason", "before the upgrade")
	s.tr.BotsAreServed(t)
	s.MustCLI("bypass", "off")
	s.tr.BotsAreStopped(t)
	s.tr.Count()
	if out, code := s.CLI("rollback", "--reason", "blind"); code == 0 || !contains(out, "layout 2") {
		t.Errorf("rollback of layout 2: exit %d\n%s", code, out)
	}

	if out, _ := s.CLI("status"); !contains(out, "layout 2", "this once") {
		t.Errorf("status of layout 2 does not say what an upgrade does to the card:\n%s", out)
	}

	back := s.hide(t)
	s.Start()
	s.held(t, "layout 2 goes on deciding")
	s.unnoticed(t)
	back()
	after := s.took(t)
	oldLink, oldProgram := link(before)
	if l, p := link(after); l != oldLink || p == oldProgram || l == 0 {
		t.Errorf("link %d, program %d; before %d, %d: want the same link with the root program", l, p, oldLink, oldProgram)
	}
	if !contains(s.Log(), "the link of an interface is updated, this once") {
		t.Error("nobody was told what that may do to the card")
	}
	s.unnoticed(t)
	s.tr.VisitorsNeverNoticed(t)
}

// F2: the same, killed on the way.
func TestF2UpgradeFromLayout2Killed(t *testing.T) {
	s := newSite(t, rootless)
	in, err := inject.Listen(s.Folder, inject.BPF, s.State())
	world.Must(t, err)
	t.Cleanup(func() {
		s.Kill()
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	calls := 0
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	for round := 0; ; round++ {
		s.leave(t)
		s.Program = ""
		at := 0
		if round > 0 {
			all := points(r, calls)
			if round > len(all) {
				break
			}
			at = all[round-1]
		}
		in.Arm(at, inject.Fault{Kill: at > 0})
		s.StartWith(in.Wrapper()...)
		if at > 0 {
			s.killed(patience)
		} else {
			world.Eventually(t, "the agent answers", func() bool { return s.Answers() })
		}
		report, err := in.Disarm()
		world.Must(t, err)
		name := fmt.Sprintf("call %d of %d (%s)", at, report.Seen, report.Hit)
		if leak := s.tr.Leaked(); leak != "" {
			t.Fatalf("%s: %s", name, leak)
		}
		if at > 0 {
			s.Start()
		}
		calls = max(calls, report.Seen)
		s.took(t)
		if leak := s.tr.Leaked(); leak != "" || t.Failed() {
			t.Fatalf("%s, next start: %s", name, leak)
		}
		s.again(t)
	}
	t.Logf("an upgrade makes %d calls; seed %d", calls, seed)
	s.tr.VisitorsNeverNoticed(t)
}

// again goes back to the build before, at a quiet hour: bots are served meanwhile.
func (s *site) again(t *testing.T) {
	t.Helper()
	s.Kill()
	s.MustCLI("detach", "--yes")
	for _, path := range files(t, s.State()) {
		world.Must(t, os.RemoveAll(path))
	}
	s.protect(t)
}

// files lists what lies in a folder.
func files(t *testing.T, folder string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(folder, "*"))
	world.Must(t, err)
	return all
}

// F3: the root program of layout 2 has the bypass first in the words of its dataplane. From the card root switches
// that, where its pins are hidden, too.
func TestF3CardOfLayout2(t *testing.T) {
	s := newSite(t, rootless)
	s.leave(t)
	s.Program = ""
	hidden := []string{"unshare", "-m", "sh", "-c", `mount -t bpf bpf /sys/fs/bpf && exec "$@"`, "sh"}
	if out, code := s.CLIWith(hidden, "status"); code != 4 ||
		!contains(strings.Join(strings.Fields(out), " "), "its bypass is off") {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	if out, code := s.CLIWith(hidden, "bypass", "on"); code != 0 || !contains(out, "everything passes on "+s.EdgeIf) {
		t.Errorf("bypass on: exit %d\n%s", code, out)
	}
	s.tr.BotsAreServed(t)
	if out, code := s.CLIWith(hidden, "bypass", "off"); code != 0 || !contains(out, "bypass is off on "+s.EdgeIf) {
		t.Errorf("bypass off: exit %d\n%s", code, out)
	}
	s.tr.BotsAreStopped(t)
	s.tr.VisitorsNeverNoticed(t)
}
