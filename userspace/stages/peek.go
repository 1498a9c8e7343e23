// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// Peek says where the rollouts were when the agent last wrote it down: those that ran, waited or were held. Without an
// agent none goes on, so no time is left; for whom one decides, only the kernel knows. nil: there is nothing to read.
func Peek(dir string) *api.Stages {
	var m memory
	if !state.PeekStages(dir, &m) {
		return nil
	}
	if len(m.State.Guards.Steps) == 0 { // a file that no agent writes
		m.State.Guards = rollout.Defaults()
	}
	out, st := &api.Stages{Frozen: m.frozen()}, &Stages{memory: m}
	for _, s := range m.Stories {
		ro := st.describe(s, rollout.Kernel{}, rollout.Evidence{})
		if ro.Over() && ro.State != api.RolloutHeld {
			continue
		}
		ro.Staged.Estimate, ro.Staged.SharePermille = nil, 0
		out.Rollouts = append(out.Rollouts, ro)
	}
	return out
}
