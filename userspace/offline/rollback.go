// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// Rollback goes back as the agent does: a candidate that decides is ended and stable stays; otherwise previous becomes
// stable, or what the request names, and a candidate that decides for nobody leaves with it. It is one
// compare-and-swap, so it is made beside an agent that holds the state and does not answer, too: that one finds a note
// when it goes on, publishes nothing that it was building, and writes the rollback down.
func (s *Session) Rollback(r api.RollbackRequest) (*api.Change, error) {
	if err := s.readable("a rollback is refused"); err != nil {
		return nil, err
	}
	book, err := lock(s.places.State, s.now)
	hung := errors.Is(err, ErrHeld)
	if err != nil && !hung {
		return nil, err
	}
	if book != nil {
		defer book.close()
	}
	uid, by := caller()
	b := back{Session: s, names: ledger.NamesIn(s.places.State), hung: hung,
		Back: state.Back{At: s.now().UTC(), UID: uid, By: by, Reason: r.Reason}}
	if err := b.goTo(r.To); err != nil {
		return nil, err
	}
	c := b.change
	if hung {
		told := "an agent holds the state and does not answer: it writes this down when it goes on, or the next one does"
		if err := state.LeaveNote(s.places.State, b.Back); err != nil {
			told = fmt.Sprintf(
				"the kernel has it; record and history do not, because the agent that holds them does not answer: %v", err)
		}
		c.Details = notes(b.told, told)
		return c, nil
	}
	forgotten := book.remember(s.places.bake(), func(known *state.Record) { known.GoBack(b.Back, s.places.bake()) })
	noted := book.record(b.Entry(c.Name))
	c.Details = notes(b.told, book.note, forgotten, noted)
	return c, nil
}

// back is one way back: the change, and what is written down of it.
type back struct {
	*Session
	state.Back
	names map[config.Digest]string
	hung  bool

	change *api.Change
	told   string
}

func (b *back) goTo(to string) error {
	c := b.d.Control()
	switch to {
	case "":
		if c.Candidate != bpf.SlotEmpty && c.Canary != 0 { // one in shadow harms nobody: what harms is what is stable
			return b.endCandidate(c)
		}
		if c.Previous == bpf.SlotEmpty {
			return &NoPrevious{b.stored()}
		}
		return b.toSlot(c, c.Previous)
	case api.ToObserve:
		return b.toObserve(c)
	case api.ToEmpty:
		return b.toEmpty(c)
	}
	number, err := strconv.ParseUint(to, 10, 32)
	if err != nil || number == 0 {
		return fmt.Errorf("%q is no way back; valid: the number of a generation, observe, empty", to)
	}
	all, err := b.d.Generations()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(g loader.GenerationInfo) bool { return g.Number == uint32(number) })
	switch {
	case i >= 0 && all[i].Slot == c.Stable:
		return fmt.Errorf("generation %d is in force already; nothing changed", number)
	case i < 0:
		return fmt.Errorf("generation %d is not in the kernel, and only an agent can build it again; nothing changed\n  fix: start the agent, then say it again; meanwhile: %s",
			number, api.Ways(nil))
	case b.hung && all[i].Slot != c.Previous:
		return fmt.Errorf("generation %d has no role, and the agent that does not answer may be building over it; nothing changed\n  fix: restart the agent, then say it again; meanwhile: %s",
			number, api.Ways(nil))
	}
	return b.toSlot(c, all[i].Slot)
}

// NoPrevious says that there is no previous generation, and where else one can go. It is a loader.ErrNoPrevious.
type NoPrevious struct{ Stored []api.Known }

func (e *NoPrevious) Error() string {
	return "there is no previous generation to go back to; nothing changed\n  fix: " + api.Ways(e.Stored)
}

func (e *NoPrevious) Unwrap() error { return loader.ErrNoPrevious }

// stored lists what the kernel still holds: without an agent nothing else can come back.
func (b *back) stored() []api.Known {
	var out []api.Known
	all, err := b.d.Generations()
	if err != nil || b.hung {
		return nil
	}
	for _, g := range all {
		if g.Role == loader.RoleIdle {
			out = append(out, api.Known{Digest: g.Digest, Name: b.names[g.Digest], Number: g.Number, Since: g.Built})
		}
	}
	return out
}

// tell names the generation of a slot in the change.
func (b *back) tell(slot uint8, format string) {
	c := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone}
	if g, ok := b.generation(slot); ok {
		c.Number, c.Digest = g.Number, g.Digest
		c.Name = b.names[c.Digest]
	}
	c.Message = fmt.Sprintf(format, c.Number)
	b.To = state.Generation{Digest: c.Digest, Members: state.One(c.Name, c.Digest), Number: c.Number, At: b.At, By: b.By}
	b.change = c
}

func (b *back) leaves(slot uint8) {
	if gone, ok := b.generation(slot); ok {
		b.Left = gone.Digest
		b.told = fmt.Sprintf("left generation %d (%s)", gone.Number, config.Digest(gone.Digest).Short())
		b.Detail = append(b.Detail, b.told)
	}
}

func (b *back) endCandidate(before loader.Control) error {
	lived := b.d.Lease().Active()
	if g, ok := b.generation(before.Candidate); ok {
		b.d.SetTripped(g.Number) // whoever renews its lease yet renews nothing
	}
	after, err := b.d.Withdraw()
	if err != nil {
		return err
	}
	b.d.SetLease(0)
	b.tell(before.Candidate, "the candidate, generation %d, is ended; what was stable before decides")
	b.Way, b.Left = state.BackCandidate, b.change.Digest
	switch {
	case after.Stable == bpf.SlotEmpty:
		b.told = view.WithoutBundle(view.Judge(b.Reading()))
	case !lived:
		b.told = "its lease had ended, so stable decided already; to go back further: spillway rollback"
	}
	b.Detail = notes(b.told)
	return nil
}

func (b *back) toSlot(before loader.Control, slot uint8) error {
	b.leaves(before.Stable)
	after, err := b.d.Publish(loader.Change{Stable: &slot, Back: true, Seen: &before.Epoch})
	if err != nil {
		return err
	}
	b.d.SetLease(0)
	b.tell(after.Stable, "generation %d decides again")
	b.change.Message = view.InForce(view.Judge(b.Reading()), b.change.Number)
	b.Way, b.Observed = state.BackGeneration, before.Mode == bpf.ModeObserve
	return nil
}

func (b *back) toObserve(before loader.Control) error {
	mode := bpf.ModeObserve
	if _, err := b.d.Publish(loader.Change{Mode: &mode}); err != nil {
		return err
	}
	b.tell(before.Stable,
		"everything is judged and nothing is blocked, bans neither, until an agent runs and somebody says `spillway reload`")
	b.change.Message = "everything is judged and nothing is blocked, bans neither, until an agent runs and somebody says `spillway reload`"
	b.Way, b.Detail = state.BackObserve, []string{"to observe"}
	return nil
}

func (b *back) toEmpty(before loader.Control) error {
	b.Detail = []string{"to empty"}
	b.leaves(before.Stable)
	if _, err := b.d.DropGenerations(); err != nil {
		return err
	}
	b.d.SetLease(0)
	b.Way = state.BackEmpty
	b.change = &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone,
		Message: view.WithoutBundle(view.Judge(b.Reading()))}
	return nil
}

// generation finds what a slot holds; a kernel that cannot say so does not keep anybody from going back.
func (s *Session) generation(slot uint8) (loader.GenerationInfo, bool) {
	all, err := s.d.Generations()
	if err != nil || slot == bpf.SlotEmpty {
		return loader.GenerationInfo{}, false
	}
	for _, g := range all {
		if g.Slot == slot {
			return g, true
		}
	}
	return loader.GenerationInfo{}, false
}
