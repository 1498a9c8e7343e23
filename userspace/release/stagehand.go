// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	engine "github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/view"
)

// Stage is what the room above has on its way: this room leaves it alone.
type Stage interface {
	// Owns reports whether a generation is one of its rollouts': it ends its trial and its bake.
	Owns(number uint32) bool
	// Needs are the bundles of what waits or is held there.
	Needs() []config.Digest
	// Keeps are the generations that must stay in their slots, whatever their role is.
	Keeps() []uint32
	// Traffic is what the last rollout counted here; zero: none did.
	Traffic() engine.Traffic
}

// noStage has nothing on its way.
type noStage struct{}

func (noStage) Owns(uint32) bool        { return false }
func (noStage) Needs() []config.Digest  { return nil }
func (noStage) Keeps() []uint32         { return nil }
func (noStage) Traffic() engine.Traffic { return engine.Traffic{} }

// Stagehand does what the engine of stages asks for, so that a repetition changes nothing. It decides nothing: each
// deed looks at the word, does what is not done yet, and leaves a word that has moved meanwhile as it is.
//
//	Build      what an order makes of what is stable, aside          change lock, for as long as it takes
//	Publish    a candidate, Share its share, Lease its lease         swap, as a rollback does: they wait for no build
//	Promote    onto the generation that it was built on, or nothing
//	TakeBack   a candidate or what is stable
type Stagehand struct {
	*site
	use       func() (Kernel, func(), error)
	disk      setFiles
	change    *changing
	swap      *swap
	builder   *builder
	guard     *guard
	bake      *bake
	orders    *orders
	lease     func() Lease
	takeNotes func()
}

// Look reads what the engine must know of the kernel: the word, the numbers in its slots, and whether it decides. It is
// read twice where somebody changed the word meanwhile; what cannot be read is not known.
func (sh *Stagehand) Look() (k engine.Kernel, all []loader.GenerationInfo) {
	d, done, err := sh.use()
	if err != nil {
		return k, nil
	}
	defer done()
	for range 3 {
		c := d.Control()
		if c.Host == bpf.SlotEmpty {
			return engine.Kernel{}, nil // it is filled in a moment
		}
		if all, err = d.Generations(); err != nil {
			return engine.Kernel{}, nil
		}
		trips, lapsed := d.Tripped(), sh.lease().Lapsed()
		if now := numberIn(all, c.Candidate); now != 0 && c.Canary > 0 && (!d.Lease().Active() || trips.Ended == now) {
			lapsed = now // also of an agent before this one, and what a packet met
		}
		deciding := sh.bake.idleReason(d) == ""
		if d.Control().Epoch != c.Epoch {
			continue
		}
		k = engine.Kernel{Known: true, Lapsed: lapsed, Deciding: deciding, Observes: c.Mode == bpf.ModeObserve,
			Stable: numberIn(all, c.Stable), Candidate: numberIn(all, c.Candidate), Beside: numberIn(all, d.Beside()),
			Resident: []uint32{}}
		for _, number := range []uint32{k.Stable, k.Candidate} { // a candidate leaves first, then the other is seen
			if trips.HasSpent(number) {
				k.Tripped = number
			}
		}
		for _, g := range all {
			k.Resident = append(k.Resident, g.Number)
		}
		if k.Candidate != 0 {
			k.Share = c.Canary
		}
		if confirm := sh.ledger.Record().Confirm; confirm != nil && confirm.Number == k.Candidate {
			k.Candidate, k.Share = 0, 0 // it is of a change that went in directly, and ends with its confirmation
		}
		return k, all
	}
	return engine.Kernel{}, nil
}

func numberIn(all []loader.GenerationInfo, slot uint8) uint32 {
	g, _ := view.InSlot(all, slot)
	return g.Number
}

func numbered(all []loader.GenerationInfo, number uint32) (loader.GenerationInfo, bool) {
	i := slices.IndexFunc(all, func(g loader.GenerationInfo) bool { return g.Number == number })
	if i < 0 || number == 0 {
		return loader.GenerationInfo{}, false
	}
	return all[i], true
}

// slotsOf are the slots of generations.
func slotsOf(all []loader.GenerationInfo, numbers []uint32) (out []uint8) {
	for _, n := range numbers {
		if g, ok := numbered(all, n); ok {
			out = append(out, g.Slot)
		}
	}
	return out
}

// stagePatience is how long a deed waits for whoever changes something; the engine asks again a second later.
const stagePatience = 200 * time.Millisecond

// errElsewhere: the word is not what the deed is for. The engine sees that at its next look.
var errElsewhere = errors.New("the control word has moved, or the generation is not in a slot")

// deed runs under the swap lock with what the kernel shows. alone: nobody builds or reloads meanwhile.
func (sh *Stagehand) deed(alone bool, do func(d Kernel, all []loader.GenerationInfo) error) error {
	if alone {
		for deadline := time.Now().Add(stagePatience); !sh.change.TryLock(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				return errBusy
			}
		}
		defer sh.change.Unlock()
	}
	d, done, err := sh.use()
	if err != nil {
		return err
	}
	defer done()
	sh.swap.Lock()
	defer sh.swap.Unlock()
	sh.takeNotes()
	all, err := d.Generations()
	if err != nil {
		return err
	}
	return do(d, all)
}

// Publish makes a generation the candidate, which decides for a share. A candidate that decides and that it takes the
// place of hands its lease on.
func (sh *Stagehand) Publish(number, on uint32, share uint16) error {
	return sh.deed(true, func(d Kernel, all []loader.GenerationInfo) error {
		c := d.Control()
		g, there := numbered(all, number)
		if !there || numberIn(all, c.Stable) != on || c.Stable == g.Slot {
			return errElsewhere
		}
		if err := sh.waitsForConfirm(c, all); err != nil {
			return err
		}
		if c.Candidate == g.Slot && c.Canary == share {
			return nil
		}
		if err := sh.grant(number, c, share); err != nil {
			return err
		}
		pair := true
		_, err := d.Publish(loader.Change{Candidate: &g.Slot, Canary: &share, Pair: &pair, Seen: &c.Epoch})
		return err
	})
}

// waitsForConfirm is an error while a candidate waits for its confirmation that came in directly. It keeps its place
// and its time: somebody looks at what it does.
func (sh *Stagehand) waitsForConfirm(c loader.Control, all []loader.GenerationInfo) error {
	confirm := sh.ledger.Record().Confirm
	if confirm == nil || numberIn(all, c.Candidate) != confirm.Number {
		return nil
	}
	return fmt.Errorf("generation %d waits for its confirmation", confirm.Number)
}

// Share lets the candidate decide for another share of the sources.
func (sh *Stagehand) Share(number uint32, share uint16) error {
	return sh.deed(false, func(d Kernel, all []loader.GenerationInfo) error {
		c := d.Control()
		switch {
		case numberIn(all, c.Candidate) != number:
			return errElsewhere
		case c.Canary == share:
			return nil
		}
		if err := sh.grant(number, c, share); err != nil {
			return err
		}
		_, err := d.Publish(loader.Change{Canary: &share, Seen: &c.Epoch})
		return err
	})
}

// grant gives the lease of a candidate that is about to decide. Where one decides already its lease goes on, and one
// that is dead is not revived. No lease reaches further than a look that does not come.
func (sh *Stagehand) grant(number uint32, c loader.Control, share uint16) error {
	lease := sh.host().Guards.Lease
	switch {
	case share == 0:
		sh.lease().Release()
	case c.Candidate == bpf.SlotEmpty || c.Canary == 0:
		sh.lease().Hold(number, lease, loader.In(lease))
	case !sh.lease().GoOn(number, lease, loader.In(lease)):
		return fmt.Errorf("the lease of generation %d is over", number)
	}
	return nil
}

// Lease says that somebody looked at what the candidate does: it may decide for one lease more.
func (sh *Stagehand) Lease(number uint32) error {
	return sh.deed(false, func(d Kernel, all []loader.GenerationInfo) error {
		c := d.Control()
		switch {
		case numberIn(all, c.Candidate) != number || d.Tripped().Has(number):
			return errElsewhere
		case c.Canary == 0:
			return nil // it decides for nobody
		}
		return sh.grant(number, c, c.Canary)
	})
}
