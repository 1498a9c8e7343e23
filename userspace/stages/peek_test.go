// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"testing"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// Without an agent the file says where the rollouts were, and neither for whom one decides nor how long it takes.
func TestPeekSaysWhereRolloutsWere(t *testing.T) {
	s := newSite(t, 1)
	id, err := s.apply(s.bundles[0], api.RolloutRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s.until(t, "canary", func() bool { return s.st.memory.State.Main.Stage == rollout.StageCanary })
	dir := t.TempDir()
	if Peek(dir) != nil {
		t.Error("something is read of an empty folder")
	}
	store, err := state.Open(dir, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Stages().SaveStages(s.st.memory); err != nil {
		t.Fatal(err)
	}
	left := Peek(dir)
	if left == nil || len(left.Rollouts) != 1 || left.Rollouts[0].ID != id {
		t.Fatalf("got %+v", left)
	}
	if st := left.Rollouts[0].Staged; st.Stage != api.StageCanary || st.SharePermille != 0 || st.Estimate != nil {
		t.Errorf("got %+v", st)
	}
}
