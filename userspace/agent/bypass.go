// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// longestBypass keeps a slip of the pen from becoming a number that overflows. Longer is by hand.
const longestBypass = 365 * 24 * time.Hour

// Bypass implements api.Backend. It waits for no other change.
func (a *agent) Bypass(ctx context.Context, by api.Caller, r api.BypassRequest) (*api.Change, error) {
	if r.ForSeconds < 0 || r.ForSeconds > longestBypass.Seconds() || (r.ForSeconds > 0 && !r.On) {
		return nil, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("%v seconds is no length of a bypass", r.ForSeconds), Fix: "use up to a year, or nothing for until it is ended by hand"}
	}
	d, done, err := a.use()
	if err != nil {
		return nil, err
	}
	defer done()
	id, err := serviceID(d, r.Service)
	if err != nil {
		return nil, err
	}
	e := a.ledger.Entry(by, bypassVerb(r.On), r.Reason)
	e.Outcome, e.Name = api.OutcomeDone, r.Service
	until, record := loader.Deadline(0), &state.Bypass{Since: a.now().UTC(), By: by.User, Reason: r.Reason}
	var ends time.Time
	switch {
	case !r.On:
		record = nil
	case r.ForSeconds > 0:
		length := time.Duration(r.ForSeconds * float64(time.Second))
		until, ends = loader.In(length), a.now().Add(length).UTC()
		record.Until = ends
	default:
		until = loader.DeadlineForever
	}
	a.bypassMu.Lock()
	if err := api.Late(ctx); err != nil {
		a.bypassMu.Unlock()
		return nil, err
	}
	setBypass(d, id, until)
	err = a.ledger.Update(func(s *state.Record) { s.SetBypass(r.Service, record) })
	a.bypassMu.Unlock()
	reading := a.reading(d)
	change := view.OfBypass(view.Judge(reading), r.Service, until)
	change.Until, change.Details = ends, reading.Notes()
	e.Detail = append([]string{change.Message}, change.Incomplete...)
	ledger.Note(change, err)
	a.ledger.Audit(e)
	return change, nil
}

func bypassVerb(on bool) string {
	if on {
		return "bypass on"
	}
	return "bypass off"
}

// serviceID returns the kernel's id of a service; 0 for everything.
func serviceID(d dataplane, name string) (uint8, error) {
	if name == "" {
		return 0, nil
	}
	h, err := d.Host()
	if err != nil {
		return 0, err
	}
	var names []string
	if h != nil {
		if s, ok := h.Service(name); ok {
			return s.ID, nil
		}
		for _, s := range h.Services {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return 0, &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("there is no service %q", name), Fix: "the services are " + strings.Join(names, ", ")}
}

func setBypass(d dataplane, id uint8, until loader.Deadline) {
	if id == 0 {
		d.SetBypass(until)
		return
	}
	d.SetServiceBypass(id, until)
}

func readBypass(d dataplane, id uint8) loader.Deadline {
	if id == 0 {
		return d.Bypass()
	}
	return d.ServiceBypass(id)
}

// bypassIDs returns the ids of everything and of the kernel's services, by name.
func bypassIDs(d dataplane) (map[string]uint8, error) {
	ids := map[string]uint8{"": 0}
	h, err := d.Host()
	if err != nil || h == nil {
		return ids, err
	}
	for _, s := range h.Services {
		ids[s.Name] = s.ID
	}
	return ids, nil
}

// endLeftBypasses ends the bypass of services that left the host file: whoever gets their number next did not panic.
func (a *agent) endLeftBypasses(d dataplane, before *loader.HostInfo, h *config.Host) {
	if before == nil {
		return
	}
	a.bypassMu.Lock()
	defer a.bypassMu.Unlock()
	for _, s := range before.Services {
		if !slices.ContainsFunc(h.Services, func(n config.Service) bool { return n.Name == s.Name }) {
			d.SetServiceBypass(s.ID, 0)
		}
	}
}

// endStrayBypasses ends the bypass of numbers that no service has: of one that left while its agent was killed.
func endStrayBypasses(d dataplane, ids map[string]uint8) {
	taken := map[uint8]bool{}
	for _, id := range ids {
		taken[id] = true
	}
	for id := uint8(1); id < bpf.ServicesMax; id++ {
		if !taken[id] && d.ServiceBypass(id) != 0 {
			d.SetServiceBypass(id, 0)
		}
	}
}

// restoreBypass carries a bypass over a reboot: an operator who panicked meant it. Those of services follow when the
// host file is published and adoptBypass finds them missing.
func (a *agent) restoreBypass(d dataplane) {
	b, ok := a.ledger.Record().Bypass[""]
	if !ok || d.Bypass().Active() {
		return
	}
	if until, live := a.deadlineOf(b); live {
		d.SetBypass(until)
		a.log.Warn("bypass is on, as before the reboot: everything passes", "by", b.By, "since", b.Since)
	}
}

// restoreServices does the same for services, once they have ids.
func (a *agent) restoreServices(d dataplane) {
	ids, err := bypassIDs(d)
	if err != nil {
		return
	}
	for name, b := range a.ledger.Record().Bypass {
		id, known := ids[name]
		if until, live := a.deadlineOf(b); known && id != 0 && live && !d.ServiceBypass(id).Active() {
			d.SetServiceBypass(id, until)
			a.log.Warn("bypass of a service is on, as before the reboot", "service", name, "by", b.By, "since", b.Since)
		}
	}
}

func (a *agent) deadlineOf(b state.Bypass) (loader.Deadline, bool) {
	if b.Until.IsZero() {
		return loader.DeadlineForever, true
	}
	left := b.Until.Sub(a.now())
	return loader.In(left), left > 0
}

// adoptBypass makes the record agree with the kernel: the command line may turn a bypass on or off without an agent,
// and a bypass with an end ends by itself.
func (a *agent) adoptBypass(d dataplane) {
	a.bypassMu.Lock()
	defer a.bypassMu.Unlock()
	ids, err := bypassIDs(d)
	if err != nil {
		return
	}
	if d.Control().Host != bpf.SlotEmpty {
		endStrayBypasses(d, ids)
	}
	record := a.ledger.Record().Bypass
	var found []state.Entry
	next := map[string]state.Bypass{}
	for name, id := range ids {
		until := readBypass(d, id)
		b, known := record[name]
		switch {
		case until.Active() && known:
			next[name] = b
		case until.Active():
			b = state.Bypass{Since: a.now().UTC(), By: "found"}
			if until != loader.DeadlineForever {
				b.Until = a.now().Add(until.Left()).UTC()
			}
			next[name] = b
			found = append(found, a.foundBypass(name, true))
		case known && (b.Until.IsZero() || b.Until.Sub(a.now()) > time.Minute):
			found = append(found, a.foundBypass(name, false))
		}
	}
	if d.Control().Host == bpf.SlotEmpty { // no service has an id yet, so nobody ended their bypasses
		for name, b := range record {
			if _, known := ids[name]; !known {
				next[name] = b
			}
		}
	}
	if maps.Equal(next, record) {
		return
	}
	_ = a.ledger.Update(func(r *state.Record) { r.Bypass = next })
	for _, e := range found {
		a.ledger.Audit(e)
	}
}

func (a *agent) foundBypass(service string, on bool) state.Entry {
	e := a.ledger.Entry(ledger.Itself(), bypassVerb(on), "")
	e.Outcome, e.Name = api.OutcomeFound, service
	return e
}
