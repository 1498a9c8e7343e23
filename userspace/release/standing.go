// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"strings"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// standing is what a change meets: the set that decides now, and what becomes of it.
type standing struct {
	stable  loader.GenerationInfo
	base    *config.Set
	next    *config.Set
	there   bool // there is a stable generation
	waiting bool // a candidate waits for its confirmation
}

// standing applies a wish to what is in force.
func (mg *Manager) standing(d Kernel, w wish) (*standing, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	c := d.Control()
	s := &standing{waiting: c.Candidate != bpf.SlotEmpty}
	s.stable, s.there = view.InSlot(all, c.Stable)
	if s.base, err = mg.baseFor(s.stable, s.there, w); err != nil {
		return nil, err
	}
	s.next, err = mg.onHost(w, s.base)
	return s, err
}

// unchanged says that there is nothing to do.
func (s *standing) unchanged(change *api.Change) bool {
	if !s.there || s.stable.Digest != s.next.Digest {
		return false
	}
	change.Outcome, change.Number = api.OutcomeUnchanged, s.stable.Number
	change.Message = fmt.Sprintf("this bundle is in force already, as generation %d", s.stable.Number)
	return true
}

// held refuses what a person must look at, unless one accepted it with a reason.
func (mg *Manager) held(w wish, s *standing, accept string) error {
	if strings.TrimSpace(accept) != "" {
		return nil
	}
	holds := mg.holds(w, s)
	if len(holds) == 0 {
		return nil
	}
	return &api.Error{Code: api.CodeHeld, Message: "the bundle is valid, and a person must accept it; what is in force goes on", Holds: holds, Fix: `look at it with ` + "`spillway plan`" + `, then apply with --accept "reason"`}
}

func (mg *Manager) holds(w wish, s *standing) []api.Hold {
	var out []api.Hold
	b := w.bundle
	if b == nil {
		return nil // what is taken out can only let more pass, or was written so
	}
	if w.back { // it was in force already
		return mg.quarantineHolds(b.Name, b.Digest)
	}
	old := s.base
	if !s.there || old.Empty() {
		old = nil
	}
	if was := w.replaces(s.base); was != nil { // under another name it is the same bundle to the guards
		was := *was
		was.Name = b.Name
		old = s.base.Without(w.remove).With(&was)
	}
	for _, h := range config.SetHolds(old, s.next, mg.Host()) {
		out = append(out, api.Hold{Code: h.Code, Text: h.Text})
	}
	return append(out, mg.quarantineHolds(b.Name, b.Digest)...)
}

// quarantineHolds is why a bundle that was rolled back waits for a reason.
func (mg *Manager) quarantineHolds(name string, digest config.Digest) []api.Hold {
	for _, q := range mg.Ledger.Record().Quarantine {
		if q.Holds(name, digest) && mg.Ledger.Now().Sub(q.At) < quarantineFor {
			text := fmt.Sprintf("this very bundle was rolled back at %s by %s", q.At.UTC().Format(time.RFC3339), q.By)
			if q.Reason != "" {
				text += ": " + q.Reason
			}
			return []api.Hold{{Code: "quarantined", Text: text}}
		}
	}
	return nil
}
