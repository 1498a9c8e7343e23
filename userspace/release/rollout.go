// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// KeptRollouts is how many rollouts that are over can be asked for; older ones are in the history.
const KeptRollouts = 100

// rollout is one of them. Its fields belong to the lock of rollouts.
type rollout struct {
	api.Rollout
	ended  bool // by hand: it is not published any more
	listed bool // it has its place in the queue

	// These are of who asked, and belong to who carries it out.
	wish     wish
	confirm  time.Duration
	by       api.Caller
	wentBack uint64        // rollbacks that it knows of
	host     *config.Host  // by which the bundle was read
	leaves   *state.Member // what a rollback of one bundle leaves: it goes into quarantine
	// fast is the answer to whether it passes by a candidate, for these two generations.
	fast      bool
	fastAsked [2]config.Digest
}

func stateOf(e *api.Error, ended bool) string {
	switch {
	case ended, e.Code == api.CodeCancelled:
		return api.RolloutWithdrawn
	case e.Code == api.CodeRefused:
		return api.RolloutRefused
	case e.Code == api.CodeHeld:
		return api.RolloutHeld
	}
	return api.RolloutFailed
}

// isOf reports whether a candidate of the record is a rollout's.
func isOf(c *state.Confirm, ro *api.Rollout) bool {
	return c.Rollout == ro.ID || c.Rollout == "" && c.Number == ro.Number
}

// leftRollout is a candidate of a former agent.
func leftRollout(c *state.Confirm) *rollout {
	id := c.Rollout
	if id == "" { // of a record that had no rollouts yet
		id = "g" + strconv.FormatUint(uint64(c.Number), 10)
	}
	return &rollout{
		Rollout: api.Rollout{ID: id, State: api.RolloutWaiting, Kind: api.RolloutApply, By: c.By, Created: c.At.UTC(),
			Change: api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeCandidate, Digest: c.Digest, Name: c.Name(),
				Number: c.Number, Deadline: c.Deadline,
				Message: fmt.Sprintf("generation %d decides now, and goes back by itself unless `spillway confirm` keeps it",
					c.Number)}}}
}

// withdraw ends a rollout that waits. The lock of rollouts is held.
func (ro *rollout) withdraw(at time.Time, why string) {
	ro.State, ro.Outcome, ro.Message, ro.Ended, ro.ended = api.RolloutWithdrawn, api.OutcomeRolledBack, why, at.UTC(), true
}
