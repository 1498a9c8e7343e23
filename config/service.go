// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
)

// Kind is what a service speaks.
type Kind string

// The kinds. TLS, HTTP and TCP services get every feature; QUIC and UDP services get prefixes and bans.
const (
	KindTLS  Kind = "tls"
	KindHTTP Kind = "http"
	KindTCP  Kind = "tcp"
	KindQUIC Kind = "quic"
	KindUDP  Kind = "udp"
)

// Confirm says who may vouch for a connection of a service beside the sockets of this host.
type Confirm string

// Socket asks the sockets alone. Auto also asks connection tracking where there is no socket. Egress notes what answers
// of this host show of a connection.
const (
	ConfirmAuto   Confirm = "auto"
	ConfirmSocket Confirm = "socket"
	ConfirmEgress Confirm = "egress"
)

// IP protocol numbers, as IANA assigns them.
const (
	protocolTCP = 6
	protocolUDP = 17
)

// Service is address, port and kind of what Spillway inspects.
type Service struct {
	// Name of the service in policies, metrics and commands.
	Name string `yaml:"name" jsonschema:"required,maxLength=31,pattern=^[a-z0-9][a-z0-9-]*$" valid:"lower-case letters, digits and dashes; at most 31"`
	// Addresses of this host that the service answers on; any means all of them.
	Addresses []Address `yaml:"addresses" jsonschema:"minItems=1,maxItems=64"`
	// Port of the service.
	Port uint16 `yaml:"port" jsonschema:"required,minimum=1,maximum=65535"`
	// Kind is what the service speaks: tls, http, tcp, quic or udp.
	Kind Kind `yaml:"kind" jsonschema:"required,enum=tls,enum=http,enum=tcp,enum=quic,enum=udp"`
	// Local says that the service's sockets are on this host, so that flows can be confirmed by them.
	Local bool `yaml:"local" jsonschema:"default=true"`
	// Confirm says who may vouch for a connection: auto (a socket, else connection tracking), socket, or egress (what this
	// host answers). Without somebody who vouches each payload is judged by itself.
	Confirm Confirm `yaml:"confirm" jsonschema:"enum=auto,enum=socket,enum=egress,default=auto"`
	// ProxyProtocol says that a balancer puts a PROXY header, version 1 or 2, in front of each connection. It is stepped
	// over to read the ClientHello; the source stays the balancer's. Only for tls services.
	ProxyProtocol bool `yaml:"proxy_protocol" jsonschema:"default=false"`
	// MPTCP is what becomes of the request for Multipath TCP in a client's SYN: pass, or strip, and the connection is one
	// of plain TCP. Over Multipath TCP a ClientHello can be hidden. Only for tls, http and tcp services.
	MPTCP MPTCP `yaml:"mptcp" jsonschema:"enum=pass,enum=strip"`
	// MaxVerdict is the strongest verdict that a bundle has here: pass, tag, limit, drop or reset. What would be stronger
	// is this one.
	MaxVerdict MaxVerdict `yaml:"max_verdict" jsonschema:"enum=pass,enum=tag,enum=limit,enum=drop,enum=reset"`
}

// MaxVerdict is the strongest verdict of a service.
type MaxVerdict string

// The verdicts, weakest first. MaxReset is what a service means that says nothing.
const (
	MaxPass  MaxVerdict = "pass"
	MaxTag   MaxVerdict = "tag"
	MaxLimit MaxVerdict = "limit"
	MaxDrop  MaxVerdict = "drop"
	MaxReset MaxVerdict = ""
)

// String returns what the host file says.
func (m MaxVerdict) String() string {
	if m == MaxReset {
		return "reset"
	}
	return string(m)
}

// Rank orders verdicts: 0 for pass to 4 for reset.
func (m MaxVerdict) Rank() int {
	if i := slices.Index(maxVerdicts, m); i >= 0 {
		return i
	}
	return len(maxVerdicts) - 1
}

var maxVerdicts = []MaxVerdict{MaxPass, MaxTag, MaxLimit, MaxDrop, MaxReset}

// MaxVerdictOf returns the verdict of a rank.
func MaxVerdictOf(rank int) MaxVerdict { return maxVerdicts[min(max(rank, 0), len(maxVerdicts)-1)] }

// MPTCP is what becomes of a request for Multipath TCP.
type MPTCP string

// MPTCPPass is what a service means that says nothing.
const (
	MPTCPPass  MPTCP = ""
	MPTCPStrip MPTCP = "strip"
)

// Protocol returns the IP protocol number of the service: 6 (TCP) or 17 (UDP).
func (s Service) Protocol() uint8 {
	if s.Kind == KindQUIC || s.Kind == KindUDP {
		return protocolUDP
	}
	return protocolTCP
}

// Resettable reports whether a policy may reset the service's connections. Only a socket of this host can say whose
// connection it is; without one a stranger could have another's reset.
func (s Service) Resettable() bool {
	return s.Local && s.Protocol() == protocolTCP && s.Confirm != ConfirmEgress
}

// AsksEgress reports whether the answers that leave this host may vouch where no socket does.
func (s Service) AsksEgress() bool { return s.Confirm == ConfirmEgress && s.Protocol() == protocolTCP }

// DropsFragments reports whether a policy may drop the service's fragments: those of a protocol whose segments are
// read, and of which a kernel sends none. Over UDP they are ordinary.
func (s Service) DropsFragments() bool { return s.Kind == KindTLS || s.Kind == KindTCP }

// AsksConntrack reports whether connection tracking may vouch where no socket of this host does. The zero Confirm is
// auto.
func (s Service) AsksConntrack() bool {
	return s.Confirm != ConfirmSocket && s.Protocol() == protocolTCP
}

// SetDefaults gives a service what a file need not say.
func (s *Service) SetDefaults() {
	s.Local = true
	s.Confirm = ConfirmAuto
	s.Addresses = []Address{{}}
}

// SetDefaults gives an interface what a file need not say.
func (i *Interface) SetDefaults() { i.Attach = AttachNative }

// Address is one address of a service. The zero value is any address, IPv4 and IPv6.
type Address struct {
	// IP is invalid for any address; never an IPv4-mapped one.
	IP netip.Addr
}

// Any reports whether the service answers on all addresses.
func (a Address) Any() bool { return !a.IP.IsValid() }

// String returns "any" or the address.
func (a Address) String() string {
	if a.Any() {
		return "any"
	}
	return a.IP.String()
}
