// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/rollout"
)

// What the engine gets of a host file that names no guards is what the engine's own defaults are.
func TestGuardsOfADefaultHost(t *testing.T) {
	g, on := guardsOf(config.DefaultHost().Guards)
	want := rollout.Defaults()
	if on || len(g.Steps) != len(want.Steps) {
		t.Fatalf("staged %t, steps %v", on, g.Steps)
	}
	for i := range g.Steps {
		if g.Steps[i] != want.Steps[i] {
			t.Errorf("step %d: %v, want %v", i, g.Steps[i], want.Steps[i])
		}
	}
	g.Steps, want.Steps = nil, nil
	if g.Evidence != want.Evidence || g.Shadow != want.Shadow || g.Bake != want.Bake || g.Lease != want.Lease ||
		g.MaxNewBlocks != want.MaxNewBlocks || g.MaxDelta != want.MaxDelta || g.TimeOnlyBelow != want.TimeOnlyBelow {
		t.Errorf("%+v, want %+v", g, want)
	}
}
