// SPDX-License-Identifier: Apache-2.0

// Command gen writes the Grafana dashboard: a table of panels here, a thousand lines of JSON there.
//
//	go run ./config/dashboards/gen > config/dashboards/spillway.json
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// panel is one row of the table.
type panel struct {
	title, about string
	kind         string // stat, timeseries, table, row
	width        int    // of 24
	unit         string
	queries      []query
	mappings     []mapping // of a stat's values to words
	stacked      bool
}

type query struct{ expr, legend string }

type mapping struct {
	value, text, color string
}

// selector limits every query to the hosts that are chosen at the top.
const selector = `job=~"$job", instance=~"$instance"`

func q(expr, legend string) query { return query{expr, legend} }

var yesNo = []mapping{{"0", "NO", "red"}, {"1", "yes", "green"}}

var panels = []panel{
	{title: "Now", kind: "row"},
	{title: "Protected",
		about: "Attached, wired, a bundle in force, no bypass, the agent not lost. Visitors are served in any case.",
		kind:  "stat", width: 6, mappings: yesNo,
		queries: []query{q(`min by (instance, interface) (spillway_protected{`+selector+`})`, "{{instance}} {{interface}}")}},
	{title: "Mode", kind: "stat", width: 4, mappings: []mapping{{"0", "observe", "blue"}, {"1", "enforce", "green"}},
		queries: []query{q(`spillway_mode{`+selector+`}`, "{{instance}}")}},
	{title: "Bypass", about: "The kill switch. Everything, or the named service, passes.", kind: "stat", width: 4,
		mappings: []mapping{{"0", "off", "green"}, {"1", "ON", "red"}},
		queries:  []query{q(`max by (instance) (spillway_bypass{`+selector+`})`, "{{instance}}")}},
	{title: "Stable generation", kind: "stat", width: 4, unit: "none",
		queries: []query{q(`spillway_generation_number{`+selector+`, role="stable"}`, "{{instance}}")}},
	{title: "Heartbeat age", about: "At guards.agent_timeout everything passes.", kind: "stat", width: 3, unit: "s",
		queries: []query{q(`spillway_heartbeat_age_seconds{`+selector+`}`, "{{instance}}")}},
	{title: "Problems", kind: "stat", width: 3, unit: "none",
		queries: []query{q(`count by (instance) (spillway_problem{`+selector+`}) or 0 * spillway_build_info{`+selector+`}`,
			"{{instance}}")}},

	{title: "Traffic", kind: "row"},
	{title: "Connections by verdict",
		about: "Each counted once: at its first payload, or at its SYN where that is blocked.", kind: "timeseries", width: 8,
		unit: "cps", stacked: true,
		queries: []query{
			q(`sum by (verdict) (rate(spillway_connections_total{`+selector+`, service=~"$service"}[$__rate_interval]))`,
				"{{verdict}}")}},
	{title: "Blocked, or would be", about: "Share of the connections to inspected services.", kind: "timeseries", width: 8,
		unit: "percentunit", queries: []query{
			q(`sum(rate(spillway_connections_total{`+selector+
				`, service=~"$service", verdict=~"drop|reset|limit"}[$__rate_interval])) / sum(rate(spillway_connections_total{`+
				selector+`, service=~"$service"}[$__rate_interval]))`, "blocked"),
			q(`sum(rate(spillway_connections_total{`+selector+
				`, service=~"$service", verdict=~"would_.+"}[$__rate_interval])) / sum(rate(spillway_connections_total{`+selector+
				`, service=~"$service"}[$__rate_interval]))`, "would be blocked")}},
	{title: "Packets by verdict", kind: "timeseries", width: 8, unit: "pps", stacked: true,
		queries: []query{
			q(`sum by (verdict) (rate(spillway_packets_total{`+selector+`, service=~"$service"}[$__rate_interval]))`,
				"{{verdict}}")}},
	{title: "Tagged and limited",
		about: "Tagged connections pass. Limited ones are beyond their rate: they wait until there is room, or are reset.",
		kind:  "timeseries", width: 12, unit: "cps", queries: []query{
			q(`sum by (service, verdict) (rate(spillway_connections_total{`+selector+
				`, service=~"$service", verdict=~"tag|limit|would_limit"}[$__rate_interval]))`, "{{service}} {{verdict}}")}},
	{title: "Limits that could not be held",
		about: "Connections that passed uncharged, and keys that were forgotten early: their set was full.",
		kind:  "timeseries", width: 12, unit: "cps", queries: []query{
			q(`rate(spillway_limits_lost_total{`+selector+`}[$__rate_interval])`, "{{instance}} uncharged"),
			q(`rate(spillway_limits_evicted_total{`+selector+`}[$__rate_interval])`, "{{instance}} forgotten")}},
	{title: "Packets by reason", kind: "timeseries", width: 12, unit: "pps",
		queries: []query{
			q(`sum by (reason) (rate(spillway_packets_total{`+selector+
				`, service=~"$service", reason!~"not_ip|not_service"}[$__rate_interval])) > 0`, "{{reason}}")}},
	{title: "Top rules", kind: "timeseries", width: 12, unit: "cps",
		queries: []query{
			q(`topk(10, sum by (rule, label) (rate(spillway_rule_matches_total{`+selector+`}[$__rate_interval])))`,
				"{{rule}} ({{label}})")}},
	{title: "Blocked by service",
		about: "Connections, and packets that belong to none: UDP, fragments, data whose beginning nobody saw.",
		kind:  "timeseries", width: 12, unit: "cps", queries: []query{
			q(`sum by (service, verdict) (rate(spillway_connections_total{`+selector+
				`, service=~"$service", verdict!~"pass|tag"}[$__rate_interval]))`, "{{service}} {{verdict}}"),
			q(`sum by (service, verdict) (rate(spillway_alone_packets_total{`+selector+
				`, service=~"$service"}[$__rate_interval]))`, "{{service}} {{verdict}}, packets alone")}},
	{title: "Spared", about: "Would have been blocked, and passed: protected sources, a lost agent, a bypass.",
		kind: "timeseries", width: 12, unit: "pps",
		queries: []query{
			q(`sum by (reason) (rate(spillway_packets_total{`+selector+
				`, service=~"$service", reason=~"protected|agent_lost|service_bypass|weak|internal"}[$__rate_interval]))`,
				"{{reason}}")}},

	{title: "Bundles", kind: "row"},
	{title: "Generations", kind: "timeseries", width: 8, unit: "none",
		queries: []query{q(`spillway_generation_number{`+selector+`} > 0`, "{{instance}} {{role}}")}},
	{title: "Resident bundles", about: "digest12 is the start of the bundle's SHA-256.", kind: "table", width: 8,
		queries: []query{q(`spillway_generation_info{`+selector+`}`, "")}},
	{title: "Applies and rollbacks", kind: "timeseries", width: 8, unit: "none", queries: []query{
		q(`sum by (outcome) (increase(spillway_applies_total{`+selector+`}[$__rate_interval])) > 0`, "{{outcome}}"),
		q(`sum(increase(spillway_rollbacks_total{`+selector+`}[$__rate_interval])) > 0`, "rolled back")}},
	{title: "Deadlines",
		about: "An unconfirmed bundle goes back by itself; a new one bakes before it is last-known-good; a bypass with an end ends.",
		kind:  "timeseries", width: 8, unit: "s", queries: []query{
			q(`spillway_confirm_deadline_seconds{`+selector+`} > 0`, "{{instance}} confirm"),
			q(`spillway_bake_seconds_left{`+selector+`} > 0`, "{{instance}} bake"),
			q(`spillway_lease_seconds_left{`+selector+`} > 0`, "{{instance}} lease"),
			q(`spillway_bypass_seconds_left{`+selector+`} > 0 < Inf`, "{{instance}} bypass {{service}}")}},
	{title: "Last-known-good", about: "What a reboot comes back with.", kind: "table", width: 8,
		queries: []query{q(`spillway_last_known_good_info{`+selector+`}`, "")}},
	{title: "Bans", kind: "timeseries", width: 8, unit: "none",
		queries: []query{q(`spillway_bans{`+selector+`}`, "{{instance}}")}},

	{title: "Rollouts", kind: "row"},
	{title: "Stage", about: "Empty where guards.rollout is direct, and while nothing rolls out.", kind: "timeseries", width: 6,
		unit: "none", queries: []query{q(`spillway_rollout_stage{`+selector+`} == 1`, "{{instance}} {{lane}} {{stage}}")}},
	{title: "New blocks", about: "Of the votes of the stage: a vote is one source prefix in 24 hours.", kind: "timeseries",
		width: 6, unit: "percentunit", queries: []query{
			q(`sum by (instance, lane, kind) (spillway_rollout_votes{`+selector+`, kind=~"new_block_.+"})`+
				` / on (instance, lane) group_left sum by (instance, lane) (spillway_rollout_votes{`+selector+`}) > 0`,
				"{{instance}} {{lane}} {{kind}}")}},
	{title: "Failing, canary and others", kind: "timeseries", width: 6, unit: "percentunit", queries: []query{
		q(`sum by (instance, arm) (spillway_rollout_arm_prefixes{`+selector+`, state="failing"})`+
			` / sum by (instance, arm) (spillway_rollout_arm_prefixes{`+selector+`}) > 0`, "{{instance}} {{arm}}")}},
	{title: "Decisions by gate", about: "And what is held, frozen or in quarantine.", kind: "timeseries", width: 6,
		unit: "none", queries: []query{
			q(`sum by (gate) (increase(spillway_rollout_decisions_total{`+selector+`}[$__rate_interval])) > 0`, "{{gate}}"),
			q(`spillway_rollout_held{`+selector+`} > 0`, "{{instance}} held"),
			q(`spillway_rollout_frozen{`+selector+`} > 0`, "{{instance}} frozen"),
			q(`spillway_rollout_quarantined{`+selector+`} > 0`, "{{instance}} in quarantine")}},

	{title: "Machine", kind: "row"},
	{title: "Maps: how full", kind: "timeseries", width: 8, unit: "percentunit",
		queries: []query{q(`spillway_map_entries{`+selector+`} / spillway_map_capacity_entries{`+selector+`}`,
			"{{instance}} {{map}}")}},
	{title: "Maps: memory", kind: "timeseries", width: 8, unit: "bytes", stacked: true,
		queries: []query{q(`sum by (map) (spillway_map_bytes{`+selector+`})`, "{{map}}")}},
	{title: "Watchdog", about: "Repairs, and rows that differ from the bundle.", kind: "timeseries", width: 8,
		unit: "none", queries: []query{
			q(`increase(spillway_watchdog_repairs_total{`+selector+`}[$__rate_interval])`, "{{instance}} repaired {{what}}"),
			q(`spillway_drift_entries{`+selector+`}`, "{{instance}} drift")}},
	{title: "Events that were not told", kind: "timeseries", width: 8, unit: "cps", queries: []query{
		q(`rate(spillway_events_lost_total{`+selector+`}[$__rate_interval])`, "{{instance}} kernel"),
		q(`rate(spillway_events_dropped_total{`+selector+`}[$__rate_interval])`, "{{instance}} slow readers")}},
	{title: "Agent memory", kind: "timeseries", width: 8, unit: "bytes",
		queries: []query{q(`process_resident_memory_bytes{`+selector+`} and on (job, instance) spillway_build_info`,
			"{{instance}}")}},
	{title: "Agent CPU", kind: "timeseries", width: 8, unit: "percentunit",
		queries: []query{
			q(`rate(process_cpu_seconds_total{`+selector+`}[$__rate_interval]) and on (job, instance) spillway_build_info`,
				"{{instance}}")}},
}

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(dashboard()); err != nil {
		return fmt.Errorf("write dashboard: %w", err)
	}
	return nil
}
