// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spillway/spillway/userspace/api"
)

type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) emit(m metric, v float64, labels ...string) {
	got, err := prometheus.NewConstMetric(m.desc, m.kind, v, labels...)
	if err != nil {
		got = prometheus.NewInvalidMetric(m.desc, err)
	}
	e.ch <- got
}

// agent emits what the agent itself knows, with and without a kernel part.
func (e emitter) agent(s *Snapshot) {
	e.emit(buildInfo, 1, s.Build.Version, s.Build.GoVersion)
	if a := s.Status.Agent; a != nil {
		e.emit(startTime, float64(a.Started.UnixMilli())/1000)
	}
	counts := map[string]uint64{}
	for _, o := range outcomes {
		counts[o] = 0
	}
	for o, n := range s.Applies {
		counts[o] = n
	}
	for o, n := range counts {
		e.emit(applies, float64(n), o)
	}
	for _, what := range repaired {
		e.emit(repairs, float64(s.Repairs[what]), what)
	}
	for _, by := range released {
		e.emit(releases, float64(s.Released[by]), by)
	}
	e.emit(rollbacks, float64(s.Rollbacks))
	e.emit(eventsDropped, float64(s.EventsDropped))
	seen := map[string]bool{}
	for _, p := range s.Status.Problems {
		if !seen[p.Code] {
			seen[p.Code] = true
			e.emit(problems, 1, p.Code)
		}
	}
	if c := s.Status.Confirm; c != nil {
		e.emit(confirmLeft, max(0, c.Deadline.Sub(s.Now).Seconds()))
	} else {
		e.emit(confirmLeft, 0)
	}
	if b := s.Status.Bake; b != nil {
		e.emit(bakeLeft, max(0, b.Until.Sub(s.Now).Seconds()))
	} else {
		e.emit(bakeLeft, 0)
	}
	if k := s.Status.LastKnownGood; k != nil {
		e.emit(knownGood, 1, decimal(k.Number), k.Digest.Short())
	}
	for _, l := range s.Lives {
		e.emit(bundleSince, float64(l.Since.UnixMilli())/1000, l.Bundle)
		if !l.End.IsZero() {
			e.emit(bundleEnd, float64(l.End.Unix()), l.Bundle)
		}
	}
	if d := s.Status.Drift; d != nil {
		e.emit(drift, float64(len(d.Entries)))
		e.emit(driftAge, max(0, s.Now.Sub(d.Checked).Seconds()))
	}
}

func (e emitter) interfaces(s *api.Status) {
	for _, i := range s.Interfaces {
		e.emit(protected, truth(i.Protected), i.Name)
		e.emit(deciding, truth(i.Decides), i.Name)
		how := i.Mode
		if how == "" {
			how = "none"
		}
		e.emit(attached, truth(i.State == "attached"), i.Name, how)
	}
}

// kernel emits what the kernel knows.
func (e emitter) kernel(s *Snapshot) {
	k := s.Status
	e.emit(mode, truth(k.Mode == "enforce"))
	e.emit(modeInfo, 1, k.Mode)
	e.bypass("all", k.Bypass)
	for _, v := range k.Services {
		e.bypass(v.Name, v.Bypass)
	}
	if k.HeartbeatAgeSeconds != nil {
		e.emit(heartbeatAge, *k.HeartbeatAgeSeconds)
	}
	e.emit(agentTimeout, orInfinity(k.AgentTimeoutSeconds))
	lease := 0.0
	if k.LeaseSecondsLeft != nil {
		lease = *k.LeaseSecondsLeft
	}
	e.emit(leaseLeft, lease)
	e.generations(k.Generations)
	e.emit(bans, float64(k.Bans))
	e.emit(eventsLost, float64(k.EventsLost))
	e.emit(limitsLost, float64(k.LimitsLost))
	e.emit(limitsEvicted, float64(k.LimitsEvicted))
	for _, m := range k.Maps {
		if m.Entries != nil {
			e.emit(mapEntries, float64(*m.Entries), m.Name)
		}
		e.emit(mapCapacity, float64(m.Capacity), m.Name)
		e.emit(mapBytes, float64(m.Bytes), m.Name)
	}
}

func (e emitter) bypass(name string, b api.Bypass) {
	e.emit(bypass, truth(b.Active), name)
	left := 0.0
	if b.Active {
		left = orInfinity(b.SecondsLeft)
	}
	e.emit(bypassLeft, left, name)
}

func orInfinity(v *float64) float64 {
	if v == nil {
		return math.Inf(1)
	}
	return *v
}

func (e emitter) generations(resident []api.Generation) {
	numbers := map[string]uint32{}
	for _, g := range resident {
		numbers[g.Role] = g.Number
		e.emit(generation, 1, g.Role, decimal(g.Number), g.Digest.Short())
	}
	for _, role := range roles {
		e.emit(number, float64(numbers[role]), role)
	}
}
