// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spillway/spillway/userspace/api"
)

// metric is one row of the table below.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

// The metrics, in the order of their importance to whoever is woken by them.
var (
	protected = gauge("spillway_protected",
		"1 while what the rules find is blocked, or limited, on the interface; 0 in observe mode.", "interface")
	deciding = gauge("spillway_deciding", "1 while the interface is attached and what is attached decides, by blocking or in observe mode by counting: programs wired, a bundle in force that can block, no bypass, the agent not lost.",
		"interface")
	attached = gauge("spillway_attached", "1 while the root program is attached to the interface.", "interface",
		"mode")
	scrapeFailed = gauge("spillway_kernel_readable", "1 while the agent could read the kernel part for this scrape.")
	mode         = gauge("spillway_mode", "Mode of the dataplane: 0 observe, 1 enforce.")
	modeInfo     = gauge("spillway_mode_info", "Mode of the dataplane, as a label.", "mode")
	packets      = counter("spillway_packets_total", "Packets by service, reason and verdict.",
		"service", "reason", "verdict")
	connections = counter("spillway_connections_total",
		"Connections by service, reason and verdict, each counted once: at its first payload, or at its SYN where that "+
			"is blocked. tag passes; limit is beyond its rate, and waits or is reset.",
		"service", "reason", "verdict")
	alone = counter("spillway_alone_packets_total", "Packets that were, or would have been, blocked by themselves and belong to no connection (UDP, fragments, data whose beginning nobody saw).",
		"service", "reason", "verdict")
	bypass = gauge("spillway_bypass",
		"1 while everything (service \"all\"), or the service, passes by the kill switch.", "service")
	bypassLeft = gauge("spillway_bypass_seconds_left",
		"Seconds until the bypass ends by itself; +Inf when it ends only by hand, 0 when it is off.", "service")
	heartbeatAge = gauge("spillway_heartbeat_age_seconds", "Seconds since the agent last told the kernel that it lives.")
	agentTimeout = gauge("spillway_agent_timeout_seconds",
		"Age of the heartbeat from which everything passes; +Inf when never.")
	leaseLeft = gauge("spillway_lease_seconds_left",
		"Seconds that the kernel still honours the candidate without word from the agent; 0 without a candidate.")
	generation = gauge("spillway_generation_info",
		"Resident generations; digest12 is the start of the bundle's SHA-256.", "role", "number", "digest12")
	number = gauge("spillway_generation_number",
		"Number of the generation in a role; 0 when there is none.", "role")
	knownGood = gauge("spillway_last_known_good_info",
		"The bundle that a reboot comes back with.", "number", "digest12")
	bundleSince = gauge("spillway_bundle_start_time_seconds",
		"When this version of a bundle in force came to this host, as a Unix time.", "bundle")
	bundleEnd = gauge("spillway_bundle_end_time_seconds",
		"When the last rule of a bundle in force ends, as a Unix time; absent where one of them has no end.", "bundle")
	confirmLeft = gauge("spillway_confirm_deadline_seconds",
		"Seconds until an unconfirmed candidate goes back by itself; 0 when none waits.")
	bakeLeft = gauge("spillway_bake_seconds_left",
		"Seconds until the stable bundle becomes last-known-good; 0 when it is.")
	ruleMatches = counter("spillway_rule_matches_total",
		"Matches by rule, of at most 200 rules; the rest is rule \"other\". Of SYNs that prefixes alone condemn, other features are "+
			"looked at for as many as become events.", "rule", "label")
	mapEntries  = gauge("spillway_map_entries", "Entries of a kernel map, where counting them is cheap.", "map")
	mapCapacity = gauge("spillway_map_capacity_entries", "Entries that a kernel map can hold.", "map")
	mapBytes    = gauge("spillway_map_bytes", "Memory of a kernel map.", "map")
	bans        = gauge("spillway_bans", "Bans in force.")
	drift       = gauge("spillway_drift_entries",
		"Places in which the kernel held something else than it should, at the last comparison.")
	driftAge = gauge("spillway_drift_check_age_seconds",
		"Seconds since the last comparison of the kernel with the bundle.")
	eventsLost = counter("spillway_events_lost_total",
		"Events that were not told because the ring or the rate was full.")
	eventsDropped = counter("spillway_events_dropped_total", "Events that a reader of the API was too slow for.")
	limitsLost    = counter("spillway_limits_lost_total",
		"Connections that passed without being charged to their limit, since others charged keys of the same set at "+
			"that moment.")
	limitsEvicted = counter("spillway_limits_evicted_total",
		"Keys of limits that were forgotten before their time, since their set was full: each has its whole burst again.")
	applies   = counter("spillway_applies_total", "Applies by outcome.", "outcome")
	rollbacks = counter("spillway_rollbacks_total",
		"Generations that were left: by hand, or because nobody confirmed.")
	repairs = counter("spillway_watchdog_repairs_total", "Repairs by the watchdog: program (the dataplane was missing behind the root program), link (an interface had lost its link).",
		"what")
	releases = counter("spillway_sockets_released_total", "Sockets of this host that were closed because their connection is blocked: fin (the client ended it) or silence (the client said nothing more).",
		"by")
	problems  = gauge("spillway_problem", "1 for each problem that status shows.", "code")
	buildInfo = gauge("spillway_build_info", "The running agent.", "version", "goversion")
	startTime = gauge("spillway_agent_start_time_seconds", "When the agent started, as a Unix time.")
)

var all = []metric{protected, deciding, attached, scrapeFailed, mode, modeInfo, packets, connections, alone, bypass,
	bypassLeft, heartbeatAge, agentTimeout, leaseLeft, generation, number, knownGood,
	bundleSince, bundleEnd,
	confirmLeft, bakeLeft, ruleMatches, mapEntries, mapCapacity, mapBytes, bans, drift, driftAge, eventsLost,
	eventsDropped, limitsLost, limitsEvicted, applies, rollbacks, repairs, releases, problems, buildInfo, startTime}

// Outcomes, roles and repairs are exported from the start, with 0: a counter that appears with 1 has no increase.
var (
	outcomes = []string{api.OutcomeApplied, api.OutcomeCandidate, api.OutcomeUnchanged, api.OutcomeRefused,
		api.OutcomeHeld, api.OutcomeFailed}
	roles    = []string{"stable", "candidate", "previous"}
	repaired = []string{"program", "link"}
	released = []string{ReleasedFIN, ReleasedSilence}
)

type collector struct{ source Source }

// New returns the collector of a source.
func New(s Source) prometheus.Collector { return collector{s} }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range slices.Concat(all, allOfRollouts) {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s, err := c.source.Metrics()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(protected.desc, err)
		return
	}
	e := emitter{ch}
	e.agent(s)
	e.rollouts(s)
	e.interfaces(s.Status)
	e.emit(scrapeFailed, truth(s.Status.Control != nil))
	if s.Status.Control != nil {
		e.kernel(s)
	}
	for _, c := range s.Counts {
		e.emit(packets, float64(c.Packets), service(c.Service), c.Reason, c.Verdict)
		if c.Connections > 0 {
			e.emit(connections, float64(c.Connections), service(c.Service), c.Reason, c.Verdict)
		}
		if c.Alone > 0 {
			e.emit(alone, float64(c.Alone), service(c.Service), c.Reason, c.Verdict)
		}
	}
	for _, r := range s.Rules {
		e.emit(ruleMatches, float64(r.Matches), r.ID, r.Label)
	}
}

// service gives what belongs to no service a name: an empty label is no label.
func service(name string) string {
	if name == "" {
		return "none"
	}
	return name
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
