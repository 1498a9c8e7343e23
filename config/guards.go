// SPDX-License-Identifier: Apache-2.0

package config

import "time"

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
}
