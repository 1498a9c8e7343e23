// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"time"
)

// Version is the only version of the host file and of the bundle that this release reads.
const Version = 1

// Mode says how far the host lets any bundle go.
type Mode string

// The modes, weakest first. A package installs ModeObserve.
const (
	ModeObserve Mode = "observe"
	ModeEnforce Mode = "enforce"
)

// Host is the host file, /etc/spillway/spillway.yaml. No bundle can loosen what it sets.
type Host struct {
	// Version of this format; 1.
	Version int `yaml:"version" jsonschema:"required,enum=1"`
	// MaxMode is the strongest mode on this host: observe counts what would be blocked, enforce blocks it.
	MaxMode Mode `yaml:"max_mode" jsonschema:"enum=observe,enum=enforce,default=observe"`
	// Interfaces that face the visitors.
	Interfaces []Interface `yaml:"interfaces" jsonschema:"required,minItems=1,maxItems=64"`
	// Services that Spillway inspects; all other traffic passes untouched.
	Services []Service `yaml:"services" jsonschema:"required,minItems=1"`
	// Allowlist of protected sources: no bundle and no ban can block them.
	Allowlist []AllowEntry `yaml:"allowlist"`
	KnownClients
	// AcceptReasons names reasons that a rule may block by on this host: not_hello (the first data to a tls service is no
	// ClientHello, as of health checks), hello_urgent (urgent data in it), hello_too_long (it exceeds what is read). Else
	// they only add to something else.
	AcceptReasons []string `yaml:"accept_reasons" jsonschema:"enum=hello_too_long,enum=hello_urgent,enum=not_hello"`
	// Capacity of the kernel maps. What exceeds it is refused; memory is computed from it.
	Capacity Capacity `yaml:"capacity"`
	// Guards are limits that no bundle can loosen.
	Guards Guards `yaml:"guards"`
	// Health of the origin, which a rollout waits for.
	Health Health `yaml:"health"`
	// Listen says where the agent listens.
	Listen Listen `yaml:"listen"`
	// Paths of the state and of the pins.
	Paths Paths `yaml:"paths"`
	// Privacy of addresses in events and logs.
	Privacy Privacy `yaml:"privacy"`
}

// Attach says how the root program is attached to an interface.
type Attach string

// AttachNative runs in the driver; AttachGeneric runs in the network stack and only when asked for.
const (
	AttachNative  Attach = "native"
	AttachGeneric Attach = "generic"
)

// Interface is a network interface that Spillway attaches to.
type Interface struct {
	// Name as the kernel knows it, such as eth0.
	Name string `yaml:"name" jsonschema:"required,minLength=1,maxLength=15,pattern=^[^/:\\s]+$" valid:"the name of an interface, such as eth0; at most 15 characters"`
	// Attach native (in the driver) or generic (in the network stack; slower, and only when asked for).
	Attach Attach `yaml:"attach" jsonschema:"enum=native,enum=generic,default=native"`
}

// AllowEntry is a protected source. In YAML it is an address, a prefix, or {prefix:, note:}.
type AllowEntry struct {
	// Prefix of the protected source; one address is a /32 or a /128.
	Prefix netip.Prefix `yaml:"prefix" jsonschema:"required"`
	// Note says who it is and why.
	Note string `yaml:"note" jsonschema:"maxLength=200"`
}

// Short is what one value without a note is read into.
func (a *AllowEntry) Short() any { return &a.Prefix }

// Listen says where the agent listens. Each role has a socket of its own: what one may ask is the socket's, never the
// caller's claim.
type Listen struct {
	// Socket is the Unix socket of the command line, for everything: the role operate.
	Socket string `yaml:"socket" jsonschema:"minLength=1,maxLength=107,default=/run/spillway/spillway.sock"`
	// Group owns that socket; its members need not be root. A group that does not exist leaves it to root.
	Group string `yaml:"group" jsonschema:"minLength=1,maxLength=32,pattern=^[A-Za-z0-9_][A-Za-z0-9._-]*$,default=spillway" valid:"the name or number of a group, such as spillway; at most 32 characters"`
	// Read is the socket that only shows: status, events, metrics, history, verify.
	Read ReadSocket `yaml:"read"`
	// Metrics is the IP address and port of the Prometheus endpoint; empty turns it off.
	Metrics string `yaml:"metrics" jsonschema:"default=127.0.0.1:9717" blank:"ok"`
}

// ReadSocket is the Unix socket of the role read.
type ReadSocket struct {
	// Socket is its path; read.sock beside listen.socket when it is not written, and empty turns it off.
	Socket string `yaml:"socket" jsonschema:"maxLength=107,default=/run/spillway/read.sock" blank:"ok"`
	// Group owns the socket: its members may look, and change nothing. A group that does not exist leaves it to root.
	Group string `yaml:"group" jsonschema:"minLength=1,maxLength=32,pattern=^[A-Za-z0-9_][A-Za-z0-9._-]*$,default=spillway-read" valid:"the name or number of a group, such as spillway-read; at most 32 characters"`
}

// Paths on disk and in the BPF file system, absolute.
type Paths struct {
	// State is the folder of bundles and history.
	State string `yaml:"state" jsonschema:"minLength=1,default=/var/lib/spillway"`
	// Pins is the folder in the BPF file system that keeps maps, programs and links.
	Pins string `yaml:"pins" jsonschema:"minLength=1,default=/sys/fs/bpf/spillway"`
	// CanarySecret is a file with a secret of the fleet; empty is none. Without it, whoever knows a bundle can tell which
	// sources are in its canary.
	CanarySecret string `yaml:"canary_secret" blank:"ok"`
}

// The two values of Privacy.Addresses.
const (
	AddressesFull      = "full"
	AddressesTruncated = "truncated"
)

// Privacy says how much of a visitor's address leaves the kernel.
type Privacy struct {
	// Addresses in events: full, or truncated to /24 and /48.
	Addresses string `yaml:"addresses" jsonschema:"enum=full,enum=truncated,default=full"`
}

const (
	// readSocketName is the socket of the role read, beside listen.socket.
	readSocketName = "read.sock"
	// maxSocketPath is what fits into a sockaddr_un.
	maxSocketPath = 107
)

// DefaultHost returns a host file with every default set and no interface, service or allowlist row: what LoadBundle
// assumes when it is given no host.
func DefaultHost() *Host {
	return &Host{
		Version:  Version,
		MaxMode:  ModeObserve,
		Capacity: DefaultCapacity(),
		Guards: Guards{
			Bake: 10 * time.Minute, Lease: 5 * time.Second, AgentTimeout: Timeout(15 * time.Minute),
			MaxBanTTL: 24 * time.Hour, MinPrefixV4: 10, MinPrefixV6: 24, BanFloorV4: 24, BanFloorV6: 48,
			MaxChange: 30, MaxCoverage: 5, BanRate: 60, RolloutGuards: defaultRolloutGuards(),
		},
		Health: defaultHealth(),
		Listen: Listen{Socket: "/run/spillway/spillway.sock", Group: "spillway", Metrics: "127.0.0.1:9717",
			Read: ReadSocket{Socket: "/run/spillway/read.sock", Group: "spillway-read"}},
		Paths:   Paths{State: "/var/lib/spillway", Pins: "/sys/fs/bpf/spillway"},
		Privacy: Privacy{Addresses: AddressesFull},
	}
}
