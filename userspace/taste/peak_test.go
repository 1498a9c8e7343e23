// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"testing"

	"github.com/spillway/spillway/userspace/rollout"
)

// A generation of a million prefixes takes memory in the child, and the agent that adopts it stays small.
func TestPeakOfATaste(t *testing.T) {
	if testing.Short() {
		t.Skip("a million prefixes")
	}
	pins, files := unitFolders(t)
	host := hostText + "capacity: {prefixes_v4: 1000000}\n"
	save(t, files, host, bundleText, 1_000_000)
	r := tasteAsUnit(t, order{Pins: pins, State: files, Host: host})
	if r.Taste.Outcome != rollout.TastePassed || r.Slot == 0 || r.Drifts > 0 {
		t.Fatalf("%+v in slot %d", r.Taste, r.Slot)
	}
	t.Logf("child %d MiB in %s, agent %d MiB, adopted in %s", r.Result.Peak>>20, r.Result.Took, r.Peak>>20, r.Adopted)
	if child, agent := r.Result.Peak>>20, r.Peak>>20; child > 400 || agent > 60 {
		t.Errorf("the child had %d MiB, want at most 400; the agent %d, want at most 60", child, agent)
	}
}
