// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// flow is one direction of a connection.
type flow struct{ from, to netip.AddrPort }

func (f flow) reverse() flow { return flow{f.to, f.from} }

// Protocol numbers (IANA).
const (
	protoHopByHop    = 0
	protoTCP         = 6
	protoUDP         = 17
	protoRouting     = 43
	protoFragment    = 44
	protoAH          = 51
	protoDestOptions = 60
	protoMobility    = 135
	protoHIP         = 139
	protoShim6       = 140
)

// TCP flags.
const (
	flagFIN = 1
	flagSYN = 2
	flagRST = 4
	flagACK = 16
	flagURG = 32
)

// segment is the TCP segment of a frame.
type segment struct {
	flow
	seq, ack uint32
	flags    byte
	payload  []byte
	cut      bool   // more was sent than captured
	frame    []byte // nil when the dataplane cannot be shown it
	tcp      []byte // header and options
	ip       []byte // from the IP header on
	ipAt     int    // where that is in the frame
	tcpAt    int
	plain    bool // nothing lies between the IP header and TCP
	noLength bool // its host left the length to its network card
	hopLimit uint8
}

func (s *segment) isSYN() bool { return s.flags&(flagSYN|flagACK) == flagSYN }

// why says what a frame holds instead of a TCP segment.
type why int

const (
	isTCP why = iota
	isUDP
	isFragment
	isDamaged // headers contradict each other, or were not captured whole
	isOther
)

// readSegment takes a frame apart: VLAN tags, IPv4 with options, IPv6 with extension headers, TCP. Of the first
// fragment of a packet it reads who sends it to whom. isCut says that the frame was longer than what was captured.
func readSegment(data []byte, isCut bool) (segment, why) {
	s := segment{frame: data}
	kind, rest := binary.BigEndian.Uint16(data[12:]), data[ethernetLen:]
	for kind == etherVLAN || kind == etherQinQ {
		if len(rest) < 4 {
			return s, isDamaged
		}
		kind, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	s.ip, s.ipAt = rest, len(data)-len(rest)
	var w why
	var from, to netip.Addr
	var body []byte
	switch kind {
	case etherIPv4:
		from, to, body, w = s.readIPv4(rest)
	case etherIPv6:
		from, to, body, w = s.readIPv6(rest)
	default:
		return s, isOther
	}
	if w == isFragment && len(body) >= 4 {
		s.readPorts(from, to, body)
	}
	if w != isTCP {
		return s, w
	}
	if s.noLength {
		s.cut = isCut
		s.setLength()
	}
	s.tcpAt = s.ipAt + cap(rest) - cap(body) // of one array
	return s, s.readTCP(from, to, body)
}

// setLength writes the length that a host left to its card, so that the dataplane reads the packet.
func (s *segment) setLength() {
	at, length := s.ipAt+2, len(s.ip)
	if s.ip[0]>>4 == 6 {
		at, length = s.ipAt+4, length-40
	}
	if length > 1<<16-1 {
		s.frame = nil
		return
	}
	s.frame = bytes.Clone(s.frame)
	binary.BigEndian.PutUint16(s.frame[at:], uint16(length))
}

func (s *segment) readIPv4(ip []byte) (from, to netip.Addr, body []byte, w why) {
	if len(ip) < 20 || ip[0]>>4 != 4 {
		return from, to, nil, isDamaged
	}
	header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if total == 0 {
		s.noLength, total = true, len(ip)
	}
	if header < 20 || total < header || header > len(ip) {
		return from, to, nil, isDamaged
	}
	if total > len(ip) {
		s.cut, total = true, len(ip)
	}
	s.plain, s.hopLimit = true, ip[8]
	from, to = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	body, w = ip[header:total], protocolOf(ip[9])
	if fragment := binary.BigEndian.Uint16(ip[6:]) & 0x3fff; fragment != 0 { // more of them, or an offset
		return from, to, firstOf(fragment&0x1fff, body, w), isFragment
	}
	return from, to, body, w
}

// firstOf returns the body of a TCP packet's first fragment, nil for any other.
func firstOf(offset uint16, body []byte, w why) []byte {
	if offset != 0 || w != isTCP {
		return nil
	}
	return body
}

func protocolOf(number byte) why {
	switch number {
	case protoTCP:
		return isTCP
	case protoUDP:
		return isUDP
	}
	return isOther
}

func (s *segment) readIPv6(ip []byte) (from, to netip.Addr, body []byte, w why) {
	if len(ip) < 40 || ip[0]>>4 != 6 {
		return from, to, nil, isDamaged
	}
	from, to = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
	next, rest := ip[6], ip[40:]
	length := int(binary.BigEndian.Uint16(ip[4:]))
	switch {
	case length > len(rest):
		s.cut = true
	case length > 0:
		rest = rest[:length]
	default: // a jumbogram (RFC 2675) says it elsewhere
		s.noLength = next != protoHopByHop
	}
	s.plain, s.hopLimit = true, ip[7]
	for next != protoTCP && next != protoUDP {
		size := 0
		switch {
		case len(rest) < 8:
			return from, to, nil, isDamaged
		case next == protoFragment:
			// whole packets may have one too (RFC 6946)
			if fragment := binary.BigEndian.Uint16(rest[2:]) & 0xfff9; fragment != 0 {
				return from, to, firstOf(fragment&0xfff8, rest[8:], protocolOf(rest[0])), isFragment
			}
			size = 8
		case next == protoAH:
			size = (int(rest[1]) + 2) * 4
		case isExtension(next):
			size = (int(rest[1]) + 1) * 8
		default:
			return from, to, nil, isOther
		}
		if size > len(rest) {
			return from, to, nil, isDamaged
		}
		next, rest, s.plain = rest[0], rest[size:], false
	}
	return from, to, rest, protocolOf(next)
}

func isExtension(next byte) bool {
	switch next {
	case protoHopByHop, protoRouting, protoDestOptions, protoMobility, protoHIP, protoShim6:
		return true
	}
	return false
}

func (s *segment) readTCP(from, to netip.Addr, b []byte) why {
	if len(b) < 20 {
		return isDamaged
	}
	header := int(b[12]>>4) * 4
	if header < 20 || header > len(b) {
		return isDamaged
	}
	s.readPorts(from, to, b)
	s.seq, s.ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	s.flags, s.tcp, s.payload = b[13], b[:header], b[header:]
	return isTCP
}

func (s *segment) readPorts(from, to netip.Addr, b []byte) {
	s.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(b))
	s.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:]))
}
