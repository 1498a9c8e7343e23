// SPDX-License-Identifier: Apache-2.0

package bypass

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
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// longest keeps a slip of the pen from becoming a number that overflows. Longer is by hand.
const longest = 365 * 24 * time.Hour

// Set turns a bypass on or off. It waits for no other change.
func (w *Switch) Set(ctx context.Context, by api.Caller, r api.BypassRequest) (*api.Change, error) {
	if r.ForSeconds < 0 || r.ForSeconds > longest.Seconds() || (r.ForSeconds > 0 && !r.On) {
		return nil, &api.Error{Code: api.CodeInvalid,
			Message: fmt.Sprintf("%v seconds is no length of a bypass", r.ForSeconds),
			Fix:     "use up to a year, or nothing for until it is ended by hand"}
	}
	d, done, err := w.Use()
	if err != nil {
		return nil, err
	}
	defer done()
	id, err := serviceID(d, r.Service)
	if err != nil {
		return nil, err
	}
	e := w.Ledger.Entry(by, verb(r.On), r.Reason)
	e.Outcome, e.Name = api.OutcomeDone, r.Service
	until, record := loader.Deadline(0), &state.Bypass{Since: w.Ledger.Now().UTC(), By: by.User, Reason: r.Reason}
	var ends time.Time
	switch {
	case !r.On:
		record = nil
	case r.ForSeconds > 0:
		length := time.Duration(r.ForSeconds * float64(time.Second))
		until, ends = loader.In(length), w.Ledger.Now().Add(length).UTC()
		record.Until = ends
	default:
		until = loader.DeadlineForever
	}
	w.mu.Lock()
	if err := api.Late(ctx); err != nil {
		w.mu.Unlock()
		return nil, err
	}
	set(d, id, until)
	err = w.Ledger.Update(func(s *state.Record) { s.SetBypass(r.Service, record) })
	w.mu.Unlock()
	reading := w.Read(d)
	change := view.OfBypass(view.Judge(reading), r.Service, until)
	change.Until, change.Details = ends, reading.Notes()
	e.Detail = append([]string{change.Message}, change.Incomplete...)
	ledger.Note(change, err)
	w.Ledger.Audit(e)
	return change, nil
}

func verb(on bool) string {
	if on {
		return "bypass on"
	}
	return "bypass off"
}

// serviceID returns the kernel's id of a service; 0 for everything.
func serviceID(d Kernel, name string) (uint8, error) {
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
	return 0, &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("there is no service %q", name),
		Fix: "the services are " + strings.Join(names, ", ")}
}

func set(d Kernel, id uint8, until loader.Deadline) {
	if id == 0 {
		d.SetBypass(until)
		return
	}
	d.SetServiceBypass(id, until)
}

func read(d view.Kernel, id uint8) loader.Deadline {
	if id == 0 {
		return d.Bypass()
	}
	return d.ServiceBypass(id)
}

// idsOf returns the ids of everything and of the kernel's services, by name.
func idsOf(k view.Kernel) (map[string]uint8, error) {
	ids := map[string]uint8{"": 0}
	h, err := k.Host()
	if err != nil || h == nil {
		return ids, err
	}
	for _, s := range h.Services {
		ids[s.Name] = s.ID
	}
	return ids, nil
}

// EndLeft ends the bypass of services that left the host file: whoever gets their number next did not panic.
func (w *Switch) EndLeft(d Kernel, before *compile.HostInfo, h *config.Host) {
	if before == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range before.Services {
		if !slices.ContainsFunc(h.Services, func(n config.Service) bool { return n.Name == s.Name }) {
			d.SetServiceBypass(s.ID, 0)
		}
	}
}

// endStray ends the bypass of numbers that no service has: of one that left while its agent was killed.
func endStray(d Kernel, ids map[string]uint8) {
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

// Restore carries a bypass over a reboot: an operator who panicked meant it. Those of services follow when the
// host file is published and Adopt finds them missing.
func (w *Switch) Restore(d Kernel) {
	b, ok := w.Ledger.Record().Bypass[""]
	if !ok || d.Bypass().Active() {
		return
	}
	if until, live := w.deadlineOf(b); live {
		d.SetBypass(until)
		w.Log.Warn("bypass is on, as before the reboot: everything passes", "by", b.By, "since", b.Since)
	}
}

// RestoreServices does the same for services, once they have ids.
func (w *Switch) RestoreServices(d Kernel) {
	ids, err := idsOf(d)
	if err != nil {
		return
	}
	for name, b := range w.Ledger.Record().Bypass {
		id, known := ids[name]
		if until, live := w.deadlineOf(b); known && id != 0 && live && !d.ServiceBypass(id).Active() {
			d.SetServiceBypass(id, until)
			w.Log.Warn("bypass of a service is on, as before the reboot", "service", name, "by", b.By, "since", b.Since)
		}
	}
}

func (w *Switch) deadlineOf(b state.Bypass) (loader.Deadline, bool) {
	if b.Until.IsZero() {
		return loader.DeadlineForever, true
	}
	left := b.Until.Sub(w.Ledger.Now())
	return loader.In(left), left > 0
}

// Adopt makes the record agree with the kernel: the command line may turn a bypass on or off without an agent,
// and a bypass with an end ends by itself.
func (w *Switch) Adopt(d Kernel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, err := idsOf(d)
	if err != nil {
		return
	}
	if d.Control().Host != bpf.SlotEmpty {
		endStray(d, ids)
	}
	record := w.Ledger.Record().Bypass
	var found []state.Entry
	next := map[string]state.Bypass{}
	for name, id := range ids {
		until := read(d, id)
		b, known := record[name]
		switch {
		case until.Active() && known:
			next[name] = b
		case until.Active():
			b = state.Bypass{Since: w.Ledger.Now().UTC(), By: "found"}
			if until != loader.DeadlineForever {
				b.Until = w.Ledger.Now().Add(until.Left()).UTC()
			}
			next[name] = b
			found = append(found, w.found(name, true))
		case known && (b.Until.IsZero() || b.Until.Sub(w.Ledger.Now()) > time.Minute):
			found = append(found, w.found(name, false))
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
	_ = w.Ledger.Update(func(r *state.Record) { r.Bypass = next })
	for _, e := range found {
		w.Ledger.Audit(e)
	}
}

func (w *Switch) found(service string, on bool) state.Entry {
	e := w.Ledger.Entry(ledger.Itself(), verb(on), "")
	e.Outcome, e.Name = api.OutcomeFound, service
	return e
}
