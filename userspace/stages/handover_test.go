// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// at asks for a bundle as the API does, in whichever way the host takes.
func (s *site) at(t *testing.T, f *Front, i int, r api.RolloutRequest) *api.Rollout {
	t.Helper()
	s.disk.Sets[s.bundles[i].Digest] = s.setOf(s.bundles[i])
	r.Stored = hexOf(s.bundles[i])
	ro, err := f.StartRollout(t.Context(), person, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ro
}

// waited is a host that put bundles into force at once: one is in force, one waits for its confirmation, and one for
// its turn. Then it rolls out in stages.
func waited(t *testing.T) (s *site, f *Front, candidate, queued *api.Rollout) {
	t.Helper()
	s = newSite(t, 1)
	s.direct = true
	f = NewFront(s.mg, s.st)
	if ro := s.at(t, f, 0, api.RolloutRequest{}); ro.State != api.RolloutDone {
		t.Fatalf("at once: %+v", ro)
	}
	candidate = s.at(t, f, 1, api.RolloutRequest{ConfirmSeconds: 60})
	queued = s.at(t, f, 3, api.RolloutRequest{Reason: "daily", Key: "mine"})
	if candidate.State != api.RolloutWaiting || queued.State != api.RolloutQueued || f.Waits() {
		t.Fatalf("candidate %+v, queued %+v", candidate, queued)
	}
	s.look()
	s.direct = false
	return s, f, candidate, queued
}

// What waited for its turn comes in stages, under its number, also where the disk refuses or the agent dies between;
// and a candidate that waits for its confirmation keeps its time.
func TestWhatWaitedComesInStages(t *testing.T) {
	for _, how := range []string{"at once", "the disk refuses", "the agent dies"} {
		t.Run(how, func(t *testing.T) {
			s, f, candidate, queued := waited(t)
			if how == "the disk refuses" {
				s.disk.Full = true
				f.TakeUp()
				if len(s.disk.Queued) != 1 || !f.Waits() {
					t.Fatalf("it is nowhere on disk: queue %+v", s.disk.Queued)
				}
				s.disk.Full = false
				s.look()
			}
			left := slices.Clone(s.disk.Queued)
			f.TakeUp()
			if len(s.disk.Queued) != 0 || f.Waits() {
				t.Fatalf("it waits still: %+v", s.disk.Queued)
			}
			if how == "the agent dies" { // between the two files
				s.disk.Queued = left
				s.start()
				if f = NewFront(s.mg, s.st); !f.Waits() {
					t.Fatal("nothing waits")
				}
				f.TakeUp()
			}
			for range 10 { // a rollout that began otherwise decides for nobody meanwhile
				s.look()
				if s.k.Word.Canary != 1000 || !s.membersOf(s.k.Number(s.k.Word.Candidate))[s.bundles[1].Digest] {
					t.Fatalf("the candidate: %+v\n  %s", s.k.Word, s.said())
				}
			}
			all, err := f.Rollouts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var mine []api.Rollout
			for _, ro := range all.Rollouts {
				if ro.ID == queued.ID {
					mine = append(mine, ro)
				}
			}
			if len(mine) != 1 || mine[0].Staged == nil || mine[0].State != api.RolloutRunning || mine[0].Reason != "daily" ||
				mine[0].Key != "mine" || !mine[0].Created.Equal(queued.Created) {
				t.Errorf("the one that waited: %+v", mine)
			}
			if _, err := f.Order(t.Context(), person, api.Order{Verb: api.OrderConfirm, ID: candidate.ID}); err != nil {
				t.Fatalf("%v\n  %s", err, s.said())
			}
			s.done(t)
			if now := s.stable(); !now[s.bundles[1].Digest] || !now[s.bundles[3].Digest] {
				t.Errorf("stable %v\n  %s", now, s.said())
			}
			if fault := s.holds(true); fault != "" {
				t.Error(fault)
			}
		})
	}
}

// Nobody confirms the candidate: it goes back at its time, as it was told. What only lets more pass waits for that:
// with its confirmation the candidate would come without it.
func TestCandidateOfBeforeGoesBackByItself(t *testing.T) {
	s := newSite(t, 1)
	s.direct = true
	f := NewFront(s.mg, s.st)
	s.at(t, f, 0, api.RolloutRequest{})
	s.at(t, f, 3, api.RolloutRequest{})
	candidate := s.at(t, f, 1, api.RolloutRequest{ConfirmSeconds: 60})
	s.direct = false
	gone, err := f.StartRollout(t.Context(), person, api.RolloutRequest{Remove: "beside"}, nil)
	if err != nil || gone.Staged == nil || gone.Staged.Track != "relax" {
		t.Fatalf("%+v, %v", gone, err)
	}
	stable := s.k.Number(s.k.Word.Stable)
	for s.wall.Before(candidate.Deadline.Add(-2 * time.Second)) {
		s.look()
		if s.k.Word.Canary != 1000 || s.k.Number(s.k.Word.Stable) != stable {
			t.Fatalf("before its time: %+v\n  %s", s.k.Word, s.said())
		}
	}
	s.looks(5) // it goes back
	s.done(t)
	if now := s.stable(); now[s.bundles[1].Digest] || !now[s.bundles[0].Digest] || now[s.bundles[3].Digest] {
		t.Errorf("stable %v\n  %s", now, s.said())
	}
	if fault := s.holds(true); fault != "" {
		t.Error(fault)
	}
}

// What was withdrawn while it waited, what needs a person, and what is in force already come to the end that they have
// where bundles are in force at once.
func TestWhatWaitedAndDoesNotCome(t *testing.T) {
	s, f, _, queued := waited(t)
	if _, err := f.Order(t.Context(), person, api.Order{Verb: api.OrderAbort, ID: queued.ID, Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	f.TakeUp()
	s.looks(2)
	if s.st.memory.runs() || f.Waits() {
		t.Errorf("it was withdrawn, and comes: %+v", s.st.memory.State.Main)
	}
	s.direct = true
	same := s.at(t, f, 0, api.RolloutRequest{})
	lost := s.at(t, f, 4, api.RolloutRequest{})
	s.direct = false
	if err := s.ledger.Update(func(r *state.Record) {
		r.Condemn(state.Quarantined{Name: lost.Name, Digest: lost.Digest, At: s.wall, By: "ann"})
	}); err != nil {
		t.Fatal(err)
	}
	f.TakeUp()
	all, err := f.Rollouts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, ro := range all.Rollouts {
		states[ro.ID] = ro.State + ", " + ro.Outcome
	}
	if states[same.ID] != "done, unchanged" || states[lost.ID] != "held, held" || f.Waits() {
		t.Errorf("%v\n  %s", states, s.said())
	}
}

// The first start without a word about rollouts in the host file says what is another now, once.
func TestHostThatBeganDirectlyIsTold(t *testing.T) {
	s, _, _, _ := waited(t)
	told := func() int { return strings.Count(s.said(), "from now on changes go in stages") }
	s.looks(3)
	s.start()
	s.looks(3)
	if told() != 1 {
		t.Errorf("told %d times\n  %s", told(), s.said())
	}
	s = newSite(t, 2)
	s.looks(3)
	s.inForce(t, 0)
	s.start()
	s.looks(3)
	if told() != 0 {
		t.Errorf("a new host is told %d times", told())
	}
}
