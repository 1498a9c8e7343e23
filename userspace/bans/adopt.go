// SPDX-License-Identifier: Apache-2.0

package bans

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/state"
)

// banSlack is how far the end of a ban on disk may be from the kernel's before it is written again: the two clocks are
// read one after the other, and a read must not become a write.
const banSlack = 2 * time.Second

// Adopt makes record and kernel agree. While the kernel's maps live they are right: an unban that never reached the
// disk is an unban. Only maps that never had a ban (a reboot, removed pins) get those of the record. A ban that the
// kernel refuses is not forgotten; the error says that it must be tried again.
func (s *Bans) Adopt(d Kernel) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missing = s.missing || d.BanEpoch() == 0
	bans, err := d.Bans()
	if err != nil {
		return err
	}
	if unread := s.Record.Unread(); s.missing && unread != nil {
		return errors.Join(fmt.Errorf("bans come back once they can be read: %w", unread), s.follow(d))
	}
	if s.missing {
		err = s.restore(d, bans)
		s.missing = err != nil
	} else if !s.settled && len(bans) > 0 {
		err = d.SettleBans() // a crash may have left a ban that no known flow was told of
	}
	s.settled = err == nil
	return errors.Join(err, s.follow(d))
}

// restore puts the record's bans into maps that lost them, except those that a guard of today refuses.
func (s *Bans) restore(d Kernel, bans []loader.Ban) error {
	h, left := s.Host(), map[netip.Prefix]time.Duration{}
	for _, b := range s.Record.All() {
		length := min(b.Expires.Sub(s.Ledger.Now()), h.Guards.MaxBanTTL)
		if length <= 0 || slices.ContainsFunc(bans, func(k loader.Ban) bool { return k.Prefix == b.Prefix }) {
			continue
		}
		if err := s.guard(b.Prefix, h); err != nil {
			s.Log.Warn("a ban does not come back", "prefix", b.Prefix, "error", err)
			continue
		}
		left[b.Prefix] = length
	}
	if len(left) == 0 && len(bans) == 0 {
		return nil
	}
	return d.RestoreBans(left)
}

// follow writes down the kernel's bans, where the record says something else. What could not be restored yet stays.
func (s *Bans) follow(d Kernel) error {
	bans, err := d.Bans()
	if err != nil {
		return err
	}
	left := map[netip.Prefix]time.Time{}
	for _, k := range bans {
		left[k.Prefix] = k.Expires.UTC()
	}
	var made []state.Ban
	var ended []netip.Prefix
	for _, b := range s.Record.All() {
		expires, inForce := left[b.Prefix]
		delete(left, b.Prefix)
		switch {
		case inForce && expires.Sub(b.Expires).Abs() > banSlack:
			b.Expires = expires
			made = append(made, b)
		case inForce:
		case !s.missing || !b.Expires.After(s.Ledger.Now()):
			ended = append(ended, b.Prefix)
		}
	}
	for p, expires := range left {
		made = append(made, state.Ban{Prefix: p, Expires: expires, Made: s.Ledger.Now().UTC(), By: state.FoundBy})
	}
	_ = s.write(made, ended)
	return nil
}

// Sweep removes bans that ended from the kernel, and lets the record follow; also what somebody did without this agent
// while it hung: a reboot must not bring back a ban that was ended.
func (s *Bans) Sweep(d Kernel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	removed, err := d.SweepBans()
	if err != nil && !errors.Is(err, loader.ErrNotPinned) {
		s.Log.Warn("ended bans stay in the kernel, without effect", "error", err)
	}
	if removed == 0 && d.BanEpoch() == s.epoch && !s.Record.Ended(s.Ledger.Now()) {
		return
	}
	s.epoch = d.BanEpoch()
	if err := s.follow(d); err != nil {
		s.Log.Warn("the record of bans does not follow the kernel", "error", err)
	}
}

// changed notes that the last change of the kernel's bans was this agent's own: the record has it.
func (s *Bans) changed(d Kernel) {
	if epoch := d.BanEpoch(); epoch == s.epoch+1 {
		s.epoch = epoch
	}
}
