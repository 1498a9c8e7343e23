// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"time"
)

// Capacity is the size of the kernel maps, in rows.
type Capacity struct {
	// Prefixes4 is the number of IPv4 prefixes over all lists of a bundle.
	Prefixes4 int `yaml:"prefixes_v4" jsonschema:"minimum=1,maximum=2000000,default=100000"`
	// Prefixes6 is the number of IPv6 prefixes over all lists of a bundle.
	Prefixes6 int `yaml:"prefixes_v6" jsonschema:"minimum=1,maximum=2000000,default=100000"`
	// TCPFingerprints is the number of TCP fingerprints of a bundle.
	TCPFingerprints int `yaml:"tcp_fingerprints" jsonschema:"minimum=1,maximum=1000000,default=4096"`
	// JA4s is the number of JA4 features of a bundle.
	JA4s int `yaml:"ja4s" jsonschema:"minimum=1,maximum=1000000,default=16384"`
	// TCPSignatures is the number of p0f signatures of a bundle.
	TCPSignatures int `yaml:"tcp_signatures" jsonschema:"minimum=1,maximum=65536,default=1024"`
	// Rules is the number of rules of a bundle; a rule's index has 16 bits.
	Rules int `yaml:"rules" jsonschema:"minimum=1,maximum=65535,default=4096"`
	// Flows is the number of connections whose verdict is remembered.
	Flows int `yaml:"flows" jsonschema:"minimum=1,maximum=16777216,default=262144"`
	// Syns is the number of places for SYN facts; a power of two.
	Syns int `yaml:"syns" jsonschema:"minimum=1,maximum=16777216,default=65536"`
	// Hellos is the number of places for ClientHellos that are not whole yet, 24 KiB each; a power of
	// two. The loader makes at least eight.
	Hellos int `yaml:"hellos" jsonschema:"minimum=2,maximum=65536,default=2048"`
	// Shapes is the number of ClientHello shapes whose JA4 is remembered, and half as many more for those that a feature
	// names.
	Shapes int `yaml:"shapes" jsonschema:"minimum=1,maximum=4194304,default=16384"`
	// Bans is the number of bans at one time.
	Bans int `yaml:"bans" jsonschema:"minimum=1,maximum=65536,default=1024"`
	// Vouched is the number of sources that are spared for a while, because a web server vouches for them.
	Vouched int `yaml:"vouched" jsonschema:"minimum=1,maximum=4194304,default=16384"`
	// Allowlist is the number of protected prefixes.
	Allowlist int `yaml:"allowlist" jsonschema:"minimum=1,maximum=65536,default=1024"`
	// Services is the number of services.
	Services int `yaml:"services" jsonschema:"minimum=1,maximum=32,default=16"`
}

// OrDefault returns c with the defaults for what is zero.
func (c Capacity) OrDefault() Capacity {
	d := DefaultHost().Capacity
	return Capacity{
		Prefixes4: cmp.Or(c.Prefixes4, d.Prefixes4), Prefixes6: cmp.Or(c.Prefixes6, d.Prefixes6),
		TCPFingerprints: cmp.Or(c.TCPFingerprints, d.TCPFingerprints), TCPSignatures: cmp.Or(c.TCPSignatures, d.TCPSignatures),
		JA4s: cmp.Or(c.JA4s, d.JA4s), Rules: cmp.Or(c.Rules, d.Rules), Flows: cmp.Or(c.Flows, d.Flows), Syns: cmp.Or(c.Syns, d.Syns),
		Hellos: cmp.Or(c.Hellos, d.Hellos), Shapes: cmp.Or(c.Shapes, d.Shapes), Bans: cmp.Or(c.Bans, d.Bans),
		Vouched: cmp.Or(c.Vouched, d.Vouched), Allowlist: cmp.Or(c.Allowlist, d.Allowlist), Services: cmp.Or(c.Services, d.Services),
	}
}

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
