// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// guard is what stands between a wish and what is in force: this host's rules, and what was rolled back.
type guard struct {
	*site
	own func() ([]netip.Addr, error)
}

// protects refuses a bundle whose own rows would block what this host protects since the bundle was read: the host file
// was reloaded while it waited, and what it says now counts.
func (gu *guard) protects(ro *rollout) error {
	h := gu.host()
	if ro.wish.bundle == nil || ro.host == h {
		return nil
	}
	own, err := gu.own()
	if err != nil {
		return err
	}
	if p, in, found := ro.wish.bundle.InProtected(config.Protected(h, own)); found {
		return &api.Error{Code: api.CodeRefused,
			Message: fmt.Sprintf(
				"the bundle is refused; what is in force goes on: its own row %s lies in %s, which this host protects", p, in),
			Fix: "a bundle without that row, or a host file that does not protect it"}
	}
	return nil
}

// quarantineHold is why a stored generation needs a reason.
func (gu *guard) quarantineHold(g state.Generation) *api.Hold {
	members := g.Members
	if len(members) == 0 {
		members = state.One(g.Name(), g.Digest)
	}
	for _, m := range members {
		for _, h := range gu.quarantineHolds(m.Name, m.Digest) {
			return &h
		}
	}
	return nil
}

// onHost is on, checked for this host.
func (gu *guard) onHost(w wish, base *config.Set) (*config.Set, error) {
	next, err := w.on(base)
	if err != nil {
		return nil, err
	}
	if err := next.Check(gu.host()); err != nil {
		return nil, api.Refuse("the set of bundles is refused; what is in force goes on", err)
	}
	return next, nil
}

// held refuses what a person must look at, unless one accepted it with a reason.
func (gu *guard) held(w wish, s *standing, accept string) error {
	if strings.TrimSpace(accept) != "" {
		return nil
	}
	holds := gu.holds(w, s)
	if len(holds) == 0 {
		return nil
	}
	return &api.Error{Code: api.CodeHeld,
		Message: "the bundle is valid, and a person must accept it; what is in force goes on", Holds: holds,
		Fix: `look at it with ` + "`spillway plan`" + `, then apply with --accept "reason"`}
}

func (gu *guard) holds(w wish, s *standing) []api.Hold {
	var out []api.Hold
	b := w.bundle
	if b == nil {
		return nil // what is taken out can only let more pass, or was written so
	}
	if w.back { // it was in force already
		return gu.quarantineHolds(b.Name, b.Digest)
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
	for _, h := range config.SetHolds(old, s.next, gu.host()) {
		out = append(out, api.Hold{Code: h.Code, Text: h.Text})
	}
	return append(out, gu.quarantineHolds(b.Name, b.Digest)...)
}

// quarantineHolds is why a bundle that was rolled back waits for a reason.
func (gu *guard) quarantineHolds(name string, digest config.Digest) []api.Hold {
	for _, q := range gu.ledger.Record().Quarantine {
		if q.Holds(name, digest) && gu.ledger.Now().Sub(q.At) < quarantineFor {
			text := fmt.Sprintf("this very bundle was rolled back at %s by %s", q.At.UTC().Format(time.RFC3339), q.By)
			if q.Gate != "" { // also one that was refused: it never decided
				text = fmt.Sprintf("this very bundle is in quarantine since %s, by gate %s",
					q.At.UTC().Format(time.RFC3339), q.Gate)
			}
			if q.Reason != "" {
				text += ": " + q.Reason
			}
			return []api.Hold{{Code: "quarantined", Text: text}}
		}
	}
	return nil
}
