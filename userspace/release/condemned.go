// SPDX-License-Identifier: Apache-2.0

package release

import (
	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// Condemned is a set with which starts ended before they settled.
type Condemned struct {
	Digest config.Digest
	Empty  bool   // nothing takes its place; else what was in force before it does
	Reason string // a sentence
}

// without returns what is built in the place of what was in force, where that is what starts died of.
func (c *Condemned) without(stable, previous *config.Digest) (now, before *config.Digest) {
	switch {
	case c == nil || stable == nil || *stable != c.Digest:
		return stable, previous
	case c.Empty:
		return nil, nil
	}
	return previous, nil
}

// LeaveCondemned goes back from such a set, before anything of it is read: whoever reads it may be the next to die of
// it. Where the kernel does not hold it, as after a reboot, the record alone goes back, so that the start brings
// something else. The change lock is held.
func (mg *Manager) LeaveCondemned(d Kernel, c Condemned) error { return mg.backs.leave(d, c) }

func (ba *backs) leave(d trial, c Condemned) error {
	ba.swap.Lock()
	defer ba.swap.Unlock()
	all, err := d.Generations()
	if err != nil {
		return err
	}
	word, by := d.Control(), ledger.Itself()
	b := &state.Back{At: ba.ledger.Now(), UID: by.UID, By: by.User, Reason: c.Reason}
	if g, ok := view.InSlot(all, word.Candidate); ok && g.Digest == c.Digest {
		ba.swap.wentBack.Add(1)
		change, err := ba.candidates.end(d, g, b)
		_, err = ba.wentDown(b, change, err)
		return err
	}
	if g, ok := view.InSlot(all, word.Stable); !ok || g.Digest != c.Digest {
		return ba.leaveOnDisk(c, b)
	}
	to, number := api.ToEmpty, uint32(0)
	before, ok := view.InSlot(all, word.Previous)
	if !c.Empty && word.Previous != bpf.SlotEmpty && ok && before.Digest != c.Digest {
		to, number = "", before.Number // named by its number, it does not end a candidate instead
	}
	ba.swap.wentBack.Add(1)
	change, err := ba.rollback(d, to, word.Epoch, number, b)
	_, err = ba.wentDown(b, change, err)
	return err
}

// leaveOnDisk takes a set out of what comes back.
func (ba *backs) leaveOnDisk(c Condemned, b *state.Back) error {
	b.Way, b.Left, b.Detail = state.BackEmpty, c.Digest, []string{"left " + c.Digest.Short()}
	if before := ba.ledger.Record().Previous; !c.Empty && before != nil && before.Digest != c.Digest {
		b.Way, b.To = state.BackGeneration, *before
	}
	_, err := ba.wentDown(b, &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone}, nil)
	return err
}
