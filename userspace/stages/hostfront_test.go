// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/rollout"
)

// hostSite has a bundle that is last-known-good; the files are of one that enforces.
func hostSite(t *testing.T) (s *site, less, more *hostfile.File) {
	t.Helper()
	s = newSite(t, 1)
	s.inForce(t, 0)
	return s, s.hosts[0], s.hosts[2]
}

func (s *site) mustReload(t *testing.T, f *hostfile.File) {
	t.Helper()
	if err := s.reloadFile(f); err != nil {
		t.Fatal(err)
	}
}

// edits has an agent find a host file that was edited while none ran.
func (s *site) edits(f *hostfile.File) {
	s.file = f
	s.start()
	s.looks(3)
}

// broughtBy is the rollout that brings the change of the host file in force; nil for none.
func (s *site) broughtBy() *api.Rollout {
	change := s.mg.HostFiles().Change()
	return s.st.told.find(func(ro *api.Rollout) bool { return !change.IsZero() && brings(ro, change) })
}

// counts reports whether what decides decides on the service more.
func (s *site) counts() bool {
	img, stable := s.k.Hosts[s.k.Word.Host], s.k.Images[s.k.Word.Stable]
	return img.Service(more).Tag != 0 && (!img.Fresh(more) || stable.Generation().Host == img.Number())
}

// A service more goes through all stages, and counts for everybody once the bundles that are compiled for it are
// last-known-good. There is no way back by a previous that is the same bundles.
func TestHostFileComesInStages(t *testing.T) {
	s, less, more := hostSite(t)
	s.mustReload(t, more)
	for _, stage := range []rollout.Stage{rollout.StageShadow, rollout.StageCanary} {
		s.until(t, stage.String(), func() bool { return s.st.memory.State.Main.Stage == stage })
		if s.counts() {
			t.Fatalf("it counts in %s", stage)
		}
	}
	s.done(t)
	s.looks(2)
	r := s.ledger.Record()
	if !s.counts() || s.file.Since != nil || s.hostDisk.Stood != nil || r.HostCounts != more.Digest ||
		r.Previous != nil || s.k.Word.Previous != 0 {
		t.Errorf("counts %t, %+v, previous %+v", s.counts(), s.file, r.Previous)
	}
	if name := r.Applied.Name(); name != "base" || len(r.Applied.Members) != 2 || len(r.Applied.Bundles()) != 1 {
		t.Errorf("in force is %q, %+v", name, r.Applied.Members)
	}
	first := r.HostSettled
	s.mustReload(t, less)
	s.mustReload(t, more)
	if change := s.mg.HostFiles().Change(); change.IsZero() || change == first || s.counts() {
		t.Errorf("for the second time it is change %s, was %s, and counts: %t", change.Short(), first.Short(), s.counts())
	}
}

// What a person aborts, and what a gate holds or condemns, leaves the host as it was. The same file asks again only
// with a reason.
func TestHostFileThatIsNotAccepted(t *testing.T) {
	for name, end := range map[string]struct {
		does func(s *site, ro *api.Rollout)
		is   string
	}{
		"aborted": {func(s *site, ro *api.Rollout) {
			_, _ = s.st.Do(rollout.Command{Verb: rollout.VerbAbort, ID: ro.ID, By: "root", Reason: "meant"})
		}, api.RolloutWithdrawn},
		"held":    {func(s *site, ro *api.Rollout) { s.truth[ro.Digest] = truth{undeclared: 0.1} }, api.RolloutHeld},
		"refused": {func(s *site, ro *api.Rollout) { s.truth[ro.Digest] = truth{protected: true} }, api.RolloutRefused},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, more := hostSite(t)
			s.mustReload(t, more)
			ro := s.broughtBy()
			end.does(s, ro)
			s.done(t)
			s.looks(5)
			if now := s.st.told.rollout(ro.ID); now.State != end.is || s.counts() || s.broughtBy().ID != ro.ID {
				t.Fatalf("%s, counts %t, brought by %s", now.State, s.counts(), s.broughtBy().ID)
			}
			if p := HostOf(NewFront(s.mg, s.st)).problems(); len(p) != 1 || p[0].Code != "host_file_behind" {
				t.Errorf("problems %+v", p)
			}
			s.truth[ro.Digest] = truth{}
			again, err := HostOf(NewFront(s.mg, s.st)).Start(person, "", "")
			if wants := map[string]bool{api.RolloutRefused: true}[end.is]; (err != nil) != wants {
				t.Errorf("without a reason: %+v, %v", again, err)
			}
			if _, err := HostOf(NewFront(s.mg, s.st)).Start(person, "meant", "meant"); err != nil {
				t.Fatal(err)
			}
			s.done(t)
			if s.looks(2); !s.counts() {
				t.Errorf("with a reason it does not come\n  %s", s.said())
			}
		})
	}
}

// A host file that was edited while no agent ran comes in stages, also after an edit that changed nothing before; one
// that was taken back ends what brings it.
func TestHostFileEditedWithoutAnAgent(t *testing.T) {
	s, less, more := hostSite(t)
	s.edits(s.hosts[4]) // a word to people
	s.edits(more)
	ro := s.broughtBy()
	if ro == nil || ro.Over() || s.counts() {
		t.Fatalf("brought by %+v, counts %t", ro, s.counts())
	}
	s.edits(less)
	if now := s.st.told.rollout(ro.ID); now.State != api.RolloutWithdrawn || s.file.Since != nil {
		t.Errorf("taken back, and it is %s", now.State)
	}
	s.edits(more)
	if again := s.broughtBy(); again == nil || again.Digest == ro.Digest || s.counts() {
		t.Errorf("edited again it is brought by %+v", again)
	}
	s.done(t)
	if s.looks(2); !s.counts() {
		t.Errorf("it does not come\n  %s", s.said())
	}
}

// What is accepted stays so when the disk forgets nothing, and what goes in at once, too.
func TestAcceptedHostFileStaysSo(t *testing.T) {
	s, _, more := hostSite(t)
	s.mustReload(t, more)
	s.until(t, "bake", func() bool { return s.st.memory.State.Main.Stage == rollout.StageBake })
	stood := s.hostDisk.Stood
	s.done(t)
	s.looks(2)
	s.hostDisk.Stood = stood // it could not be removed
	for _, f := range []*hostfile.File{s.file, s.hosts[6]} {
		s.edits(f)
		if s.file.Since != nil || !s.counts() {
			t.Errorf("after a start it counts: %t, %+v", s.counts(), s.file.Since)
		}
	}
}

// While the kernel refuses the host file nothing is compiled for it, and nothing is asked for.
func TestHostFileThatTheKernelRefuses(t *testing.T) {
	s, _, more := hostSite(t)
	s.trouble.Kernel, s.trouble.Chance = true, func() bool { return true }
	s.file = more
	s.start()
	for range 5 {
		s.look()
	}
	if !s.file.Unpublished || s.broughtBy() != nil || len(HostOf(NewFront(s.mg, s.st)).problems()) > 0 {
		t.Errorf("%+v, brought by %+v", s.file, s.broughtBy())
	}
	s.trouble.Kernel = false
	s.looks(3)
	if s.file.Unpublished || s.broughtBy() == nil || s.counts() {
		t.Errorf("%+v, brought by %+v, counts %t", s.file, s.broughtBy(), s.counts())
	}
}

// What cannot be read is no reason to let something count: what is built meanwhile is behind.
func TestHostFileThatCannotBeCompared(t *testing.T) {
	s, _, more := hostSite(t)
	s.mustReload(t, more)
	s.looks(2)
	s.trouble.Disk, s.trouble.Chance = true, func() bool { return true }
	s.start()
	if !s.unadopted || !s.file.Unpublished || s.counts() {
		t.Errorf("unadopted %t, %+v, counts %t", s.unadopted, s.file, s.counts())
	}
	if change := s.file.Change(); change.IsZero() || s.mg.HostFiles().Change() != (config.Digest{}) {
		t.Errorf("what is built is for change %s", change.Short())
	}
	s.trouble.Disk = false
	s.looks(3)
	if s.file.Unpublished || s.counts() {
		t.Errorf("%+v, counts %t", s.file, s.counts())
	}
	s.done(t)
	if s.looks(2); !s.counts() {
		t.Errorf("it does not come\n  %s", s.said())
	}
}
