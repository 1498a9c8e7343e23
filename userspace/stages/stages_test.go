// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/rollout"
)

// until looks until something is so.
func (s *site) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 300 {
		if is() {
			return
		}
		s.look()
		if fault := s.holds(false); fault != "" {
			t.Fatalf("%s\n  %s", fault, s.said())
		}
	}
	t.Fatalf("%s: never; main %+v\n  kernel %+v\n  %s", what, s.st.memory.State.Main, s.k.Word, s.said())
}

func (s *site) done(t *testing.T) {
	t.Helper()
	s.until(t, "all rollouts are over", func() bool { return !s.st.memory.runs() && s.st.memory.Baked == 0 })
}

// inForce rolls bundles out, one after the other.
func (s *site) inForce(t *testing.T, bundles ...int) {
	t.Helper()
	for _, b := range bundles {
		if _, err := s.apply(s.bundles[b], api.RolloutRequest{}); err != nil {
			t.Fatal(err)
		}
		s.done(t)
	}
}

func TestBundleGoesThroughAllStages(t *testing.T) {
	s := newSite(t, 1)
	for i, b := range s.bundles[:2] {
		if _, err := s.apply(b, api.RolloutRequest{}); err != nil {
			t.Fatal(err)
		}
		for _, stage := range []rollout.Stage{rollout.StageShadow, rollout.StageCanary, rollout.StageBake} {
			s.until(t, stage.String(), func() bool { return s.st.memory.State.Main.Stage == stage })
			if stage < rollout.StageBake && s.stable()[b.Digest] {
				t.Errorf("bundle %d is stable in %s", i, stage)
			}
		}
		s.done(t)
		r := s.ledger.Record()
		if !s.stable()[b.Digest] || r.LastKnownGood == nil || r.LastKnownGood.Digest != b.Digest || len(r.Trial) > 0 {
			t.Errorf("bundle %d: stable %v, record %+v\n  %s", i, s.stable(), r, s.said())
		}
		if fault := s.holds(true); fault != "" {
			t.Error(fault)
		}
	}
}

// What blocks a protected source is refused while it decides for nobody, and is in quarantine in the record.
func TestProtectedSourceIsRefusedInShadow(t *testing.T) {
	s := newSite(t, 1)
	b := s.bundles[0]
	s.truth[b.Digest] = truth{protected: true}
	if _, err := s.apply(b, api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.done(t)
	s.looks(2)
	r := s.ledger.Record()
	if s.stable()[b.Digest] || s.k.Word.Candidate != 0 || len(r.Quarantine) != 1 || r.Quarantine[0].Digest != b.Digest {
		t.Fatalf("stable %v, word %+v, quarantine %+v\n  %s", s.stable(), s.k.Word, r.Quarantine, s.said())
	}
	if !strings.Contains(s.said(), "192.0.2.0/24") {
		t.Errorf("the history does not name the source:\n  %s", s.said())
	}
	if _, rest := s.st.told.list(); len(rest.Quarantine) != 1 || rest.Quarantine[0].Gate != string(rollout.GateProtected) {
		t.Errorf("in quarantine: %+v", rest.Quarantine)
	}
	if _, err := s.apply(b, api.RolloutRequest{}); err == nil {
		t.Error("it comes again without a reason")
	}
	s.truth[b.Digest] = truth{}
	if _, err := s.apply(b, api.RolloutRequest{Accept: "the source is gone"}); err != nil {
		t.Fatal(err)
	}
	s.done(t)
	if !s.stable()[b.Digest] {
		t.Errorf("a person's reason does not pass it:\n  %s", s.said())
	}
}

// What blocks beside its intent is held in shadow with the rule to blame, and nothing is condemned.
func TestUndeclaredBlocksAreHeldWithBlame(t *testing.T) {
	s := newSite(t, 1)
	b := s.bundles[0]
	s.truth[b.Digest] = truth{undeclared: 0.2}
	s.bundles[0].Intent = nil
	if _, err := s.apply(b, api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.done(t)
	s.looks(2)
	held := s.st.memory.State.Held
	if len(held) != 1 || held[0].Gate != rollout.GateIntent || len(s.ledger.Record().Quarantine) > 0 ||
		!strings.Contains(held[0].Why, "Rule `base: prefix list base` (label base) would") {
		t.Fatalf("held %+v\n  %s", held, s.said())
	}
	if s.k.Word.Candidate != 0 {
		t.Errorf("word %+v", s.k.Word)
	}
}

// A generation that a person rolled back is taken back and condemned, in each stage that decides.
func TestRollbackEndsTheRollout(t *testing.T) {
	for _, stage := range []rollout.Stage{rollout.StageCanary, rollout.StageBake} {
		s := newSite(t, 1)
		for _, b := range s.bundles[:2] {
			if _, err := s.apply(b, api.RolloutRequest{}); err != nil {
				t.Fatal(err)
			}
			if b == s.bundles[0] {
				s.done(t)
			}
		}
		s.until(t, stage.String(), func() bool {
			m := s.st.memory.State.Main
			return m.Stage == stage && m.Seen && (stage == rollout.StageBake || s.k.Word.Canary > 0)
		})
		if _, err := s.mg.Rollback(t.Context(), person, api.RollbackRequest{Reason: "it harms"}); err != nil {
			t.Fatal(err)
		}
		s.done(t)
		s.looks(3)
		q := s.ledger.Record().Quarantine
		if !s.stable()[s.bundles[0].Digest] || s.stable()[s.bundles[1].Digest] || len(q) != 1 ||
			q[0].Digest != s.bundles[1].Digest || q[0].Name != "base" {
			t.Errorf("%s: stable %v, quarantine %+v\n  %s", stage, s.stable(), q, s.said())
		}
		if fault := s.holds(true); fault != "" {
			t.Errorf("%s: %s", stage, fault)
		}
	}
}

// An agent that starts again goes on where it was; a machine that does begins again from taste.
func TestRestartsInEachStage(t *testing.T) {
	for _, stage := range []rollout.Stage{rollout.StageTaste, rollout.StageShadow,
		rollout.StageCanary, rollout.StageBake} {
		for _, reboot := range []bool{false, true} {
			s := newSite(t, 1)
			if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
				t.Fatal(err)
			}
			s.until(t, stage.String(), func() bool { return s.st.memory.State.Main.Stage == stage })
			s.looks(2)
			at := s.st.memory.State.Main.Stage
			if reboot {
				s.k.Reboot()
			}
			s.start()
			if reboot {
				s.until(t, "taste again", func() bool {
					return s.st.memory.State.Main.Change.Attempt == 1 || at <= rollout.StageTaste
				})
			} else if got := s.st.memory.State.Main.Stage; got != at {
				t.Errorf("%s: it goes on in %s", at, got)
			}
			if reboot && s.k.Word.Mode != 1 { // what never proved itself only observes until a person says so
				s.until(t, "host", func() bool { return s.k.Word.Host != 0 })
			}
			s.until(t, "done", func() bool {
				return !s.st.memory.runs() || reboot && s.st.memory.State.Main.Stage == rollout.StageBake
			})
			if !s.stable()[s.bundles[0].Digest] {
				t.Errorf("%s, reboot %t: stable %v\n  %s", at, reboot, s.stable(), s.said())
			}
		}
	}
}

// An agent that did not run for longer than a lease does not decide what became of a candidate: it is held.
func TestStoppedAgentHoldsTheCandidate(t *testing.T) {
	s := newSite(t, 1)
	if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "canary", func() bool { return s.k.Word.Canary > 0 })
	s.mono, s.wall = s.mono+8*time.Second, s.wall.Add(8*time.Second)
	s.done(t)
	held := s.st.memory.State.Held
	if len(held) != 1 || held[0].Gate != rollout.GateLease || len(s.ledger.Record().Quarantine) > 0 ||
		s.k.Word.Candidate != 0 {
		t.Fatalf("held %+v, word %+v\n  %s", held, s.k.Word, s.said())
	}
	resume := rollout.Command{Verb: rollout.VerbResume, ID: held[0].Change.ID, By: "root", Reason: "again"}
	if d, err := s.st.Do(resume); err != nil || len(d) == 0 {
		t.Errorf("decided %v, %v", d, err)
	}
	s.done(t)
	if !s.stable()[s.bundles[0].Digest] {
		t.Errorf("resume does not bring it on\n  %s", s.said())
	}
}

// A host that observes takes a change at once, and that is never last-known-good.
func TestHostThatObservesTakesAChangeAtOnce(t *testing.T) {
	s := newSite(t, 1)
	s.file = s.hosts[1]
	k, done, err := s.mg.Begin()
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.mg.PublishHost(k, s.file, 0)
	done()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.looks(4)
	s.done(t)
	s.looks(40)
	if !s.stable()[s.bundles[0].Digest] || s.ledger.Record().LastKnownGood != nil {
		t.Errorf("stable %v, last-known-good %+v\n  %s", s.stable(), s.ledger.Record().LastKnownGood, s.said())
	}
}

// What is removed goes at once, beside a rollout, which goes on.
func TestRemovalPassesARollout(t *testing.T) {
	s := newSite(t, 1)
	s.inForce(t, 0, 3)
	if _, err := s.apply(s.bundles[1], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "canary", func() bool { return s.k.Word.Canary > 0 })
	if _, err := s.ask(api.RolloutRequest{Remove: "beside"}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "removed", func() bool { return !s.stable()[s.bundles[3].Digest] })
	if m := s.st.memory.State.Main; m.Stage != rollout.StageCanary {
		t.Errorf("the rollout is in %s\n  %s", m.Stage, s.said())
	}
	s.done(t)
	if !s.stable()[s.bundles[1].Digest] || s.stable()[s.bundles[3].Digest] {
		t.Errorf("stable %v\n  %s", s.stable(), s.said())
	}
}

// What the disk refuses goes no further: a restart would know nothing of it. Going back needs no disk.
func TestNothingGoesOnThatIsNotOnDisk(t *testing.T) {
	s := newSite(t, 1)
	b := s.bundles[0]
	if _, err := s.apply(b, api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "shadow", func() bool { return s.k.Word.Candidate != 0 })
	s.trouble.Disk, s.trouble.Chance = true, func() bool { return true }
	s.looks(30)
	if _, told := s.ledger.Problem(ledger.ProblemStages); s.k.Word.Canary != 0 || !told {
		t.Errorf("word %+v, told %t", s.k.Word, told)
	}
	s.trouble.Disk = false
	s.until(t, "canary", func() bool { return s.k.Word.Canary > 0 })
	s.trouble.Disk = true
	s.truth[b.Digest] = truth{protected: true}
	s.until(t, "taken back", func() bool { return s.k.Word.Candidate == 0 })
}

// What lets more pass and joins a rollout that bakes is done, with who asked and when, and stays known: when the
// rollout is taken back it comes again.
func TestWhatJoinsABakeKeepsItsStory(t *testing.T) {
	s := newSite(t, 1)
	s.inForce(t, 0, 3)
	if _, err := s.apply(s.bundles[1], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	bakes := func() bool { m := s.st.memory.State.Main; return m.Stage == rollout.StageBake && m.Seen }
	s.until(t, "bake", bakes)
	asked, err := s.ask(api.RolloutRequest{Remove: "beside", Reason: "ticket 9"})
	if err != nil {
		t.Fatal(err)
	}
	s.until(t, "joined", func() bool { return len(s.st.memory.State.Joined) == 1 })
	s.looks(2)
	ro := s.st.told.rollout(asked)
	if ro == nil || ro.State != api.RolloutDone || ro.Reason != "ticket 9" || ro.By == "" || ro.Ended.IsZero() {
		t.Fatalf("joined: %+v", ro)
	}
	ended := ro.Ended
	s.looks(2)
	if ro := s.st.told.rollout(asked); !ro.Ended.Equal(ended) {
		t.Errorf("it was done at %s, and is said to be at %s", ended, ro.Ended)
	}
	s.truth[s.bundles[1].Digest] = truth{protected: true}
	s.until(t, "taken back", func() bool { return !s.stable()[s.bundles[1].Digest] })
	s.until(t, "removed again", func() bool { return !s.stable()[s.bundles[3].Digest] })
	s.done(t)
	s.looks(2)
	if ro := s.st.told.rollout(asked); ro == nil || ro.State != api.RolloutDone || !ro.Ended.After(ended) {
		t.Errorf("after it came again: %+v", ro)
	}
}

// An emergency of the bundle that rolls out goes to everybody at once; of one that decides for everybody there is
// nothing to hasten, and what is not taken of a request is said.
func TestEmergencyOfTheBundleThatRollsOut(t *testing.T) {
	s := newSite(t, 1)
	s.bundles[0].Intent = nil // it declares nothing
	first, err := s.apply(s.bundles[0], api.RolloutRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s.until(t, "shadow", func() bool { return s.st.memory.State.Main.Stage == rollout.StageShadow })
	s.looks(2)
	f := NewFront(s.mg, s.st)
	r := api.RolloutRequest{Stored: hex.EncodeToString(s.bundles[0].Digest[:]), AcceptBlocks: 0.02, Reason: "an attack"}
	again, err := f.StartRollout(t.Context(), person, r, nil)
	if err != nil || again.ID != first || !strings.Contains(strings.Join(again.Details, "\n"),
		"spillway rollout accept "+first+" --blocks 2%") {
		t.Fatalf("again: %+v, %v", again, err)
	}
	r = api.RolloutRequest{Stored: r.Stored, Emergency: true, Reason: "an attack"}
	e, err := f.StartRollout(t.Context(), person, r, nil)
	if err != nil || e.ID == first {
		t.Fatalf("emergency: %+v, %v", e, err)
	}
	before := s.mono
	s.until(t, "everybody", func() bool { return s.k.Word.Canary == 1000 })
	if s.mono-before > 30*time.Second {
		t.Errorf("it took %s", s.mono-before)
	}
	s.looks(1)
	if to, _ := s.k.Running(loader.LaneMain); to.Allowed != 750 {
		t.Errorf("the kernel compares %+v: its budget would end what guards.max_new_blocks allows an emergency", to)
	}
	if e2, err := f.StartRollout(t.Context(), person, r, nil); err != nil || e2.ID != e.ID {
		t.Errorf("a second one: %+v, %v", e2, err)
	}
	s.done(t)
	s.looks(2)
	if ro := s.st.told.rollout(first); ro == nil || ro.State != api.RolloutWithdrawn || !s.stable()[s.bundles[0].Digest] {
		t.Errorf("the rollout before it: %+v", ro)
	}
}

// A host on which nothing rolls out has an empty list, which is no null in JSON.
func TestNothingRollsOutIsAnEmptyList(t *testing.T) {
	s := newSite(t, 1)
	s.looks(1)
	all, err := NewFront(s.mg, s.st).Rollouts(t.Context())
	if err != nil || all.Rollouts == nil || len(all.Rollouts) != 0 {
		t.Errorf("%#v, %v", all, err)
	}
}

// The kernel's budget knows what a person accepted, before the start and in the middle.
func TestBudgetKnowsWhatWasAccepted(t *testing.T) {
	s := newSite(t, 1)
	s.bundles[0].Intent = nil
	s.disk.Sets[s.bundles[0].Digest] = config.NewSet(s.bundles[0])
	asked, err := NewFront(s.mg, s.st).StartRollout(t.Context(), person, api.RolloutRequest{
		Stored: hex.EncodeToString(s.bundles[0].Digest[:]), AcceptBlocks: 0.02, Reason: "an attack"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	allowed := func() uint16 {
		to, _ := s.k.Running(loader.LaneMain)
		return to.Allowed
	}
	s.until(t, "compared", func() bool { return s.k.Lanes[loader.LaneMain].On })
	if got := allowed(); got != 30 {
		t.Errorf("%d of a thousand are allowed, want one and a half times 2 %%", got)
	}
	more := rollout.Command{Verb: rollout.VerbAccept, ID: asked.ID, Share: 0.1, By: "ann", Reason: "more"}
	if _, err := s.st.Do(more); err != nil {
		t.Fatal(err)
	}
	s.until(t, "more", func() bool { return allowed() == 150 })
}
