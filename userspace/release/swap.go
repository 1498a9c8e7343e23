// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// swap is held while the control word and the record of it change together: for a moment. It is taken after the change lock. A
// rollback takes it alone, so that it never waits for a bundle that is being built; wentBack tells whoever builds.
type swap struct {
	sync.Mutex
	wentBack atomic.Uint64
	ended    func(*rollout) bool
}

// mark is what a builder saw when it began.
type mark struct {
	epoch    uint32
	wentBack uint64
	rollout  *rollout
}

var errWentBack = &api.Error{Code: api.CodeConflict, Message: "somebody rolled back meanwhile, so this is not published", Fix: "look at `spillway history`, then ask again"}

// seen is the mark of a builder that nobody asked for a rollout.
func (sw *swap) seen(d view.Kernel) mark {
	return mark{epoch: d.Control().Epoch, wentBack: sw.wentBack.Load()}
}

// moved refuses to publish what was built for another state: somebody went back meanwhile, and meant it. The swap lock
// is held.
func (sw *swap) moved(d view.Kernel, seen mark) error {
	switch {
	case sw.ended(seen.rollout):
		return &api.Error{Code: api.CodeCancelled, Message: "somebody ended this rollout meanwhile, so it is not published", Fix: "look at `spillway history`, then ask again"}
	case sw.wentBack.Load() != seen.wentBack:
		return errWentBack
	case d.Control().Epoch != seen.epoch:
		return &api.Error{Code: api.CodeConflict, Message: "somebody else changed the control word meanwhile; nothing changed", Fix: "look at `spillway status`, then ask again"}
	}
	return nil
}

// publishError tells who came between from a kernel that failed.
func publishError(err error) error {
	if errors.Is(err, loader.ErrMoved) {
		return movedError()
	}
	return fmt.Errorf("nothing changed: %w", err)
}

func movedError() error {
	return &api.Error{Code: api.CodeConflict, Message: "somebody else changed the control word meanwhile; nothing changed", Fix: "look at `spillway status`, then ask again"}
}
