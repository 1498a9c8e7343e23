// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"sync/atomic"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Control is the control word: what a packet reads once to learn which slots count. Its methods are pure: each returns
// the word after a change, with the next epoch, or the word as it is and why it is refused.
type Control struct {
	Mode      bpf.Mode
	Stable    uint8 // slot; 0 is the empty one
	Candidate uint8
	Previous  uint8
	Host      uint8
	Shadow    bool   // of a rollout, as are the next two; no packet looks at it
	Pair      bool   // packets look at what the lanes compare
	Budget    bool   // what decides for everybody is held to its budget
	Canary    uint16 // share of sources that the candidate decides, permille
	Epoch     uint32 // grows with every change
}

// unpackControl reads the layout that is drawn in bpf/types.h.
func unpackControl(w uint64) Control {
	slot := func(shift bpf.ControlShift) uint8 { return uint8(w >> shift & 15) }
	flag := func(shift bpf.ControlShift) bool { return w>>shift&1 != 0 }
	return Control{
		Mode:      bpf.Mode(w & 3),
		Stable:    slot(bpf.ControlStable),
		Candidate: slot(bpf.ControlCandidate),
		Previous:  slot(bpf.ControlPrevious),
		Host:      slot(bpf.ControlHost),
		Shadow:    flag(bpf.ControlShadow),
		Pair:      flag(bpf.ControlPair),
		Budget:    flag(bpf.ControlBudget),
		Canary:    uint16(w >> bpf.ControlCanary & 1023),
		Epoch:     uint32(w >> bpf.ControlEpoch),
	}
}

func (c Control) pack() uint64 {
	slot := func(s uint8, shift bpf.ControlShift) uint64 { return uint64(s) & 15 << shift }
	flag := func(f bool, shift bpf.ControlShift) uint64 {
		if f {
			return 1 << shift
		}
		return 0
	}
	return uint64(c.Mode)&3 | slot(c.Stable, bpf.ControlStable) | slot(c.Candidate, bpf.ControlCandidate) |
		slot(c.Previous, bpf.ControlPrevious) | slot(c.Host, bpf.ControlHost) |
		flag(c.Shadow, bpf.ControlShadow) | flag(c.Pair, bpf.ControlPair) | flag(c.Budget, bpf.ControlBudget) |
		uint64(min(c.Canary, bpf.CanaryAll))<<bpf.ControlCanary | uint64(c.Epoch)<<bpf.ControlEpoch
}

// Change says what Publish changes; nil leaves a field as it is.
type Change struct {
	Host      *uint8
	Stable    *uint8 // the old stable becomes previous
	Candidate *uint8
	Canary    *uint16 // permille
	Mode      *bpf.Mode
	// Pair has packets look at the comparisons, Budget holds what decides for everybody to its budget. Both end with the
	// candidate, and with a stable generation that is left, unless the same change says otherwise.
	Pair, Budget *bool
	// Seen is the epoch of the word for which this was prepared: ErrMoved when it has another by now. Whoever looked at it
	// before may have been stopped in between, while somebody went back.
	Seen *uint32
	// Back says that stable is left for a generation of before: the candidate ends, and there is no previous.
	Back bool
	// KeepPrevious leaves previous where it is: the new stable is the old bundle, compiled for a new host file, and a
	// rollback must still find the bundle before it.
	KeepPrevious bool
	// NoPrevious leaves no previous.
	NoPrevious bool
	// Rebuilt are the numbers of the new stable where it is the old set, built again: pair and budget go on, and what had
	// used up its budget has done so under its new number.
	Rebuilt Rebuilt
}

// Rebuilt are the numbers that one set had before and has since it was built again. Zero: it was not.
type Rebuilt struct{ Was, Now uint32 }

// Publish makes all of the change at once.
func (c Control) Publish(change Change) (Control, error) {
	if change.Seen != nil && *change.Seen != c.Epoch {
		return c, ErrMoved
	}
	next := c
	if change.Host != nil {
		next.Host = *change.Host
	}
	if change.Mode != nil {
		next.Mode = *change.Mode
	}
	if change.Candidate != nil {
		next.Candidate = *change.Candidate
	}
	if change.Canary != nil {
		next.Canary = *change.Canary
	}
	if change.Stable != nil && *change.Stable != next.Stable {
		if !change.KeepPrevious {
			next.Previous = next.Stable
		}
		next.Stable = *change.Stable
		if change.Rebuilt == (Rebuilt{}) {
			next.Pair, next.Budget = false, false
		}
		if next.Candidate == next.Stable {
			next = next.withoutCandidate()
		}
	}
	if change.Back {
		next = next.withoutCandidate()
		next.Previous = bpf.SlotEmpty
	}
	if change.NoPrevious {
		next.Previous = bpf.SlotEmpty
	}
	if change.Pair != nil {
		next.Pair = *change.Pair
	}
	if change.Budget != nil {
		next.Budget = *change.Budget
	}
	if err := next.check(); err != nil {
		return c, err
	}
	return next.changed(), nil
}

func (c Control) check() error {
	for _, slot := range []uint8{c.Stable, c.Candidate, c.Previous, c.Host} {
		if slot >= bpf.Slots {
			return fmt.Errorf("slot %d: there are only %d", slot, bpf.Slots)
		}
	}
	if c.Candidate != bpf.SlotEmpty && (c.Candidate == c.Stable || c.Candidate == c.Previous) {
		return fmt.Errorf("slot %d cannot be candidate beside another role", c.Candidate)
	}
	return nil
}

// Promote makes the candidate stable and the stable previous. ErrNoCandidate when there is none.
func (c Control) Promote() (Control, error) {
	if c.Candidate == bpf.SlotEmpty {
		return c, ErrNoCandidate
	}
	c.Previous, c.Stable = c.Stable, c.Candidate
	return c.withoutCandidate().changed(), nil
}

// Withdraw ends the candidate. ErrNoCandidate when there is none.
func (c Control) Withdraw() (Control, error) {
	if c.Candidate == bpf.SlotEmpty {
		return c, ErrNoCandidate
	}
	return c.withoutCandidate().changed(), nil
}

// Rollback makes the previous generation stable again and ends a candidate. There is then no previous: going back
// twice never returns to what was left. ErrNoPrevious when there is none.
func (c Control) Rollback() (Control, error) {
	if c.Previous == bpf.SlotEmpty {
		return c, ErrNoPrevious
	}
	c.Stable, c.Previous = c.Previous, bpf.SlotEmpty
	return c.withoutCandidate().changed(), nil
}

// DropGenerations points everything at the empty slot: no bundle counts, everything but bans passes.
func (c Control) DropGenerations() (Control, error) {
	c.Stable, c.Previous = bpf.SlotEmpty, bpf.SlotEmpty
	return c.withoutCandidate().changed(), nil
}

// withoutCandidate ends the candidate and what belongs to its rollout.
func (c Control) withoutCandidate() Control {
	c.Candidate, c.Canary, c.Shadow, c.Pair, c.Budget = bpf.SlotEmpty, 0, false, false, false
	return c
}

func (c Control) changed() Control {
	c.Epoch++
	return c
}

// Control returns the control word as it is now.
func (ws *Words) Control() Control {
	return unpackControl(atomic.LoadUint64(&ws.at.Control))
}

// swap changes the control word by one compare-and-swap. It tries again when somebody else was faster, with what they
// left: edit sees each state that it replaces, and its refusal leaves everything as it is.
func (ws *Words) swap(edit func(Control) (Control, error)) (Control, error) {
	for {
		old := atomic.LoadUint64(&ws.at.Control)
		next, err := edit(unpackControl(old))
		if err != nil || atomic.CompareAndSwapUint64(&ws.at.Control, old, next.pack()) {
			return next, err
		}
	}
}

// Publish makes all of the change at once: a packet sees the state before or after it, never between.
func (ws *Words) Publish(change Change) (Control, error) {
	ws.inherit(change.Rebuilt)
	next, err := ws.swap(func(c Control) (Control, error) { return c.Publish(change) })
	ws.inherit(change.Rebuilt) // a packet on its way may have tripped it meanwhile
	return next, err
}

// Promote makes the candidate stable and the stable previous.
func (ws *Words) Promote() (Control, error) { return ws.swap(Control.Promote) }

// Withdraw ends the candidate. ErrNoCandidate when there is none.
func (ws *Words) Withdraw() (Control, error) { return ws.swap(Control.Withdraw) }

// Rollback makes the previous generation stable again. ErrNoPrevious when there is none.
func (ws *Words) Rollback() (Control, error) { return ws.swap(Control.Rollback) }

// DropGenerations points everything at the empty slot.
func (ws *Words) DropGenerations() (Control, error) { return ws.swap(Control.DropGenerations) }

// ModeOf returns the control word's mode for a host file's.
func ModeOf(m config.Mode) bpf.Mode {
	if m == config.ModeEnforce {
		return bpf.ModeEnforce
	}
	return bpf.ModeObserve
}
