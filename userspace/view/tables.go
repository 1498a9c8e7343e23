// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

// Tables are what is only told, and not judged by.
type Tables interface {
	Bans() ([]loader.Ban, error)
	Counters() ([]loader.Counter, error)
	EventLosses() (uint64, error)
	LimitLosses() (loader.LimitLosses, error)
	MapUse() ([]loader.MapUse, error)
}

// Parts are what costs to read: packets are a table of 50,000 rows for each CPU.
type Parts uint8

const (
	WithPackets Parts = 1 << iota
	WithMaps
)

// Fill adds the tables to a status. A read that fails is one of its problems, and the rest is told.
func Fill(k Tables, s *api.Status, want Parts, fix func(error) string) {
	for _, part := range []struct {
		what string
		want bool
		read func(Tables, *api.Status) error
	}{
		{"the counters", want&WithPackets != 0, readPackets},
		{"the maps", want&WithMaps != 0, readMaps},
		{"the bans", true, readBans},
	} {
		if !part.want {
			continue
		}
		if err := part.read(k, s); err != nil {
			s.Problems = append(s.Problems,
				api.Problem{Code: "kernel_read", Message: fmt.Sprintf("%s cannot be read: %v", part.what, err), Fix: fix(err)})
		}
	}
}

func readBans(k Tables, s *api.Status) error {
	bans, err := k.Bans()
	s.Bans = len(bans)
	return err
}

func readPackets(k Tables, s *api.Status) error {
	counters, err := k.Counters()
	if err != nil {
		return err
	}
	names := api.ServiceNames(s.Services)
	for _, c := range counters {
		s.Packets = append(s.Packets,
			api.Packets{Service: names[c.Service], Slot: c.Slot, Left: c.Left, Reason: bpf.ReasonName(c.Reason),
				Verdict: bpf.OutcomeName(c.Outcome), Packets: c.Packets,
				Connections: c.Connections, Alone: c.Alone})
	}
	return nil
}

func readMaps(k Tables, s *api.Status) error {
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
	if s.EventsLost, err = k.EventLosses(); err != nil {
		return err
	}
	lost, err := k.LimitLosses()
	s.LimitsLost, s.LimitsEvicted = lost.Lost, lost.Evicted
	return err
}
