// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"

	"github.com/spillway/spillway/userspace/api"
)

// Tell adds to status what waits for its turn, for a confirmation, for the end of its bake or for a person, and where
// one can go back.
func (mg *Manager) Tell(s *api.Status) {
	r := mg.ledger.Record()
	mg.queue.tell(s)
	if c := r.Confirm; c != nil {
		s.Confirm = &api.Confirm{Digest: c.Digest, Name: c.Name(), Number: c.Number, Deadline: c.Deadline}
	}
	if r.Applied != nil && !r.BakeUntil.IsZero() {
		s.Bake = &api.Bake{Digest: r.Applied.Digest, Number: r.Applied.Number, Until: r.BakeUntil}
		if d, done, err := mg.backs.use(); err == nil {
			s.Bake.Waits = mg.bake.idleReason(d)
			done()
		}
	}
	if k := r.LastKnownGood; k != nil {
		s.LastKnownGood = &api.Known{Digest: k.Digest, Name: k.Name(), Number: k.Number, Since: k.At}
	}
	s.Stored = mg.archive.ways()
	if h := r.Held; h != nil {
		s.Problems = append(s.Problems, api.Problem{Code: "candidate_held", Since: h.Since,
			Message: fmt.Sprintf("generation %d (%s) is held: %s", h.Number, h.Name(), h.Reason),
			Fix:     fmt.Sprintf("try it again: spillway apply --stored %d --confirm 5m", h.Number)})
	}
}
