// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

// parts are what costs to read: packets are a table of 50,000 rows for each CPU.
type parts uint8

const (
	withPackets parts = 1 << iota
	withMaps
)

// kernelStatus returns what the kernel itself knows: modes, slots, numbers, digests, counters. A read that fails is one of
// the problems, and the rest is answered. Interfaces are those with a pinned link.
func kernelStatus(k Kernel, want parts) *api.Status {
	s := &api.Status{Packets: []api.Packets{}, Maps: []api.MapUse{}, Generations: []api.Generation{}, Services: []api.Service{},
		Envelope: api.NewEnvelope(), Source: api.SourcePins, Problems: []api.Problem{}, Interfaces: []api.Interface{}}
	c := k.Control()
	s.Mode = modeName(c.Mode)
	s.Control = &api.Control{Epoch: c.Epoch, Stable: c.Stable, Candidate: c.Candidate, Previous: c.Previous, Host: c.Host, CanaryPermille: c.Canary}
	s.Bypass = bypassOf(k.Bypass())
	if age := k.Heartbeat(); age >= 0 {
		s.HeartbeatAgeSeconds = ptr(age.Seconds())
	}
	if c.Candidate != bpf.SlotEmpty {
		s.LeaseSecondsLeft = ptr(k.Lease().Left().Seconds())
	}
	var unread []api.Problem
	for _, part := range []struct {
		what string
		want bool
		read func(Kernel, *api.Status) error
	}{
		{"the generations", true, readGenerations},
		{"the host file", true, readHost},
		{"the counters", want&withPackets != 0, readPackets},
		{"the maps", want&withMaps != 0, readMaps},
		{"the bans", true, readBans},
		{"the wiring", true, readWiring},
	} {
		if !part.want {
			continue
		}
		if err := part.read(k, s); err != nil {
			unread = append(unread, api.Problem{Code: "kernel_read", Message: fmt.Sprintf("%s cannot be read: %v", part.what, err), Fix: fixOf(err)})
		}
	}
	s.Problems = append(s.Problems, unread...)
	return s
}

func readGenerations(k Kernel, s *api.Status) error {
	all, err := generations(k)
	if err == nil {
		s.Generations = all
	}
	return err
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
		out = append(out, api.Generation{Slot: g.Slot, Role: g.Role, Number: g.Number, Digest: g.Digest, Built: g.Built.UTC(),
			Rules: g.Rules, Prefixes4: g.Prefixes4, Prefixes6: g.Prefixes6, TCP: g.TCP, P0F: g.TCPSignatures, JA4: g.JA4s})
	}
	return out, nil
}

func readHost(k Kernel, s *api.Status) error {
	h, err := k.Host()
	if err != nil {
		return err
	}
	if h == nil {
		return nil
	}
	s.HostNumber = h.Number
	if h.AgentTimeout >= 0 {
		s.AgentTimeoutSeconds = ptr(h.AgentTimeout.Seconds())
	}
	for _, v := range h.Services {
		s.Services = append(s.Services, api.Service{ID: v.ID, Name: v.Name, Kind: v.Kind, Bypass: bypassOf(k.ServiceBypass(v.ID))})
	}
	return nil
}

func bypassOf(d loader.Deadline) api.Bypass {
	b := api.Bypass{Active: d.Active()}
	if b.Active && d != loader.DeadlineForever {
		b.SecondsLeft = ptr(d.Left().Seconds())
	}
	return b
}

func readPackets(k Kernel, s *api.Status) error {
	counters, err := k.Counters()
	if err != nil {
		return err
	}
	names := serviceNames(s.Services)
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

// serviceNames maps ids to names; a service that left the host file keeps its counters under its id.
func serviceNames(services []api.Service) map[uint8]string {
	names := map[uint8]string{}
	for id := range uint8(bpf.ServicesMax) {
		names[id] = fmt.Sprintf("id_%d", id)
	}
	names[0] = ""
	for _, s := range services {
		names[s.ID] = s.Name
	}
	return names
}

// readWiring fills in the interfaces, what is wrong, and whether all of it protects. What cannot be checked is no reason
// to call a host unprotected; it is a problem of its own.
func readWiring(k Kernel, s *api.Status) error {
	attached, err := k.Attachments()
	drifts, werr := k.VerifyWiring()
	for _, d := range drifts {
		if !d.OnInterface() {
			s.Problems = append(s.Problems, api.Problem{Code: "wiring", Message: fmt.Sprintf("%s: want %s, got %s", d.Where, d.Want, d.Got), Fix: "a running agent repairs it: systemctl start spillway"})
		}
	}
	s.Problems = append(s.Problems, serving(s)...)
	works := len(s.Problems) == 0
	for _, a := range attached {
		i := api.Interface{Name: a.Interface, Index: a.Index, State: a.State, Mode: a.Mode, ProgramID: a.ProgramID, LinkID: a.LinkID}
		i.Protected = works && a.State == loader.StateAttached
		s.Interfaces = append(s.Interfaces, i)
	}
	slices.SortFunc(s.Interfaces, func(a, b api.Interface) int { return strings.Compare(a.Name, b.Name) })
	s.Protected = works && len(s.Interfaces) > 0 && !slices.ContainsFunc(s.Interfaces, func(i api.Interface) bool { return !i.Protected })
	return errors.Join(err, werr)
}

// serving names what lets everything pass although all is wired.
func serving(s *api.Status) []api.Problem {
	var out []api.Problem
	if s.Bypass.Active {
		p := api.Problem{Code: "bypass", Message: "bypass is on: everything passes", Fix: "spillway bypass off"}
		if s.Bypass.SecondsLeft != nil {
			p.Message += " for another " + short(roundSeconds(*s.Bypass.SecondsLeft))
		}
		out = append(out, p)
	}
	if s.Control.Host == bpf.SlotEmpty {
		out = append(out, api.Problem{Code: "no_host", Message: "no host file is published: no service is inspected", Fix: "start the agent: systemctl start spillway"})
	}
	if s.Control.Stable == bpf.SlotEmpty && !s.CandidateDecides() {
		out = append(out, api.Problem{Code: "no_generation", Message: "no bundle is in force: everything but bans passes", Fix: "spillway apply BUNDLE"})
	}
	if t := s.AgentTimeoutSeconds; t != nil && (s.HeartbeatAgeSeconds == nil || *s.HeartbeatAgeSeconds > *t) {
		out = append(out, api.Problem{Code: "agent_lost", Message: "the agent has been gone longer than guards.agent_timeout: everything passes", Fix: "start the agent: systemctl start spillway"})
	}
	return out
}

// short prints a duration as a person writes it: 30m, not 30m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func roundSeconds(s float64) time.Duration {
	return time.Duration(math.Ceil(s)) * time.Second
}
