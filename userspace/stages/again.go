// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"context"
	"encoding/hex"
	"slices"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// Waits reports whether TakeUp has something to do.
func (f *Front) Waits() bool {
	f.stages.around.mu.Lock()
	defer f.stages.around.mu.Unlock()
	return len(f.stages.around.again) > 0
}

// TakeUp lets the bundles of a set come in stages that gave way when the host began to enforce: who has the policy
// first, for the others are nothing without one. It is a job.
func (f *Front) TakeUp() {
	const why = "the host enforces now; it was in force while it observed"
	for _, left := range f.stages.around.left() {
		members := slices.Clone(left.Members)
		slices.SortStableFunc(members, func(a, b state.Member) int {
			if a.Policy == b.Policy {
				return 0
			} else if a.Policy {
				return -1
			}
			return 1
		})
		for _, m := range members {
			r := api.RolloutRequest{Stored: hex.EncodeToString(m.Digest[:]), Reason: why, Accept: why}
			if _, err := f.StartRollout(context.Background(), ledger.Itself(), r, nil); err != nil {
				f.stages.Log.Error("a bundle that was in force while the host observed does not come in stages", "name", m.Name,
					"error", err)
			}
		}
	}
}
