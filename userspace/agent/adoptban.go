// SPDX-License-Identifier: Apache-2.0

package agent

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

// adoptBans makes record and kernel agree. While the kernel's maps live they are right: an unban that never reached the
// disk is an unban. Only maps that never had a ban (a reboot, removed pins) get those of the record. A ban that the
// kernel refuses is not forgotten; the error says that it must be tried again.
func (a *agent) adoptBans(d dataplane) error {
	a.banMu.Lock()
	defer a.banMu.Unlock()
	a.bansMissing = a.bansMissing || d.BanEpoch() == 0
	bans, err := d.Bans()
	if err != nil {
		return err
	}
	if unread := a.ledger.Store().Bans().Unread(); a.bansMissing && unread != nil {
		return errors.Join(fmt.Errorf("bans come back once they can be read: %w", unread), a.followBans(d))
	}
	if a.bansMissing {
		err = a.restoreBans(d, bans)
		a.bansMissing = err != nil
	} else if !a.bansSettled && len(bans) > 0 {
		err = d.SettleBans() // a crash may have left a ban that no known flow was told of
	}
	a.bansSettled = err == nil
	return errors.Join(err, a.followBans(d))
}

// restoreBans puts the record's bans into maps that lost them, except those that a guard of today refuses.
func (a *agent) restoreBans(d dataplane, bans []loader.Ban) error {
	h, left := a.hostFile(), map[netip.Prefix]time.Duration{}
	for _, b := range a.ledger.Store().Bans().All() {
		length := min(b.Expires.Sub(a.now()), h.Guards.MaxBanTTL)
		if length <= 0 || slices.ContainsFunc(bans, func(k loader.Ban) bool { return k.Prefix == b.Prefix }) {
			continue
		}
		if err := a.guardBan(b.Prefix, h); err != nil {
			a.log.Warn("a ban does not come back", "prefix", b.Prefix, "error", err)
			continue
		}
		left[b.Prefix] = length
	}
	if len(left) == 0 && len(bans) == 0 {
		return nil
	}
	return d.RestoreBans(left)
}

// followBans writes down the kernel's bans, where the record says something else. What could not be restored yet stays.
func (a *agent) followBans(d dataplane) error {
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
	for _, b := range a.ledger.Store().Bans().All() {
		expires, inForce := left[b.Prefix]
		delete(left, b.Prefix)
		switch {
		case inForce && expires.Sub(b.Expires).Abs() > banSlack:
			b.Expires = expires
			made = append(made, b)
		case inForce:
		case !a.bansMissing || !b.Expires.After(a.now()):
			ended = append(ended, b.Prefix)
		}
	}
	for p, expires := range left {
		made = append(made, state.Ban{Prefix: p, Expires: expires, Made: a.now().UTC(), By: state.FoundBy})
	}
	_ = a.recordBans(made, ended)
	return nil
}

// sweepBans removes bans that ended from the kernel, and lets the record follow; also what somebody did without this agent
// while it hung: a reboot must not bring back a ban that was ended.
func (a *agent) sweepBans(d dataplane) {
	a.banMu.Lock()
	defer a.banMu.Unlock()
	removed, err := d.SweepBans()
	if err != nil && !errors.Is(err, loader.ErrNotPinned) {
		a.log.Warn("ended bans stay in the kernel, without effect", "error", err)
	}
	if removed == 0 && d.BanEpoch() == a.banEpoch && !a.ledger.Store().Bans().Ended(a.now()) {
		return
	}
	a.banEpoch = d.BanEpoch()
	if err := a.followBans(d); err != nil {
		a.log.Warn("the record of bans does not follow the kernel", "error", err)
	}
}

// changedBans notes that the last change of the kernel's bans was this agent's own: the record has it.
func (a *agent) changedBans(d dataplane) {
	if epoch := d.BanEpoch(); epoch == a.banEpoch+1 {
		a.banEpoch = epoch
	}
}
