// SPDX-License-Identifier: Apache-2.0

package config

import (
	"math"
	"time"
)

// Guards are limits that the host sets and no bundle can loosen.
type Guards struct {
	// Bake is how long a generation must serve before it is last-known-good.
	Bake time.Duration `yaml:"bake" jsonschema:"default=10m" limit:"1s..168h"`
	// Lease is how long the kernel honours a candidate without word from the agent.
	Lease time.Duration `yaml:"lease" jsonschema:"default=5s" limit:"500ms..1m"`
	// AgentTimeout is how long the agent may be gone before everything passes; or never.
	AgentTimeout Timeout `yaml:"agent_timeout" jsonschema:"default=15m" limit:"1s..168h"`
	// MaxBanTTL is the longest life of a ban.
	MaxBanTTL time.Duration `yaml:"max_ban_ttl" jsonschema:"default=24h" limit:"1s..720h"`
	// MinPrefixV4 is the shortest IPv4 prefix length that a bundle may name.
	MinPrefixV4 int `yaml:"min_prefix_v4" jsonschema:"minimum=1,maximum=32,default=10"`
	// MinPrefixV6 is the shortest IPv6 prefix length that a bundle may name.
	MinPrefixV6 int `yaml:"min_prefix_v6" jsonschema:"minimum=3,maximum=128,default=24"`
	// BanFloorV4 is the shortest IPv4 prefix length that a ban may name.
	BanFloorV4 int `yaml:"ban_floor_v4" jsonschema:"minimum=8,maximum=32,default=24"`
	// BanFloorV6 is the shortest IPv6 prefix length that a ban may name.
	BanFloorV6 int `yaml:"ban_floor_v6" jsonschema:"minimum=16,maximum=128,default=48"`
	// MaxChange is the growth or shrinkage of a list, from 10 rows on, beyond which a bundle is held for a person.
	MaxChange Percent `yaml:"max_change" jsonschema:"default=30%" limit:"0%..10000%"`
	// MaxCoverage is the share of a family's routed space beyond which a bundle is held for a person.
	MaxCoverage Percent `yaml:"max_coverage" jsonschema:"default=5%" limit:"0%..100%"`
	// BanRate is the number of bans that may be made in a minute.
	BanRate int `yaml:"ban_rate" jsonschema:"minimum=1,maximum=10000,default=60"`
	RolloutGuards
}

// Rollout says how a change comes into force.
type Rollout string

// RolloutStaged, the default, tries a change first, and takes it back by itself. RolloutDirect puts a valid change into
// force at once.
const (
	RolloutStaged Rollout = "staged"
	RolloutDirect Rollout = "direct"
)

// Evidence is how much a stage must have seen before the next one begins.
type Evidence string

// The sizes of evidence, by the traffic of the site.
const (
	EvidenceSmall  Evidence = "small"
	EvidenceNormal Evidence = "normal"
	EvidenceLarge  Evidence = "large"
)

// RolloutGuards say how a change goes to the visitors. They are guards like the others, and stand among them.
type RolloutGuards struct {
	// Rollout is staged (taste, shadow, canary, bake; it is taken back by itself) or direct (a valid change is in force at
	// once).
	Rollout Rollout `yaml:"rollout" jsonschema:"enum=staged,enum=direct,default=staged"`
	// Evidence is small, normal or large: undeclared blocks of more than 1 %, 0.3 % or 0.1 % of the sources are excluded.
	Evidence Evidence `yaml:"evidence" jsonschema:"enum=small,enum=normal,enum=large,default=normal"`
	// Shadow is the least time with traffic in which a candidate is compared and decides for nobody.
	Shadow time.Duration `yaml:"shadow" jsonschema:"default=10m" limit:"10s..168h"`
	// Canary lists the shares of the sources for which a candidate decides, one step after the other. The shares grow, and
	// the last is 100%.
	Canary []CanaryStep `yaml:"canary" jsonschema:"minItems=1,maxItems=8"`
	// MaxNewBlocks is the largest share of the sources that any bundle may newly block, whoever accepts it.
	MaxNewBlocks Percent `yaml:"max_new_blocks" jsonschema:"default=50%" limit:"0%..100%"`
	// MaxDelta is how much an update of lists may change that takes the fast track.
	MaxDelta MaxDelta `yaml:"max_delta"`
	// TimeOnlyBelow is the number of source prefixes a day below which time alone lets a rollout go on; 0 is never.
	TimeOnlyBelow int `yaml:"time_only_below" jsonschema:"minimum=0,maximum=100000000,default=0"`
}

// CanaryStep is one share of the sources for which a candidate decides.
type CanaryStep struct {
	// Share of the source prefixes, in whole tenths of a percent.
	Share Percent `yaml:"share" jsonschema:"required" limit:"0.1%..100%"`
	// For is how long, at least, with traffic.
	For time.Duration `yaml:"for" jsonschema:"required" limit:"10s..168h"`
}

// Thousandths returns the share as the kernel has it.
func (s CanaryStep) Thousandths() uint16 { return uint16(math.Round(float64(s.Share) * 10)) }

// MaxDelta is how much an update of lists may change and still take the fast track.
type MaxDelta struct {
	// Rows is the share of a list's rows that came or went.
	Rows Percent `yaml:"rows" jsonschema:"default=2%" limit:"0%..100%"`
	// Connections is the share of measured connections that are newly blocked.
	Connections Percent `yaml:"connections" jsonschema:"default=0.5%" limit:"0%..100%"`
}

func defaultRolloutGuards() RolloutGuards {
	m := time.Minute
	return RolloutGuards{Rollout: RolloutStaged, Evidence: EvidenceNormal, Shadow: 10 * m,
		Canary:       []CanaryStep{{1, 10 * m}, {5, 10 * m}, {25, 20 * m}, {100, 30 * m}},
		MaxNewBlocks: 50, MaxDelta: MaxDelta{Rows: 2, Connections: 0.5}}
}
