// SPDX-License-Identifier: Apache-2.0

package bans

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

const defaultBan = time.Hour

// Ban bans an address or a prefix.
func (s *Bans) Ban(ctx context.Context, by api.Caller, r api.BanRequest) (*api.Change, error) {
	d, done, err := s.Use()
	if err != nil {
		return nil, err
	}
	defer done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	e := s.Ledger.Entry(by, "ban", r.Reason)
	e.Name = r.Prefix
	change, err := s.ban(d, &e, r)
	if err != nil {
		e.Outcome, e.Detail = api.OutcomeRefused, ledger.DetailsOf(err)
	}
	s.Ledger.Audit(e)
	return change, err
}

func (s *Bans) ban(d Kernel, e *state.Entry, r api.BanRequest) (*api.Change, error) {
	h := s.Host()
	p, err := banPrefix(r.Prefix)
	if err != nil {
		return nil, err
	}
	length := time.Duration(r.ForSeconds * float64(time.Second))
	if r.ForSeconds == 0 {
		length = min(defaultBan, h.Guards.MaxBanTTL)
	}
	if length <= 0 || r.ForSeconds > h.Guards.MaxBanTTL.Seconds() {
		return nil, limit("a ban of %s", "guards.max_ban_ttl in the host file is %s", api.Short(length),
			api.Short(h.Guards.MaxBanTTL))
	}
	if err := s.guard(p, h); err != nil {
		return nil, err
	}
	// The record of bans follows the kernel's; to ask the kernel for all of them would make each ban dearer than the last.
	inForce, again := s.Record.InForce(s.Ledger.Now(), p)
	if !again && inForce >= h.Capacity.Bans {
		return nil, limit("%d bans are in force", "capacity.bans in the host file is %d: unban some, or write a bundle",
			inForce, h.Capacity.Bans)
	}
	if err := s.spend(h); err != nil {
		return nil, err
	}
	if err := d.Ban(p, length); err != nil {
		return nil, err
	}
	s.changed(d)
	expires := s.Ledger.Now().Add(length).UTC()
	e.Name, e.Outcome, e.Detail = p.String(), api.OutcomeDone, []string{"until " + expires.Format(time.RFC3339)}
	change := view.OfBan(s.Judge(d), p, length)
	change.Until = expires
	ledger.Note(change,
		s.write([]state.Ban{{Prefix: p, Expires: expires, Made: e.At.UTC(), By: e.User, Reason: e.Reason}}, nil))
	return change, nil
}

// Unban ends a ban.
func (s *Bans) Unban(ctx context.Context, by api.Caller, prefix, reason string) (*api.Change, error) {
	p, err := banPrefix(prefix)
	if err != nil {
		return nil, err
	}
	d, done, err := s.Use()
	if err != nil {
		return nil, err
	}
	defer done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	there, err := d.Unban(p)
	if err != nil {
		return nil, err
	}
	if !there {
		bans, err := d.Bans()
		if err != nil {
			return nil, err
		}
		return nil, view.NotBanned(p, bans)
	}
	s.changed(d)
	e := s.Ledger.Entry(by, "unban", reason)
	e.Name, e.Outcome = p.String(), api.OutcomeDone
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Name: p.String(),
		Message: fmt.Sprintf("the ban of %s is ended", p)}
	if bans, err := d.Bans(); err == nil {
		change.Details = view.StillBanned(p, bans)
	}
	ledger.Note(change, s.write(nil, []netip.Prefix{p}))
	s.Ledger.Audit(e)
	return change, nil
}

// write writes down bans that the kernel has, and ends of others. What the disk refuses is written later.
func (s *Bans) write(made []state.Ban, ended []netip.Prefix) error {
	if len(made)+len(ended) == 0 {
		return nil
	}
	return s.told(s.Record.Change(made, ended))
}

func (s *Bans) told(err error) error {
	if err != nil {
		s.Ledger.SetProblem(ledger.ProblemBanDisk, err.Error(),
			"free or repair the disk below "+s.Host().Paths.State+"; bans hold without it, and a reboot forgets them")
	} else {
		s.Ledger.ClearProblem(ledger.ProblemBanDisk)
	}
	return err
}

// List returns those of the kernel, with what the record knows of them.
func (s *Bans) List(context.Context) (*api.BanList, error) {
	d, done, err := s.Use()
	if err != nil {
		return nil, err
	}
	defer done()
	bans, err := d.Bans()
	if err != nil {
		return nil, err
	}
	list := &api.BanList{Envelope: api.NewEnvelope(), Bans: []api.Ban{}, Capacity: s.Host().Capacity.Bans,
		Idle: s.Judge(d).Idle}
	for _, b := range bans {
		out := api.Ban{Prefix: b.Prefix.String(), Expires: b.Expires.UTC()}
		if known, ok := s.Record.Get(b.Prefix); ok {
			out.Made, out.By, out.Reason = known.Made, known.By, known.Reason
		}
		list.Bans = append(list.Bans, out)
	}
	slices.SortFunc(list.Bans, func(x, y api.Ban) int {
		return cmp.Or(x.Expires.Compare(y.Expires), strings.Compare(x.Prefix, y.Prefix))
	})
	return list, nil
}
