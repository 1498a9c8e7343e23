// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"
	"net/netip"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// Unban ends a ban in the kernel. It works while an agent that hangs holds the state: that agent's record follows the
// kernel when it goes on.
func (s *Session) Unban(prefix, reason string) (*api.Change, error) {
	if err := s.readable("the bans are in its maps"); err != nil {
		return nil, err
	}
	p, err := api.BanPrefix(prefix)
	if err != nil {
		return nil, err
	}
	there, err := s.d.Unban(p)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, s.notBanned(p)
	}
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Name: p.String(), Message: fmt.Sprintf("%s is no longer banned", p)}
	// The kernel has it; only now the disk.
	store, note, err := lock(s.places.State, s.now)
	if err != nil {
		change.Details = []string{"the history has no line of this: " + err.Error()}
		return change, nil
	}
	defer store.Close()
	forgotten := ""
	if err := store.Bans().Change(nil, []netip.Prefix{p}); err != nil {
		forgotten = fmt.Sprintf("a reboot bans it again: %v", err)
	}
	noted := record(store, state.Entry{Verb: "unban", Reason: reason, Name: p.String(), Outcome: api.OutcomeDone})
	change.Details = notes(note, forgotten, noted)
	return change, nil
}

// notBanned says what is banned instead: a wider prefix may hold it.
func (s *Session) notBanned(p netip.Prefix) error {
	e := &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("%s is not banned", p), Fix: "`spillway bans` lists the bans as they are written"}
	bans, err := s.d.Bans()
	if err != nil {
		return e
	}
	for _, b := range bans {
		if b.Prefix.Bits() < p.Bits() && b.Prefix.Contains(p.Addr()) {
			e.Message = fmt.Sprintf("%s is banned as a part of %s", p, b.Prefix)
			e.Fix = "to end that ban: spillway unban " + b.Prefix.String()
			return e
		}
	}
	return e
}
