// SPDX-License-Identifier: Apache-2.0

package view

import (
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
)

// Status tells a reading, and what it means. Names, deadlines and counters are the caller's to add.
func Status(r Reading) (*api.Status, Verdict) {
	v := Judge(r)
	s := &api.Status{Envelope: api.NewEnvelope(), State: v.State, Says: v.Says, Protected: v.Protected(),
		Problems: v.Problems, Interfaces: v.Interfaces, Mode: ModeName(r.Control.Mode), Bypass: Bypass(r.Bypass),
		Generations: []api.Generation{}, Services: []api.Service{},
		Packets: []api.Packets{}, Maps: []api.MapUse{}}
	c := r.Control
	s.Control = &api.Control{Epoch: c.Epoch, Stable: c.Stable, Candidate: c.Candidate, Previous: c.Previous, Host: c.Host,
		CanaryPermille: c.Canary}
	if r.Heartbeat >= 0 {
		s.HeartbeatAgeSeconds = seconds(r.Heartbeat)
	}
	if c.Candidate != bpf.SlotEmpty {
		s.LeaseSecondsLeft = seconds(r.Lease.Left())
	}
	for _, g := range r.Generations {
		s.Generations = append(s.Generations, Generation(g))
	}
	if r.Host != nil {
		s.HostNumber = r.Host.Number
		if r.Host.AgentTimeout >= 0 {
			s.AgentTimeoutSeconds = seconds(r.Host.AgentTimeout)
		}
		for _, h := range r.Host.Services {
			if r.Untracked != nil && (h.Confirm == config.ConfirmAuto || h.Confirm == config.ConfirmEgress) {
				s.Untracked = r.Untracked.Error()
			}
			s.Services = append(s.Services, api.Service{ID: h.ID, Name: h.Name, Kind: h.Kind, Bypass: Bypass(r.Services[h.ID]),
				Policy: r.policyAt(h.Tag)})
		}
	}
	return s, v
}

// policyAt is what the generation in force does at a service; nil where none is, or it does not know the service.
func (r Reading) policyAt(tag uint32) *api.Policy {
	j := judge{Reading: r}
	g, ok := j.inForce()
	if p, known := g.Policies[tag]; ok && known {
		return api.PolicyOf(p.Counts)
	}
	return nil
}

// Blind is the reading of whoever could open no dataplane: netlink alone says whether something is attached.
func Blind(n Network, wanted []string) Reading {
	return Reading{Heartbeat: -1, Interfaces: lookAt(n, wanted, nil)}
}

// BlindStatus tells such a reading.
func BlindStatus(r Reading) *api.Status {
	s, _ := Status(r)
	s.Mode, s.Control = "", nil
	return s
}

// Generation tells a generation as the kernel holds it.
func Generation(g loader.GenerationInfo) api.Generation {
	out := api.Generation{Slot: g.Slot, Role: g.Role, Number: g.Number, Digest: g.Digest, Built: g.Built.UTC(),
		Rules: g.Rows["rules"],
		Rows:  api.Rows{}}
	for _, m := range compile.Counted() {
		out.Rows[m.Told] = g.Rows[m.Room]
	}
	return out
}

// ModeName names a mode as the host file does.
func ModeName(m bpf.Mode) string {
	if m == modeEnforce {
		return string(config.ModeEnforce)
	}
	return string(config.ModeObserve)
}

// Bypass tells a kill switch.
func Bypass(d loader.Deadline) api.Bypass {
	b := api.Bypass{Active: d.Active()}
	if b.Active && d != loader.DeadlineForever {
		b.SecondsLeft = seconds(d.Left())
	}
	return b
}

func seconds(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}
