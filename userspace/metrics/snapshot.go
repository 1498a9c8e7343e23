// SPDX-License-Identifier: Apache-2.0

// Package metrics shows what Spillway does to Prometheus. Everything is read when it is scraped; nothing is kept here.
// No address and no fingerprint is ever a label: labels come from the host file, the bundle's rules and closed sets.
package metrics

import (
	"time"

	"github.com/spillway/spillway/userspace/api"
)

// Source is where a scrape reads: the agent.
type Source interface {
	Metrics() (*Snapshot, error)
}

// Snapshot is what one scrape shows.
type Snapshot struct {
	Status *api.Status
	// Counts are the kernel's own since its maps were made: they only grow, whatever happens to slots, generations and
	// agents. Rules only grow while the agent runs.
	Counts []Count
	Rules  []Rule
	// Lives of the bundles in force.
	Lives []Life
	// Applies by outcome; Repairs by what was repaired.
	Applies   map[string]uint64
	Repairs   map[string]uint64
	Rollbacks uint64
	// Decisions of rollouts that go in stages, by gate, and how many of them took a rollout back; since the agent started.
	Decisions map[string]uint64
	TakenBack uint64
	// Released counts sockets of blocked connections that were closed, by what closed them.
	Released map[string]uint64
	// EventsDropped counts events that a reader of the API was too slow for.
	EventsDropped uint64
	Now           time.Time
	Build         Build
}

// Count is what left with a verdict: packets, connections that were decided so, and packets that were blocked by
// themselves.
type Count struct {
	Service, Reason, Verdict    string
	Packets, Connections, Alone uint64
}

// Life is when a bundle came to this host, and when nothing of it blocks any more; End is zero where that is never.
type Life struct {
	Bundle     string
	Since, End time.Time
}

// Rule is a count of matches.
type Rule struct {
	ID, Label string
	Matches   uint64
}

// What closes a socket of a blocked connection.
const (
	ReleasedFIN     = "fin"
	ReleasedSilence = "silence"
)

// Build names this program.
type Build struct {
	Version, GoVersion string
}
