// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"testing"

	"github.com/spillway/spillway/userspace/api"
)

// What a host goes back to while it observes is not last-known-good by it, although what it left was: with the reload
// that lets it enforce it would block at once, and never was in any stage.
func TestBackWhileItObservesProvesNothing(t *testing.T) {
	s := newSite(t, 1)
	s.inForce(t, 0) // last-known-good
	s.reload(t, 1)
	for _, i := range []int{1, 0} { // in force while it observes, one after the other
		if _, err := s.apply(s.bundles[i], api.RolloutRequest{}); err != nil {
			t.Fatal(err)
		}
		s.until(t, "it is observed", func() bool { return s.stable()[s.bundles[i].Digest] })
		s.looks(2)
	}
	f := NewFront(s.mg, s.st)
	if _, err := f.Rollback(t.Context(), person, api.RollbackRequest{Reason: "it harms"}); err != nil {
		t.Fatal(err)
	}
	r := s.ledger.Record()
	if !s.stable()[s.bundles[1].Digest] || r.LastKnownGood != nil {
		t.Fatalf("stable %v, last-known-good %+v\n  %s", s.stable(), r.LastKnownGood, s.said())
	}
	s.reload(t, 0)
	if s.stable()[s.bundles[1].Digest] || !f.Waits() {
		t.Errorf("it blocks at once: stable %v\n  %s", s.stable(), s.said())
	}
}
