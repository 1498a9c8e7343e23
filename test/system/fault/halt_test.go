// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/api"
)

// halt stops the agent for longer than its lease, and says what is wrong meanwhile.
func (s *stagedSite) halt(t *testing.T, lease time.Duration, meanwhile func()) {
	t.Helper()
	goOn := s.stop(t)
	time.Sleep(lease + 2*time.Second) // what is tested: nobody renews for that long
	if meanwhile != nil {
		meanwhile()
	}
	goOn()
	s.answers(t, "goes on", false)
	s.wrong(t, "when it goes on", s.holds(t)...)
}

// An agent that is stopped for longer than its lease, in each stage, costs no visitor anything: a taste and a shadow go
// on, a canary lapses in the kernel, is held and not condemned, and comes again; a bake goes on under the kernel's
// budget, and does not count the time.
func TestRolloutOfAStoppedAgent(t *testing.T) {
	const lease = 5 * time.Second
	s := newStagedSite(t, lease.String(), false)
	id := s.begin(t, s.next(t))
	s.halt(t, lease, nil)
	s.reaches(t, id, "shadow")
	s.halt(t, lease, func() {
		if at := s.glance(t); at.Control.Canary != 0 {
			t.Errorf("a shadow decides: %s", at)
		}
	})
	s.goesOn(t, id, "canary 1")
	if everything {
		s.halt(t, lease, nil)
		s.lapses(t, id)
	}
	// Another one that lapses here lapsed by itself: the machine does other work.
	for s.canaryOfAll(t, id) != nil {
		s.lapses(t, id)
	}
	var served uint64
	s.halt(t, lease, func() {
		world.Eventually(t, "the kernel goes back by itself: who was newly blocked is served", func() bool {
			now := s.listed.Total().Served()
			defer func() { served = now }()
			return served > 0 && now > served
		})
		if at := s.glance(t); at.Control.Candidate == 0 {
			t.Errorf("nobody was there to take the candidate out of the word: %s", at)
		}
	})
	s.lapses(t, id)
	for s.canaryOfAll(t, id) != nil {
		s.lapses(t, id)
	}
	s.goesOn(t, id, "bake")
	var baking picture
	world.Eventually(t, "it decides for everybody", func() bool {
		baking = s.glance(t)
		return baking.Candidate == place{} && baking.Control.Budget
	})
	s.halt(t, lease, func() {
		if at := s.glance(t); at.Stable != baking.Stable || at.Control != baking.Control {
			t.Errorf("a bake without an agent changes: %s, was %s", at, baking)
		}
	})
	if ro := s.ends(t, id); ro.State != api.RolloutDone {
		t.Errorf("it ended otherwise: %s", tellRollout(ro))
	}
	s.wrong(t, "at the end", s.sound(t)...)
	s.nobodyNoticed(t)
}

// lapses waits until a canary is held because its lease ended, and has a person try it again until shadow may end.
func (s *stagedSite) lapses(t *testing.T, id string) {
	t.Helper()
	if ro := s.ends(t, id); ro.State != api.RolloutHeld || ro.Staged.Verdict == nil ||
		ro.Staged.Verdict.Gate != "lease" || ro.Staged.Verdict.Quarantined {
		t.Fatalf("a lapse is held, and not condemned: %s", tellRollout(ro))
	}
	world.Eventually(t, "what lapsed is out of the word", func() bool { return s.glance(t).Candidate == place{} })
	s.MustCLI("rollout", "resume", id, "--reason", "the agent goes on")
	s.reaches(t, id, "shadow")
	s.goesOn(t, id, "canary 1")
}

// canaryOfAll has the canary decide for everybody; it returns the rollout when that ended before.
func (s *stagedSite) canaryOfAll(t *testing.T, id string) (ended *api.Rollout) {
	t.Helper()
	within(longest, func() bool {
		if ro := s.rollout(id); ro != nil && ro.Over() {
			ended = ro
			return true
		}
		if stage(s.rollout(id)) == "canary 1" {
			s.CLI("rollout", "promote", id, "--reason", "a test of what comes next")
			return false
		}
		at := s.glance(t)
		return at.Candidate != place{} && at.Control.Canary >= 1000
	})
	return ended
}

// The pins are gone, as after a reboot: last-known-good comes back from the disk, and the rollout begins again from
// taste, whatever it was in. The agent ended as systemd ends it.
func TestRolloutAfterAReboot(t *testing.T) {
	r := dice(t)
	s := newStagedSite(t, "1m", false)
	known := s.glance(t).Stable.Digest
	id := s.begin(t, s.next(t))
	stages := ridden[1:]
	if !everything {
		stages = []string{stages[r.IntN(len(stages))]}
	}
	for _, where := range stages {
		t.Logf("a reboot in %s", where)
		s.reaches(t, id, "shadow")
		for _, next := range ridden[2 : slices.Index(ridden, where)+1] {
			s.goesOn(t, id, next)
		}
		world.Must(t, unix.Kill(s.Pid(), unix.SIGTERM))
		s.Wait(answerTime)
		world.Must(t, loader.DetachPins(s.Pins))
		s.start(t, nil)
		s.loaded(t)
		world.Eventually(t, "last-known-good is back", func() bool { return s.glance(t).Stable.Digest == known })
		s.tr.BotsAreStopped(t)
		s.tr.Count() // until then everything passed
		s.reaches(t, id, "shadow")
		s.wrong(t, "after a reboot in "+where, s.holds(t)...)
	}
	if ro := s.ends(t, id); ro.State != api.RolloutDone {
		t.Errorf("it ended otherwise: %s", tellRollout(ro))
	}
	s.wrong(t, "at the end", s.sound(t)...)
	s.nobodyNoticed(t)
}

const urgent = `version: 1
name: urgent
rules: [{id: urgent, label: urgent, score: 90}]
features:
  prefixes: [{list: urgent, rule: urgent, entries: [203.0.113.77/32]}]
`

// While a rollout is under way, an update of a list and a relaxation pass it by, and it is built again on them; an
// emergency goes in front of it, and it comes after. Each does what it says on the real kernel, and no visitor notices.
func TestRolloutBesideOthers(t *testing.T) {
	r := dice(t)
	s := newStagedSite(t, "1m", false)
	path := filepath.Join(s.Folder, "urgent.yaml")
	world.Must(t, os.WriteFile(path, []byte(urgent), 0o644))
	for _, set := range slices.Clone(s.all) {
		s.knows(set.With(s.load(t, path)))
	}
	id := s.begin(t, s.next(t))
	s.reaches(t, id, "shadow")
	first := r.IntN(2)
	for i := range 2 {
		switch which := (first + i) % 2; {
		case which == 0:
			s.fastTrack(t, id, "a list update", s.feeds[feedRows+1])
			s.fastTrack(t, id, "a relaxation", s.feeds[feedRows-1])
		default:
			s.emergency(t, path)
		}
		if !everything {
			break
		}
	}
	if ro := s.ends(t, id); ro.State != api.RolloutDone {
		t.Errorf("it ended otherwise: %s", tellRollout(ro))
	}
	s.wrong(t, "at the end", s.sound(t)...)
	s.nobodyNoticed(t)
}

// fastTrack has a change pass by the rollout that runs, which goes on on top of it.
func (s *stagedSite) fastTrack(t *testing.T, id, what, file string) {
	t.Helper()
	before := s.glance(t)
	fast := s.begin(t, file)
	if ro := s.ends(t, fast); ro.State != api.RolloutDone {
		t.Fatalf("%s: %s", what, tellRollout(ro))
	}
	after := s.glance(t)
	if after.Stable.Number <= before.Stable.Number || after.Stable.Digest == before.Stable.Digest {
		t.Errorf("%s is done, and in force is %s, was %s", what, after, before)
	}
	if ro := s.rollout(id); ro == nil || ro.Over() && ro.State != api.RolloutDone { // it may have been quicker
		t.Errorf("after %s the rollout ended: %s", what, tellRollout(ro))
	}
	world.Eventually(t, "the rollout is built on it", func() bool {
		ro := s.rollout(id)
		return ro != nil && (ro.Over() || ro.Staged.On == after.Stable.Number || ro.Staged.Stage == api.StageBake)
	})
	s.wrong(t, "after "+what, s.holds(t)...)
}

// emergency decides for everybody soon, and is in force in the end.
func (s *stagedSite) emergency(t *testing.T, file string) {
	t.Helper()
	begun := time.Now()
	id := s.begin(t, file, "--emergency", "--reason", "a test")
	decided := false
	within(longest, func() bool {
		ro, at := s.rollout(id), s.glance(t)
		decided = ro != nil && at.Candidate != place{} && at.Candidate.Number == ro.Number && at.Control.Canary >= 1000
		return decided || ro != nil && ro.Over()
	})
	if !decided {
		t.Fatalf("an emergency does not decide for everybody: %s", tellRollout(s.rollout(id)))
	}
	t.Logf("an emergency decides after %s", time.Since(begun).Round(time.Second))
	s.wrong(t, "in an emergency", s.holds(t)...)
	if ro := s.ends(t, id); ro.State != api.RolloutDone {
		t.Errorf("an emergency: %s", tellRollout(ro))
	}
	s.wrong(t, "after an emergency", s.holds(t)...)
}
