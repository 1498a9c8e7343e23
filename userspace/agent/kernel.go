// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/view"
)

// parts are what costs to read: packets are a table of 50,000 rows for each CPU.
type parts uint8

const (
	withPackets parts = 1 << iota
	withMaps
)

// reading is what view judges by.
func (a *agent) reading(k view.Kernel) view.Reading {
	return a.withAttach(view.Read(k, a.opts.network, a.interfaceNames()))
}

// verdict is what the kernel's state means now.
func (a *agent) verdict(k view.Kernel) view.Verdict { return view.Judge(a.reading(k)) }

// blindReading is the reading while no dataplane could be opened.
func (a *agent) blindReading() view.Reading {
	if r, ok := a.behindReading(); ok {
		return a.withAttach(r)
	}
	return a.withAttach(view.Blind(a.opts.network, a.interfaceNames()))
}

func (a *agent) interfaceNames() []string {
	var names []string
	for _, i := range a.hostFile().Interfaces {
		names = append(names, i.Name)
	}
	return names
}

// withAttach adds why the agent could not attach.
func (a *agent) withAttach(r view.Reading) view.Reading {
	r.Attach = map[string]api.Problem{}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, p := range a.places {
		if p.problem != nil {
			r.Attach[name] = *p.problem
		}
	}
	a.withCounted(&r)
	return r
}

// kernelStatus returns what the kernel itself knows: modes, slots, numbers, digests, counters. A read that fails is one of
// the problems, and the rest is answered.
func (a *agent) kernelStatus(k Kernel, want parts) *api.Status {
	s, _ := view.Status(a.reading(k))
	for _, part := range []struct {
		what string
		want bool
		read func(Kernel, *api.Status) error
	}{
		{"the counters", want&withPackets != 0, readPackets},
		{"the maps", want&withMaps != 0, readMaps},
		{"the bans", true, readBans},
	} {
		if !part.want {
			continue
		}
		if err := part.read(k, s); err != nil {
			s.Problems = append(s.Problems, api.Problem{Code: "kernel_read", Message: fmt.Sprintf("%s cannot be read: %v", part.what, err), Fix: ledger.Fix(err)})
		}
	}
	return s
}

func readBans(k Kernel, s *api.Status) error {
	bans, err := k.Bans()
	s.Bans = len(bans)
	return err
}

func generations(k Kernel) ([]api.Generation, error) {
	all, err := k.Generations()
	if err != nil {
		return nil, err
	}
	out := make([]api.Generation, 0, len(all))
	for _, g := range all {
		out = append(out, view.Generation(g))
	}
	return out, nil
}

func readPackets(k Kernel, s *api.Status) error {
	counters, err := k.Counters()
	if err != nil {
		return err
	}
	names := api.ServiceNames(s.Services)
	for _, c := range counters {
		s.Packets = append(s.Packets, api.Packets{Service: names[c.Service], Slot: c.Slot, Left: c.Left, Reason: bpf.ReasonName(c.Reason),
			Verdict: bpf.OutcomeName(c.Outcome), Packets: c.Packets,
			Connections: c.Connections, Alone: c.Alone})
	}
	return nil
}

func readMaps(k Kernel, s *api.Status) error {
	uses, err := k.MapUse()
	if err != nil {
		return err
	}
	for _, u := range uses {
		m := api.MapUse{Name: u.Name, Capacity: u.Capacity, Bytes: u.Bytes}
		if u.Entries >= 0 {
			m.Entries = ptr(u.Entries)
		}
		if u.Name == bpf.DataplaneMapBans {
			s.BanCapacity = u.Capacity
		}
		s.Maps = append(s.Maps, m)
	}
	s.EventsLost, err = k.EventLosses()
	return err
}
