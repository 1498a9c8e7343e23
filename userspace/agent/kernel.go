// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/view"
)

// parts are what costs to read: packets are a table of 50,000 rows for each CPU.
type parts uint8

const (
	withPackets parts = 1 << iota
	withMaps
)

// kernelStatus returns what the kernel itself knows: modes, slots, numbers, digests, counters. A read that fails is one of
// the problems, and the rest is answered.
func (a *agent) kernelStatus(k plane.Kernel, want parts) *api.Status {
	s, _ := view.Status(a.plane.Reading(k))
	for _, part := range []struct {
		what string
		want bool
		read func(plane.Kernel, *api.Status) error
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

func readBans(k plane.Kernel, s *api.Status) error {
	bans, err := k.Bans()
	s.Bans = len(bans)
	return err
}

func readPackets(k plane.Kernel, s *api.Status) error {
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

func readMaps(k plane.Kernel, s *api.Status) error {
	uses, err := k.MapUse()
	if err != nil {
		return err
	}
	for _, u := range uses {
		m := api.MapUse{Name: u.Name, Capacity: u.Capacity, Bytes: u.Bytes}
		if u.Entries >= 0 {
			m.Entries = new(u.Entries)
		}
		if u.Name == bpf.DataplaneMapBans {
			s.BanCapacity = u.Capacity
		}
		s.Maps = append(s.Maps, m)
	}
	s.EventsLost, err = k.EventLosses()
	return err
}
