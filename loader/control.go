// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"sync/atomic"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Control is the control word: what a packet reads once to learn which slots count.
type Control struct {
	Mode      bpf.Mode
	Stable    uint8 // slot; 0 is the empty one
	Candidate uint8
	Previous  uint8
	Host      uint8
	Canary    uint16 // share of sources that the candidate decides, permille
	Epoch     uint32 // grows with every change
}

// The layout is drawn in bpf/types.h.
const (
	controlStable    = 2
	controlCandidate = 4
	controlPrevious  = 6
	controlHost      = 8
	controlCanary    = 10
	controlEpoch     = 32

	canaryAll = 1000
)

func unpackControl(w uint64) Control {
	slot := func(shift uint) uint8 { return uint8(w >> shift & 3) }
	return Control{
		Mode:      bpf.Mode(w & 3),
		Stable:    slot(controlStable),
		Candidate: slot(controlCandidate),
		Previous:  slot(controlPrevious),
		Host:      slot(controlHost),
		Canary:    uint16(w >> controlCanary & 1023),
		Epoch:     uint32(w >> controlEpoch),
	}
}

func (c Control) pack() uint64 {
	return uint64(c.Mode)&3 | uint64(c.Stable)&3<<controlStable | uint64(c.Candidate)&3<<controlCandidate |
		uint64(c.Previous)&3<<controlPrevious | uint64(c.Host)&3<<controlHost |
		uint64(min(c.Canary, canaryAll))<<controlCanary | uint64(c.Epoch)<<controlEpoch
}

// Control returns the control word as it is now.
func (d *Dataplane) Control() Control {
	return unpackControl(atomic.LoadUint64(&d.words.at.Control))
}

// swap changes the control word by one compare-and-swap. It tries again when somebody else was faster, with what they
// left: edit sees each state that it replaces, and its refusal leaves everything as it is.
func (d *Dataplane) swap(edit func(*Control) error) (Control, error) {
	for {
		old := atomic.LoadUint64(&d.words.at.Control)
		next := unpackControl(old)
		if err := edit(&next); err != nil {
			return unpackControl(old), err
		}
		next.Epoch++
		if atomic.CompareAndSwapUint64(&d.words.at.Control, old, next.pack()) {
			return next, nil
		}
	}
}

// Change says what Publish changes; nil leaves a field as it is.
type Change struct {
	Host      *uint8
	Stable    *uint8 // the old stable becomes previous
	Candidate *uint8
	Canary    *uint16 // permille
	Mode      *bpf.Mode
	// KeepPrevious leaves previous where it is: the new stable is the old bundle, compiled for a new host file, and a
	// rollback must still find the bundle before it.
	KeepPrevious bool
}

// Publish makes all of the change at once: a packet sees the state before or after it, never between.
func (d *Dataplane) Publish(c Change) (Control, error) {
	return d.swap(func(w *Control) error {
		if c.Host != nil {
			w.Host = *c.Host
		}
		if c.Mode != nil {
			w.Mode = *c.Mode
		}
		if c.Candidate != nil {
			w.Candidate = *c.Candidate
		}
		if c.Canary != nil {
			w.Canary = *c.Canary
		}
		if c.Stable != nil && *c.Stable != w.Stable {
			if !c.KeepPrevious {
				w.Previous = w.Stable
			}
			w.Stable = *c.Stable
			if w.Candidate == w.Stable {
				w.Candidate, w.Canary = bpf.SlotEmpty, 0
			}
		}
		return w.check()
	})
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

// Promote makes the candidate stable and the stable previous.
func (d *Dataplane) Promote() (Control, error) {
	return d.swap(func(w *Control) error {
		if w.Candidate == bpf.SlotEmpty {
			return ErrNoCandidate
		}
		w.Previous, w.Stable, w.Candidate, w.Canary = w.Stable, w.Candidate, bpf.SlotEmpty, 0
		return nil
	})
}

// Withdraw ends the candidate. ErrNoCandidate when there is none.
func (d *Dataplane) Withdraw() (Control, error) {
	return d.swap(func(w *Control) error {
		if w.Candidate == bpf.SlotEmpty {
			return ErrNoCandidate
		}
		w.Candidate, w.Canary = bpf.SlotEmpty, 0
		return nil
	})
}

// Rollback makes the previous generation stable again and ends a candidate. There is then no previous: going back
// twice never returns to what was left.
func (d *Dataplane) Rollback() (Control, error) {
	return d.swap(func(w *Control) error {
		if w.Previous == bpf.SlotEmpty {
			return ErrNoPrevious
		}
		w.Stable, w.Previous, w.Candidate, w.Canary = w.Previous, bpf.SlotEmpty, bpf.SlotEmpty, 0
		return nil
	})
}

// DropGenerations points everything at the empty slot: no bundle counts, everything but bans passes.
func (d *Dataplane) DropGenerations() (Control, error) {
	return d.swap(func(w *Control) error {
		w.Stable, w.Previous, w.Candidate, w.Canary = bpf.SlotEmpty, bpf.SlotEmpty, bpf.SlotEmpty, 0
		return nil
	})
}

// ModeOf returns the control word's mode for a host file's.
func ModeOf(m config.Mode) bpf.Mode {
	if m == config.ModeEnforce {
		return bpf.DataplaneModeMODE_ENFORCE
	}
	return bpf.DataplaneModeMODE_OBSERVE
}
