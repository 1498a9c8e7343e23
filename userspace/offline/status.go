// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// namesFrom is how far back the history is read for the names of bundles.
const namesFrom = 1000

// Status tells what the kernel does, without an agent: all that can be read, and what cannot as a problem. Names come from the history, when it can be read.
func (s *Session) Status() (*api.Status, error) {
	st := &api.Status{Envelope: api.NewEnvelope(), Source: api.SourcePins, Problems: []api.Problem{},
		Interfaces: []api.Interface{}, Generations: []api.Generation{}, Services: []api.Service{}, Packets: []api.Packets{}, Maps: []api.MapUse{}}
	c := s.d.Control()
	st.Control = &api.Control{Epoch: c.Epoch, Stable: c.Stable, Candidate: c.Candidate, Previous: c.Previous, Host: c.Host, CanaryPermille: c.Canary}
	st.Mode = modeName(c.Mode)
	st.Bypass = bypassOf(s.d.Bypass())
	var unread []api.Problem
	for _, part := range []struct {
		what string
		read func(*api.Status) error
	}{{"the interfaces", s.interfaces}, {"the generations", s.generations}, {"the host file", s.host}, {"the counters", s.packets}, {"the maps", s.rest}} {
		if err := part.read(st); err != nil {
			unread = append(unread, api.Problem{Code: "kernel_read", Message: fmt.Sprintf("%s cannot be read: %v", part.what, err), Fix: "`spillway doctor` says what is missing"})
		}
	}
	s.judge(st)
	st.Problems = append(st.Problems, unread...)
	return st, nil
}

func modeName(m bpf.Mode) string {
	if m == bpf.DataplaneModeMODE_ENFORCE {
		return string(config.ModeEnforce)
	}
	return string(config.ModeObserve)
}

func bypassOf(d loader.Deadline) api.Bypass {
	b := api.Bypass{Active: d.Active()}
	if b.Active && d != loader.DeadlineForever {
		b.SecondsLeft = seconds(d.Left())
	}
	return b
}

func seconds(d time.Duration) *float64 {
	v := d.Seconds()
	return &v
}

func (s *Session) interfaces(st *api.Status) error {
	all, err := s.d.Attachments()
	if err != nil {
		return err
	}
	for _, a := range all {
		i := api.Interface{Name: a.Interface, Index: a.Index, State: a.State, Mode: a.Mode, ProgramID: a.ProgramID, LinkID: a.LinkID,
			Protected: a.State == loader.StateAttached}
		if !i.Protected {
			i.Problem, i.Fix = "nothing is attached: everything passes", "start the agent; it attaches again"
		}
		st.Interfaces = append(st.Interfaces, i)
	}
	if s.places.Host == nil {
		return nil
	}
	for _, want := range s.places.Host.Interfaces {
		if !hasInterface(st.Interfaces, want.Name) {
			st.Interfaces = append(st.Interfaces, api.Interface{Name: want.Name, State: loader.StateMissing,
				Problem: "nothing is attached: everything passes", Fix: "start the agent; it attaches"})
		}
	}
	return nil
}

func hasInterface(all []api.Interface, name string) bool {
	for _, i := range all {
		if i.Name == name {
			return true
		}
	}
	return false
}

func (s *Session) generations(st *api.Status) error {
	all, err := s.d.Generations()
	if err != nil {
		return err
	}
	names := s.names()
	for _, g := range all {
		d := config.Digest(g.Digest)
		st.Generations = append(st.Generations, api.Generation{Slot: g.Slot, Role: g.Role, Number: g.Number, Digest: d, Name: names[d],
			Built: g.Built, Rules: g.Rules, Prefixes4: g.Prefixes4, Prefixes6: g.Prefixes6, TCP: g.TCP, P0F: g.TCPSignatures, JA4: g.JA4s})
	}
	return nil
}

// names of bundles by digest, from the history.
func (s *Session) names() map[config.Digest]string {
	names := map[config.Digest]string{}
	entries, _, err := state.ReadHistory(s.places.State, namesFrom)
	if err != nil {
		return names
	}
	for _, e := range entries {
		if e.Name != "" && names[e.Digest] == "" {
			names[e.Digest] = e.Name
		}
	}
	return names
}

func (s *Session) host(st *api.Status) error {
	h, err := s.d.Host()
	if err != nil || h == nil {
		return err
	}
	st.HostNumber = h.Number
	if h.AgentTimeout >= 0 {
		st.AgentTimeoutSeconds = seconds(h.AgentTimeout)
	}
	for _, v := range h.Services {
		st.Services = append(st.Services, api.Service{ID: v.ID, Name: v.Name, Kind: v.Kind, Bypass: bypassOf(s.d.ServiceBypass(v.ID))})
	}
	return nil
}

func (s *Session) packets(st *api.Status) error {
	counters, err := s.d.Counters()
	if err != nil {
		return err
	}
	names := map[uint8]string{0: ""}
	for _, v := range st.Services {
		names[v.ID] = v.Name
	}
	for _, c := range counters {
		name, known := names[c.Service]
		if !known {
			name = fmt.Sprintf("(left %d)", c.Service) // a service that the host file no longer has
		}
		st.Packets = append(st.Packets, api.Packets{Service: name, Slot: c.Slot, Left: c.Left, Reason: bpf.ReasonName(c.Reason),
			Verdict: bpf.OutcomeName(c.Outcome), Packets: c.Packets,
			Connections: c.Connections, Alone: c.Alone})
	}
	return nil
}

func (s *Session) rest(st *api.Status) error {
	if age := s.d.Heartbeat(); age >= 0 {
		st.HeartbeatAgeSeconds = seconds(age)
	}
	if l := s.d.Lease(); l.Active() && st.Control.Candidate != bpf.SlotEmpty {
		st.LeaseSecondsLeft = seconds(l.Left())
	}
	uses, err := s.d.MapUse()
	if err != nil {
		return err
	}
	for _, u := range uses {
		m := api.MapUse{Name: u.Name, Capacity: u.Capacity, Bytes: u.Bytes}
		if u.Entries >= 0 {
			m.Entries = &u.Entries
		}
		if u.Name == bpf.DataplaneMapBans {
			st.Bans, st.BanCapacity = max(u.Entries, 0), u.Capacity
		}
		st.Maps = append(st.Maps, m)
	}
	st.EventsLost, err = s.d.EventLosses()
	return err
}

// judge says whether the host is protected and what is wrong.
func (s *Session) judge(st *api.Status) {
	problem := func(code, message, fix string) {
		st.Problems = append(st.Problems, api.Problem{Code: code, Message: message, Fix: fix})
	}
	decided := st.Control.Stable != bpf.SlotEmpty || st.CandidateDecides()
	st.Protected = len(st.Interfaces) > 0 && decided && st.Control.Host != bpf.SlotEmpty && !st.Bypass.Active
	for _, i := range st.Interfaces {
		if !i.Protected {
			st.Protected = false
			problem("not_attached", "interface "+i.Name+" is "+i.State+": everything passes there", i.Fix)
		}
	}
	const start = "systemctl start spillway, or: spillway run"
	if len(st.Interfaces) == 0 {
		problem("not_attached", "no interface is attached: everything passes", start)
	}
	if !decided {
		problem("no_generation", "no bundle is applied: everything passes", start+", then: spillway apply BUNDLE")
	}
	age, limit := s.d.Heartbeat(), st.AgentTimeoutSeconds
	switch {
	case limit != nil && (age < 0 || age.Seconds() >= *limit):
		st.Protected = false
		problem("agent_lost", "the agent has been gone too long: everything passes", start)
	case limit != nil:
		left := short(time.Duration((*limit - age.Seconds()) * float64(time.Second)))
		problem("no_agent", fmt.Sprintf("no agent runs; in %s everything passes", left), start)
	default:
		problem("no_agent", "no agent runs: nothing renews, sweeps or reports", start)
	}
}

// Verify checks the wiring. Rows cannot be compared: only the agent knows with which clock they were compiled.
func (s *Session) Verify() (*api.Verification, error) {
	found, err := s.d.VerifyWiring()
	if err != nil {
		return nil, fmt.Errorf("verify the wiring: %w", err)
	}
	v := &api.Verification{Envelope: api.NewEnvelope(), Checked: s.now().UTC(), Entries: []api.DriftEntry{},
		Left: []string{"the rows of the generations: only a running agent can compare them with their bundles"}}
	for _, d := range found {
		v.Entries = append(v.Entries, api.DriftEntry{Where: d.Where, Want: d.Want, Got: d.Got})
	}
	return v, nil
}

// anyVersion reports whether a folder of some version is below the pins.
func anyVersion(pins string) bool {
	found, _ := filepath.Glob(filepath.Join(pins, "v*"))
	return len(found) > 0
}

// Bans lists the bans in force. Who made them and why is in the agent's state.
func (s *Session) Bans() (*api.BanList, error) {
	bans, err := s.d.Bans()
	if err != nil {
		return nil, err
	}
	list := &api.BanList{Envelope: api.NewEnvelope(), Bans: []api.Ban{}}
	for _, b := range bans {
		list.Bans = append(list.Bans, api.Ban{Prefix: b.Prefix.String(), Expires: b.Expires})
	}
	return list, nil
}
