// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"encoding/binary"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config/signature"
)

// Control bits of TCP, RFC 9293 section 3.1.
const (
	flagSYN = 0x02
	flagACK = 0x10
)

// transport reads TCP or UDP: b is what the frame holds from there on, left what the IP header says belongs to it.
func (p *packet) transport(b []byte, left int) bpf.Reason {
	if p.fragment {
		p.flaw = fragment
	}
	if p.protocol == protocolUDP {
		return p.udp(cut(b, left), left)
	}
	return p.tcp(b, left)
}

// udp is RFC 768. Its own length is not looked at: nothing behind the header counts.
func (p *packet) udp(b []byte, left int) bpf.Reason {
	const header = 8
	if len(b) < header || left < header {
		return p.stop(byAddresses, malformed)
	}
	p.ports(b)
	p.depth = whole
	return none
}

// tcp is RFC 9293 section 3.1. The ports lie in the first four bytes: even a fragment of eight has them.
func (p *packet) tcp(b []byte, left int) bpf.Reason {
	const header = 20
	seen := cut(b, left)
	if len(seen) < 4 {
		p.tiny = p.fragment
		return p.stop(byAddresses, malformed)
	}
	p.ports(seen)
	if len(seen) < header {
		return p.stop(byPorts, malformed)
	}
	end := int(seen[12]>>4) * 4
	if end < header || end > left {
		return p.stop(byPorts, malformed)
	}
	p.depth = whole
	p.seq = binary.BigEndian.Uint32(seen[4:])
	p.flags = seen[13]
	p.window = binary.BigEndian.Uint16(seen[14:])
	p.options = skip(cut(seen, end), header)
	p.optionsCut = len(p.options) < end-header
	p.payloadLen = left - end
	p.payload = skip(seen, end)
	return none
}

func (p *packet) ports(b []byte) {
	p.sourcePort, p.destPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
}

// isSYN reports whether the segment asks for a connection.
func (p *packet) isSYN() bool { return p.flags&(flagSYN|flagACK) == flagSYN }

// beginsHello reports whether the payload begins like a ClientHello: RFC 8446, sections 4 and 5.1, and what servers
// take in front of one: a record that says nothing, or is empty, of any version below 0x1000.
func (p *packet) beginsHello() bool {
	const changeCipherSpec, alert, handshake, majors, clientHello, warning = 20, 21, 22, 16, 1, 1
	b := p.payload
	if len(b) < 6 || b[1] >= majors {
		return false
	}
	switch length := int(b[3])<<8 | int(b[4]); b[0] {
	case handshake:
		return length == 0 || b[5] == clientHello
	case alert:
		return length == 2 && b[5] == warning
	case changeCipherSpec:
		return length <= 1
	}
	return false
}

// fingerprint returns the MuonFP string of a SYN; false when its options cannot be read, or are more than the dataplane
// reads.
func (p *packet) fingerprint() (string, bool) {
	const end, nop, mss, scale = 0, 1, 2, 3
	fp := signature.MuonFP{Window: p.window}
	if p.optionsCut {
		return "", false
	}
	for b := p.options; len(b) > 0; {
		if len(fp.Kinds) == signature.MaxKinds {
			return "", false
		}
		kind := b[0]
		fp.Kinds = append(fp.Kinds, kind)
		if kind == end {
			break
		}
		if kind == nop {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return "", false
		}
		data := b[2:b[1]]
		switch {
		case kind == mss && len(data) == 2:
			size := binary.BigEndian.Uint16(data)
			fp.MSS = &size
		case kind == scale && len(data) == 1:
			shift := data[0]
			fp.Scale = &shift
		}
		b = b[len(data)+2:]
	}
	return fp.String(), true
}
