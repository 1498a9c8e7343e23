// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// Result is how a taste ended, and what the child built.
type Result struct {
	rollout.Taste
	Digest config.Digest // of the set
	// Compiled is the moment at which it was compiled, and the sums of its maps: what a record needs.
	Compiled state.Compiled
	Warnings []string // for people: features that nothing can reach, golden clients that cannot be shown
	Folder   string   // where the maps are pinned
	Took     time.Duration
	Peak     uint64 // bytes of memory that the child had at most
}

// lie says what of an answer cannot be; "" when nothing. What the agent asked for is not believed of the child: it goes
// into the record, and what is built again is built from that.
func (r *Result) lie(req *Request) string {
	switch c := &r.Compiled; {
	case r.Outcome > rollout.TasteFailed:
		return fmt.Sprintf("It ended in a way that nobody knows: %d.", r.Outcome)
	case r.Outcome != rollout.TastePassed:
	case r.ID != req.ID || r.Number != req.Number || r.Digest != req.Digest:
		return fmt.Sprintf("It built generation %d of %s.", r.Number, r.Digest.Short())
	case c.Number != req.Number || c.Salt != req.Salt || c.MonotonicNS != req.Clock.MonotonicNS ||
		!c.Wall.Equal(req.Clock.Wall):
		return fmt.Sprintf("It compiled generation %d with another clock or salt.", c.Number)
	}
	return ""
}

// Slots are where a tasted generation goes.
type Slots interface {
	Adopt(t loader.Tasted, beside ...uint8) (uint8, error)
}

// Adopt puts what the child built into a spare slot, leaves the slots beside it as they are, and takes the folder away.
// The taste that it returns is the one to report: maps that are not what the child said are TasteWrong.
func (r Result) Adopt(sl Slots, beside ...uint8) (uint8, rollout.Taste) {
	if r.Outcome != rollout.TastePassed {
		return 0, r.Taste
	}
	t := r.Taste
	built := loader.Tasted{Folder: r.Folder, Number: r.Number, Digest: r.Digest, Sums: r.Compiled.Sums}
	slot, err := sl.Adopt(built, beside...)
	err = errors.Join(err, remove(r.Folder))
	switch {
	case err == nil:
		return slot, t
	case errors.Is(err, loader.ErrWrongTable):
		t.Outcome = rollout.TasteWrong
	default:
		t.Outcome = rollout.TasteFailed
	}
	t.Number, t.Detail = 0, err.Error()
	return 0, t
}

// Sweep takes away what children left that were killed, or whose agent was. Nothing of it is in force.
func Sweep(pins string) error { return remove(root(pins)) }

func remove(folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("take away what a taste left: %w", err)
	}
	return nil
}
