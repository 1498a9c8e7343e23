// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"encoding/binary"
	"net/netip"

	"github.com/spillway/spillway/bpf"
)

func (p *packet) addresses(source, dest []byte) {
	from, _ := netip.AddrFromSlice(source)
	to, _ := netip.AddrFromSlice(dest)
	a, b := from.As16(), to.As16()
	copy(p.wire[:], a[:])
	copy(p.wire[16:], b[:])
	p.source, p.dest = from.Unmap(), to.Unmap()
}

// ipv4 is RFC 791, section 3.1.
func (p *packet) ipv4(b []byte) bpf.Reason {
	const least = 20
	if len(b) < least {
		return malformed
	}
	p.addresses(b[12:16], b[16:20])
	version, header, total := b[0]>>4, int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if version != 4 || header < least || total < header {
		return p.stop(byAddresses, malformed)
	}
	p.protocol = b[9]
	if p.protocol != protocolTCP && p.protocol != protocolUDP {
		return otherProtocol
	}
	word := binary.BigEndian.Uint16(b[6:])
	more, offset := word&0x2000 != 0, word&0x1fff
	p.fragment = more || offset != 0
	if offset != 0 {
		return p.stop(byAddresses, fragment)
	}
	return p.transport(skip(b, header), total-header)
}

// extensionLen returns the length of an extension header of the common form: RFC 8200 section 4, RFC 4302 section 2.2,
// RFC 6275, RFC 7401, RFC 5533; 0 for any other protocol.
func extensionLen(kind, length uint8) int {
	switch kind {
	case hopByHop, routing, destOptions, mobility, hip, shim6:
		return (int(length) + 1) * 8
	case authentication:
		return (int(length) + 2) * 4
	}
	return 0
}

// ipv6 is RFC 8200.
func (p *packet) ipv6(b []byte) bpf.Reason {
	const fixed = 40
	if len(b) < fixed {
		return malformed
	}
	p.addresses(b[8:24], b[24:40])
	if b[0]>>4 != 6 {
		return p.stop(byAddresses, malformed)
	}
	left := int(binary.BigEndian.Uint16(b[4:])) // bytes that the packet has behind what was read
	p.protocol = b[6]
	b = b[fixed:]
	if left == 0 && p.protocol == hopByHop {
		left = len(b) // a jumbogram (RFC 2675); Linux takes the frame's length also when no option says another
	}
	for headers := 0; p.protocol != protocolTCP && p.protocol != protocolUDP; headers++ {
		if headers == mostExtensions {
			return p.stop(byAddresses, tooDeep)
		}
		size := 8
		if p.protocol != fragmentHeader && extensionLen(p.protocol, 0) == 0 {
			return otherProtocol
		}
		if len(b) < 2 {
			return p.stop(byAddresses, malformed)
		}
		if p.protocol == fragmentHeader {
			if len(b) < size || left < size {
				return p.stop(byAddresses, malformed)
			}
			word := binary.BigEndian.Uint16(b[2:])
			more, offset := word&1 != 0, word>>3
			p.fragment = p.fragment || more || offset != 0 // neither: an atomic fragment (RFC 6946), a whole packet
			if offset != 0 {
				return p.stop(byAddresses, fragment)
			}
		} else {
			size = extensionLen(p.protocol, b[1])
		}
		if size > left {
			return p.stop(byAddresses, malformed)
		}
		p.protocol, left, b = b[0], left-size, skip(b, size)
	}
	return p.transport(b, left)
}
