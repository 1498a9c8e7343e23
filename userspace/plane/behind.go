// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/view"
)

// Root is what can be read, and switched, of whatever decides.
type Root interface {
	view.Root
	Beat()
	Close() error
}

// OpenRoot opens the root of whatever decides.
func OpenRoot(folder string) (Root, error) {
	r, err := loader.OpenRoot(folder)
	if err != nil {
		return nil, err // never a nil *loader.Root in a Root
	}
	return r, nil
}

// signOfLife lets an agent look alive to a dataplane that it does not hold. There is no candidate to renew.
type signOfLife struct{ Root }

func (signOfLife) Lease() loader.Deadline   { return 0 }
func (signOfLife) SetLease(loader.Deadline) {}
func (signOfLife) SetTripped(uint32)        {}

// LookBehind opens the root of a dataplane that this agent does not hold, for its status. Where an upgrade from it is
// held the agent says that it lives; for a later build's dataplane it is not the agent.
func (pl *Plane) LookBehind(held bool) {
	pl.handle.mu.Lock()
	defer pl.handle.mu.Unlock()
	if pl.handle.before == nil {
		r, err := pl.Root(pl.Host().Paths.Pins)
		if err != nil {
			pl.Log.Error("the root of the dataplane that decides cannot be opened", "error", err)
			return
		}
		pl.handle.before = r
	}
	if held && pl.handle.beforeBeat == nil {
		pl.handle.beforeBeat = StartHeartbeat(signOfLife{pl.handle.before})
	}
}

// LookAway is called when this build's own dataplane decides, or the agent ends.
func (pl *Plane) LookAway() {
	pl.handle.mu.Lock()
	defer pl.handle.mu.Unlock()
	if pl.handle.beforeBeat != nil {
		pl.handle.beforeBeat.Close()
	}
	if pl.handle.before != nil {
		_ = pl.handle.before.Close()
	}
	pl.handle.before, pl.handle.beforeBeat = nil, nil
}

// behindReading is what is known of a dataplane that this agent cannot read; false when none is looked at.
func (pl *Plane) behindReading() (view.Reading, bool) {
	pl.handle.mu.RLock()
	defer pl.handle.mu.RUnlock()
	if pl.handle.before == nil {
		return view.Reading{}, false
	}
	return view.Behind(pl.handle.before, pl.Network, pl.interfaceNames(),
		"a dataplane of another layout decides, and this agent cannot read it"), true
}
