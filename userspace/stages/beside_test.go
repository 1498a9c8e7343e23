// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"strings"
	"testing"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// A reload while a rollout goes on a stage is built again, and not refused; who never comes to an end is told.
func TestReloadBesideARollout(t *testing.T) {
	for _, row := range []struct {
		moves int
		done  bool
	}{{2, true}, {9, false}} {
		s := newSite(t, 1)
		s.inForce(t, 0)
		s.k.Meanwhile = row.moves
		k, done, err := s.mg.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.mg.PublishHost(k, s.file, view.ModeOf(s.file.Host.MaxMode)); (err == nil) != row.done {
			t.Errorf("the word moves %d times: %v", row.moves, err)
		}
		done()
	}
}

// Who asks for what is in force already learns what is about to take its place.
func TestInForceAlreadyAndAboutToGo(t *testing.T) {
	s := newSite(t, 1)
	s.inForce(t, 0)
	f := NewFront(s.mg, s.st)
	if ro := s.at(t, f, 0, api.RolloutRequest{}); ro.State != api.RolloutDone || len(ro.Details) > 0 {
		t.Errorf("nothing else comes: %+v", ro)
	}
	other := s.at(t, f, 1, api.RolloutRequest{})
	ro := s.at(t, f, 0, api.RolloutRequest{})
	if said := strings.Join(ro.Details, ""); ro.Outcome != api.OutcomeUnchanged ||
		!strings.Contains(said, "spillway rollout abort "+other.ID+" ") {
		t.Errorf("%+v", ro)
	}
}

// A host without a bundle in force is told what brings one, and a bundle that is about to begin how.
func TestStatusNamesWhatBringsABundle(t *testing.T) {
	s := newSite(t, 1)
	f := NewFront(s.mg, s.st)
	fix := func() string {
		st := &api.Status{Problems: []api.Problem{{Code: "other", Fix: "else"},
			{Code: "no_generation", Fix: "spillway apply BUNDLE"}}}
		f.Tell(st)
		if st.Problems[0].Fix != "else" {
			t.Errorf("%+v", st.Problems)
		}
		return st.Problems[1].Fix
	}
	if got := fix(); got != "spillway apply BUNDLE" {
		t.Error(got)
	}
	s.disk.Sets[s.bundles[0].Digest] = s.setOf(s.bundles[0])
	ro, err := f.StartRollout(t.Context(), person, api.RolloutRequest{Stored: hexOf(s.bundles[0])}, nil)
	if err != nil || !strings.Contains(strings.Join(ro.Details, " "), "it goes in stages") {
		t.Fatalf("%+v, %v", ro, err)
	}
	if got := fix(); got != "rollout "+ro.ID+" brings base in its time: spillway rollout" {
		t.Error(got)
	}
	s.truth[s.bundles[0].Digest] = truth{undeclared: 0.4}
	s.done(t)
	if got := fix(); !strings.Contains(got, "is held, and waits for you") {
		t.Errorf("%s\n  %s", got, s.said())
	}
}
