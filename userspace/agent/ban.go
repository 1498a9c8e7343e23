// SPDX-License-Identifier: Apache-2.0

package agent

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

// Ban implements api.Backend.
func (a *agent) Ban(ctx context.Context, by api.Caller, r api.BanRequest) (*api.Change, error) {
	d, done, err := a.use()
	if err != nil {
		return nil, err
	}
	defer done()
	a.banMu.Lock()
	defer a.banMu.Unlock()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	e := a.ledger.Entry(by, "ban", r.Reason)
	e.Name = r.Prefix
	change, err := a.ban(d, &e, r)
	if err != nil {
		e.Outcome, e.Detail = api.OutcomeRefused, detailsOf(err)
	}
	a.ledger.Audit(e)
	return change, err
}

func (a *agent) ban(d dataplane, e *state.Entry, r api.BanRequest) (*api.Change, error) {
	h := a.hostFile()
	p, err := banPrefix(r.Prefix)
	if err != nil {
		return nil, err
	}
	length := time.Duration(r.ForSeconds * float64(time.Second))
	if r.ForSeconds == 0 {
		length = min(defaultBan, h.Guards.MaxBanTTL)
	}
	if length <= 0 || r.ForSeconds > h.Guards.MaxBanTTL.Seconds() {
		return nil, limit("a ban of %s", "guards.max_ban_ttl in the host file is %s", short(length), short(h.Guards.MaxBanTTL))
	}
	if err := a.guardBan(p, h); err != nil {
		return nil, err
	}
	// The record of bans follows the kernel's; to ask the kernel for all of them would make each ban dearer than the last.
	inForce, again := a.ledger.Store().Bans().InForce(a.now(), p)
	if !again && inForce >= h.Capacity.Bans {
		return nil, limit("%d bans are in force", "capacity.bans in the host file is %d: unban some, or write a bundle", inForce, h.Capacity.Bans)
	}
	if err := a.spendBan(h); err != nil {
		return nil, err
	}
	if err := d.Ban(p, length); err != nil {
		return nil, err
	}
	a.changedBans(d)
	expires := a.now().Add(length).UTC()
	e.Name, e.Outcome, e.Detail = p.String(), api.OutcomeDone, []string{"until " + expires.Format(time.RFC3339)}
	change := view.OfBan(a.verdict(d), p, length)
	change.Until = expires
	ledger.Note(change, a.recordBans([]state.Ban{{Prefix: p, Expires: expires, Made: e.At.UTC(), By: e.User, Reason: e.Reason}}, nil))
	return change, nil
}

// Unban implements api.Backend.
func (a *agent) Unban(ctx context.Context, by api.Caller, prefix, reason string) (*api.Change, error) {
	p, err := banPrefix(prefix)
	if err != nil {
		return nil, err
	}
	d, done, err := a.use()
	if err != nil {
		return nil, err
	}
	defer done()
	a.banMu.Lock()
	defer a.banMu.Unlock()
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
	a.changedBans(d)
	e := a.ledger.Entry(by, "unban", reason)
	e.Name, e.Outcome = p.String(), api.OutcomeDone
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Name: p.String(), Message: fmt.Sprintf("the ban of %s is ended", p)}
	if bans, err := d.Bans(); err == nil {
		change.Details = view.StillBanned(p, bans)
	}
	ledger.Note(change, a.recordBans(nil, []netip.Prefix{p}))
	a.ledger.Audit(e)
	return change, nil
}

// recordBans writes down bans that the kernel has, and ends of others. What the disk refuses is written later.
func (a *agent) recordBans(made []state.Ban, ended []netip.Prefix) error {
	if len(made)+len(ended) == 0 {
		return nil
	}
	return a.toldBans(a.ledger.Store().Bans().Change(made, ended))
}

func (a *agent) toldBans(err error) error {
	if err != nil {
		a.ledger.SetProblem(ledger.ProblemBanDisk, err.Error(), "free or repair the disk below "+a.hostFile().Paths.State+"; bans hold without it, and a reboot forgets them")
	} else {
		a.ledger.ClearProblem(ledger.ProblemBanDisk)
	}
	return err
}

// Bans implements api.Backend: those of the kernel, with what the record knows of them.
func (a *agent) Bans(context.Context) (*api.BanList, error) {
	d, done, err := a.use()
	if err != nil {
		return nil, err
	}
	defer done()
	bans, err := d.Bans()
	if err != nil {
		return nil, err
	}
	list := &api.BanList{Envelope: api.NewEnvelope(), Bans: []api.Ban{}, Capacity: a.hostFile().Capacity.Bans, Idle: a.verdict(d).Idle}
	for _, b := range bans {
		out := api.Ban{Prefix: b.Prefix.String(), Expires: b.Expires.UTC()}
		if known, ok := a.ledger.Store().Bans().Get(b.Prefix); ok {
			out.Made, out.By, out.Reason = known.Made, known.By, known.Reason
		}
		list.Bans = append(list.Bans, out)
	}
	slices.SortFunc(list.Bans, func(x, y api.Ban) int {
		return cmp.Or(x.Expires.Compare(y.Expires), strings.Compare(x.Prefix, y.Prefix))
	})
	return list, nil
}
