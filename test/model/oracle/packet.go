// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"encoding/binary"
	"net/netip"

	"github.com/spillway/spillway/bpf"
)

const (
	pass = bpf.OutcomePass

	none           = bpf.ReasonContinue
	notIP          = bpf.ReasonNotIP
	notService     = bpf.ReasonNotService
	otherProtocol  = bpf.ReasonOtherProtocol
	malformed      = bpf.ReasonMalformed
	tooDeep        = bpf.ReasonTooDeep
	fragment       = bpf.ReasonFragment
	noGeneration   = bpf.ReasonNoGeneration
	noPolicy       = bpf.ReasonNoPolicy
	onTrial        = bpf.ReasonOnTrial
	serviceBypass  = bpf.ReasonServiceBypass
	agentLost      = bpf.ReasonAgentLost
	knownFlow      = bpf.ReasonKnownFlow
	midstream      = bpf.ReasonMidstream
	handshake      = bpf.ReasonHandshake
	noMatch        = bpf.ReasonNoMatch
	prefix         = bpf.ReasonPrefix
	tcpFingerprint = bpf.ReasonTCPFingerprint
	ban            = bpf.ReasonBan
	protected      = bpf.ReasonProtected
	belowThreshold = bpf.ReasonBelowThreshold
	weak           = bpf.ReasonWeak
	unconfirmed    = bpf.ReasonUnconfirmed
	synOptions     = bpf.ReasonSYNOptions
	allowed        = bpf.ReasonAllowed
)

// IP protocol numbers, as IANA assigns them.
const (
	hopByHop       = 0
	protocolTCP    = 6
	protocolUDP    = 17
	routing        = 43
	fragmentHeader = 44
	authentication = 51
	destOptions    = 60
	mobility       = 135
	hip            = 139
	shim6          = 140
)

// depth says how far into the packet its headers can be read.
type depth int

const (
	byAddresses depth = iota // the addresses; which service is meant is unknown
	byPorts                  // the ports too, and nothing of TCP behind them
	whole                    // every header
)

// packet is what a frame says.
type packet struct {
	source, dest netip.Addr // IPv4 also when it came as ::ffff:a.b.c.d
	wire         [32]byte   // both addresses as 16 bytes, IPv4 mapped
	protocol     uint8      // TCP, UDP, or 0 while unknown
	depth        depth
	fragment     bool
	tiny         bool       // the first fragment of a TCP segment, without ports
	flaw         bpf.Reason // why depth is not whole, or fragment: what a rule may score

	sourcePort, destPort uint16
	seq                  uint32
	window               uint16
	flags                uint8
	options              []byte
	optionsCut           bool   // the frame ends inside the options
	payloadLen           int    // by the headers: what pads a frame is no payload
	payload              []byte // as far as the frame has it
}

// stop ends the reading at what is known. A fragment is a fragment, whatever else is the matter with it: that the rest
// of its headers is elsewhere is no fault.
func (p *packet) stop(at depth, why bpf.Reason) bpf.Reason {
	if p.protocol != protocolTCP && p.protocol != protocolUDP {
		p.protocol = 0
	}
	if p.fragment {
		why = fragment
	}
	p.depth, p.flaw = at, why
	return none
}

// cut returns the first n bytes of b as far as they exist.
func cut(b []byte, n int) []byte {
	if n < len(b) {
		return b[:n]
	}
	return b
}

// skip returns b without its first n bytes.
func skip(b []byte, n int) []byte {
	if n < len(b) {
		return b[n:]
	}
	return nil
}

// parse reads a frame. A reason other than none ends the packet: it is not for us, or its addresses cannot be read.
func parse(frame []byte) (*packet, bpf.Reason) {
	p := &packet{}
	etherType, rest, why := untag(frame)
	if why != none {
		return p, why
	}
	switch etherType {
	case 0x0800:
		return p, p.ipv4(rest)
	case 0x86dd:
		return p, p.ipv6(rest)
	}
	return p, notIP
}

// How much is followed: all that a frame of 1,514 bytes can hold.
const (
	mostTags       = 370
	mostExtensions = 184
)

// untag takes off Ethernet and the tags of IEEE 802.1Q and 802.1ad. Linux takes off any number of priority tags (VLAN
// 0) without any VLAN device.
func untag(frame []byte) (etherType uint16, rest []byte, why bpf.Reason) {
	const addresses, tag = 12, 4
	rest = skip(frame, addresses)
	for tags := 0; len(rest) >= 2; tags++ {
		etherType = binary.BigEndian.Uint16(rest)
		switch {
		case etherType != 0x8100 && etherType != 0x88a8:
			return etherType, rest[2:], none
		case tags == mostTags:
			return 0, nil, tooDeep
		}
		rest = skip(rest, tag)
	}
	return 0, nil, malformed
}
