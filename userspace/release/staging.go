// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	engine "github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// Built is a generation in a slot that nobody names yet.
type Built struct {
	Number uint32
	On     uint32 // what was stable when it was built
	Set    config.Digest
	Way    engine.Way // that the change takes on that
}

// Build builds what an order makes of what is stable, aside. The change lock is held for as long as that takes.
func (sh *Stagehand) Build(o *Order) (*Built, error) {
	return sh.build(o, func(d Kernel, s *standing) (uint32, error) {
		_, number, err := sh.builder.set(d, s.next, o.Kind == api.RolloutHost)
		if err != nil {
			return 0, BuildError(err)
		}
		return number, nil
	})
}

func (sh *Stagehand) build(o *Order, make func(Kernel, *standing) (number uint32, err error)) (*Built, error) {
	d, done, err := sh.change.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	w, err := o.wish(sh.disk)
	if err != nil {
		return nil, fmt.Errorf("read the bundle: %w", err)
	}
	if err := sh.guard.protects(&rollout{wish: w}); err != nil {
		return nil, err
	}
	if f := sh.file(); !w.host.IsZero() && (f.Unpublished || w.host != f.Change()) {
		return nil, &api.Error{Code: api.CodeConflict, Message: "the host file in force is another than the one of this rollout"}
	}
	s, err := sh.orders.standing(d, w)
	if err != nil {
		return nil, err
	}
	if err := sh.disk.SaveSet(s.next); err != nil {
		return nil, err
	}
	number, err := make(d, s)
	if err != nil {
		return nil, err
	}
	on := uint32(0)
	if s.there {
		on = s.stable.Number
	}
	g := generation(s.next, number, sh.ledger.Now(), o.By)
	if err := sh.ledger.Update(func(r *state.Record) { r.Try(g) }); err != nil {
		sh.log.Warn("a generation on trial is not in the record on disk yet", "number", number, "error", err)
	}
	out := &Built{Number: number, On: on, Set: s.next.Digest}
	out.Way.Kind, out.Way.Delta = kindOf(s, w, sh.ledger.Now())
	return out, nil
}

// Promotion is what shall become stable, and in which case.
type Promotion struct {
	Number    uint32
	On        uint32 // only if this is stable
	Observing bool   // only while the host observes
	Bakes     bool   // no engine sees it through a bake: this room does
	Joins     bool   // it bakes with what is stable: previous stays what that would go back to
	Budget    bool   // under the kernel's budget
	Order     *Order
}

// Promote makes a generation stable, if what is stable is what it was built on; else it changes nothing. The record
// gets it as it gets each generation that is in force.
func (sh *Stagehand) Promote(p Promotion) error {
	return sh.deed(true, func(d Kernel, all []loader.GenerationInfo) error {
		c := d.Control()
		g, there := numbered(all, p.Number)
		stable := numberIn(all, c.Stable)
		switch {
		case !there:
			return errElsewhere
		case stable == p.Number:
			return sh.nowStable(g, p) // an agent may have died between word and record
		case stable != p.On, p.Observing && c.Mode != bpf.ModeObserve, d.Tripped().Has(p.Number):
			return errElsewhere // a trip counts for what is stable, too
		}
		if err := sh.waitsForConfirm(c, all); err != nil {
			return err // with its confirmation it would come without this change
		}
		pair, budget := c.Pair || p.Budget, c.Budget && p.Joins || p.Budget
		next, err := d.Publish(loader.Change{Stable: &g.Slot, KeepPrevious: p.Joins, Pair: &pair, Budget: &budget,
			Seen: &c.Epoch})
		if err != nil {
			return err
		}
		if d.Beside() == g.Slot {
			if err := d.SetBeside(bpf.SlotEmpty); err != nil {
				sh.log.Warn("what became stable stays beside the candidate, too", "number", p.Number, "error", err)
			}
		}
		if next.Candidate == bpf.SlotEmpty {
			sh.lease().Release()
		}
		return sh.nowStable(g, p)
	})
}

// nowStable writes down that a generation is in force, once.
func (sh *Stagehand) nowStable(g loader.GenerationInfo, p Promotion) error {
	r, o := sh.ledger.Record(), p.Order
	if r.Applied != nil && r.Applied.Number == g.Number && (p.Bakes || r.BakeUntil.IsZero()) {
		return nil
	}
	until := time.Time{}
	if p.Bakes {
		until = sh.ledger.Now().Add(sh.host().Guards.Bake).UTC()
	}
	e := o.entry(sh.site, o.Kind)
	e.Digest, e.Number, e.Outcome = g.Digest, g.Number, api.OutcomeApplied
	entry := state.Generation{Digest: g.Digest, Members: sh.ledger.RecordMembers(g.Digest), Number: g.Number,
		At: e.At.UTC(), By: o.By}
	err := sh.ledger.Update(func(r *state.Record) {
		again := r.Applied != nil && r.Applied.Number == g.Number
		r.Apply(entry, until)
		if l := o.Leaves; l != nil && !again {
			r.Forsake(*l, quarantined(l.Name, l.Digest, &e))
		}
	})
	sh.tally.applied(e.Outcome)
	sh.ledger.Audit(e)
	return err
}

// TakeBack takes a generation out of the word: a candidate ends, and a stable one gives way to another, or to nothing
// where that is gone. It waits for nothing that is built.
func (sh *Stagehand) TakeBack(number, to uint32, why string) error {
	return sh.deed(false, func(d Kernel, all []loader.GenerationInfo) error {
		c := d.Control()
		switch number {
		case 0:
			return nil
		case numberIn(all, c.Candidate):
			if c.Canary > 0 {
				d.SetTripped(number) // before the word: at no moment may it decide again
			}
			sh.lease().Release()
			_, err := d.Withdraw()
			return err
		case numberIn(all, d.Beside()):
			return d.SetBeside(bpf.SlotEmpty)
		case numberIn(all, c.Stable):
			return sh.goBack(d, all, to, why)
		}
		return nil
	})
}

// goBack makes another generation stable: the one that is asked for, or the same set under another number. Where
// neither is in a slot nothing is in force, and everything passes: no gate asked about what else is in a slot, and it
// may be condemned. There is no previous then: nobody goes back to what was taken back.
func (sh *Stagehand) goBack(d Kernel, all []loader.GenerationInfo, to uint32, why string) error {
	c := d.Control()
	left := numberIn(all, c.Stable)
	g, there := numbered(all, to)
	if to != 0 && !there {
		g, there = sh.again(d, all, left, to)
		sh.log.Error("the generation to go back to is not in a slot", "wanted", to, "takes", g.Number)
	}
	slot := uint8(bpf.SlotEmpty)
	if there {
		slot = g.Slot
	}
	if _, err := d.Publish(loader.Change{Stable: &slot, Back: true, Seen: &c.Epoch}); err != nil {
		return err
	}
	sh.lease().Release()
	e := sh.ledger.Entry(ledger.Itself(), "take_back", why)
	e.Outcome, e.Digest, e.Number, e.Name = api.OutcomeRolledBack, g.Digest, g.Number, sh.ledger.NameOf(g.Digest)
	e.Detail = []string{fmt.Sprintf("left generation %d", left)}
	if to != 0 && !there {
		e.Detail = append(e.Detail,
			fmt.Sprintf("generation %d is in no slot: nothing is in force, and everything passes", to))
	}
	bake, members := sh.host().Guards.Bake, sh.ledger.RecordMembers(g.Digest)
	err := sh.ledger.Update(func(r *state.Record) {
		now := state.Generation{Digest: g.Digest, Members: members, Number: g.Number, At: e.At.UTC(), By: e.User}
		if there {
			r.RollBack(now, state.Quarantined{At: e.At}, bake)
		} else {
			r.LeaveAll()
		}
	})
	sh.tally.rolledBack()
	sh.ledger.Audit(e)
	return err
}

// again finds what was built from the same set as a generation that is in no slot any more: neither what is left, nor
// what tripped, nor a set of which something is in quarantine.
func (sh *Stagehand) again(d trial, all []loader.GenerationInfo, left, number uint32) (g loader.GenerationInfo,
	there bool) {
	was, known := sh.ledger.Record().Numbered(number)
	if !known || sh.guard.quarantineHold(was) != nil {
		return g, false
	}
	trips := d.Tripped()
	i := slices.IndexFunc(all, func(g loader.GenerationInfo) bool {
		return g.Digest == was.Digest && g.Number != left && !trips.Has(g.Number)
	})
	if i < 0 {
		return g, false
	}
	return all[i], true
}

// KnownGood writes down that the engine saw a generation through its bake.
func (sh *Stagehand) KnownGood(number uint32) error {
	return sh.deed(false, func(d Kernel, all []loader.GenerationInfo) error {
		g, _ := numbered(all, number)
		r := sh.ledger.Record()
		if r.Applied == nil || numberIn(all, d.Control().Stable) != number || r.Applied.Number != number {
			return errElsewhere
		}
		if k := r.LastKnownGood; k != nil && k.Digest == r.Applied.Digest && k.Number == number {
			return nil
		}
		if err := sh.bake.disk.Whole(g.Digest); err != nil {
			sh.ledger.SetProblem(ledger.ProblemLKG,
				fmt.Sprintf("%s has baked, and cannot become last-known-good: %v", config.Digest(g.Digest).Short(), err),
				"apply the bundle again")
			return err
		}
		sh.bake.makeKnownGood(g.Digest)
		sh.ledger.ClearProblem(ledger.ProblemLKG)
		return nil
	})
}

// EndTrials forgets what the record says of generations that are not on trial any more.
func (sh *Stagehand) EndTrials(on []uint32) {
	r := sh.ledger.Record()
	if r.EndTrials(on) {
		_ = sh.ledger.Update(func(r *state.Record) { r.EndTrials(on) })
	}
}
