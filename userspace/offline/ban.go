// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"
	"net/netip"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
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
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Name: p.String(),
		Message: fmt.Sprintf("the ban of %s is ended", p)}
	// The kernel has it; only now the disk.
	book, err := lock(s.places.State, s.now)
	if err != nil {
		change.Details = []string{"the history has no line of this: " + err.Error()}
		return change, nil
	}
	defer book.close()
	forgotten := ""
	if err := book.store.Bans().Change(nil, []netip.Prefix{p}); err != nil {
		forgotten = fmt.Sprintf("a reboot bans it again: %v", err)
	}
	noted := book.record(state.Entry{Verb: "unban", Reason: reason, Name: p.String(), Outcome: api.OutcomeDone})
	change.Details = notes(book.note, forgotten, noted)
	if bans, err := s.d.Bans(); err == nil {
		change.Details = append(change.Details, view.StillBanned(p, bans)...)
	}
	return change, nil
}

// notBanned says what is banned instead: a wider prefix may hold it.
func (s *Session) notBanned(p netip.Prefix) error {
	bans, err := s.d.Bans()
	if err != nil {
		return err
	}
	return view.NotBanned(p, bans)
}
