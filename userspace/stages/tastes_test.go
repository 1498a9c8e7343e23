// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"slices"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/rollout"
)

// A look that was under way when a taste ended asks for another: it would take the slot of what the first one built.
func TestTasteIsNotBegunAgainBeforeALookKnowsOfIt(t *testing.T) {
	ts := tastes{running: map[attempt]bool{}, asked: map[attempt]time.Duration{}}
	at := attempt{"7", 1}
	if !ts.begin(at, 0) || ts.begin(at, 0) {
		t.Fatal("one runs at a time")
	}
	ts.end(at, rollout.Taste{ID: "7", Number: 4}, false)
	if ts.begin(at, 0) {
		t.Error("another began, and no look knows of the first")
	}
	s := rollout.State{Main: rollout.Run{Change: rollout.Change{ID: "7", Attempt: 1}}}
	if got := ts.take(s, 0); len(got) != 1 || got[0].Number != 4 {
		t.Fatalf("taken: %+v", got)
	}
	if !slices.Equal(ts.built(), []uint32{4}) {
		t.Errorf("what a look took is nobody's before it told that it stays: %v", ts.built())
	}
	ts.known()
	if len(ts.built()) > 0 || !ts.begin(at, 0) {
		t.Errorf("it is told: %v", ts.built())
	}
	ts.end(at, rollout.Taste{}, true)
	if !ts.begin(at, 0) {
		t.Error("somebody else changed something, and it is not asked again")
	}
}
