// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"encoding/binary"
	"fmt"

	"github.com/spillway/spillway/test/support/packet"
)

// syn is what a p0f signature says of the packet that opens a connection.
type syn struct {
	version   int // 4 or 6
	ttl       int
	ipOptions int // bytes of IPv4 options
	headers   int // bytes before the payload, IP and TCP
	window    int
	payload   bool
	options   options
	quirks    quirks
}

// quirks are the oddities that p0f names, in the order in which it prints them.
type quirks uint32

const (
	quirkDF quirks = 1 << iota
	quirkIDSet
	quirkIDZero
	quirkECN
	quirkReservedBit
	quirkFlowLabel
	quirkSeqZero
	quirkAckSet
	quirkAckZero
	quirkUrgentSet
	quirkURG
	quirkPSH
	quirkTimestampZero
	quirkEchoSet
	quirkAfterEOL
	quirkExcessiveScale
	quirkBadOptions
)

var quirkNames = []string{"df", "id+", "id-", "ecn", "0+", "flow", "seq-", "ack+", "ack-", "uptr+", "urgf+", "pushf+",
	"ts1-", "ts2+", "opt+", "exws", "bad"}

// set adds q when it is so.
func (all *quirks) set(q quirks, so bool) {
	if so {
		*all |= q
	}
}

func notSYN(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNotSYN, fmt.Sprintf(format, args...))
}

// parseSYN reads an IP packet as p0f does: no fragments, no IPv6 extension headers, everything within what was
// captured.
func parseSYN(ip []byte) (syn, error) {
	if len(ip) == 0 {
		return syn{}, notSYN("no bytes")
	}
	switch ip[0] >> 4 {
	case 4:
		return parseIPv4(ip)
	case 6:
		return parseIPv6(ip)
	}
	return syn{}, notSYN("IP version %d", ip[0]>>4)
}

func parseIPv4(ip []byte) (syn, error) {
	if len(ip) < packet.IPv4Len+packet.TCPLen {
		return syn{}, notSYN("%d bytes", len(ip))
	}
	header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	id, fragment := binary.BigEndian.Uint16(ip[4:]), binary.BigEndian.Uint16(ip[6:])
	const dontFragment, reserved = 0x4000, 0x8000
	switch {
	case total > len(ip) || header < packet.IPv4Len || header+packet.TCPLen > total:
		return syn{}, notSYN("header of %d bytes, packet of %d, %d captured", header, total, len(ip))
	case ip[9] != packet.ProtoTCP:
		return syn{}, notSYN("protocol %d", ip[9])
	case fragment&^(dontFragment|reserved) != 0:
		return syn{}, notSYN("fragment")
	}
	s := syn{version: 4, ttl: int(ip[8]), ipOptions: header - packet.IPv4Len, headers: header}
	df := fragment&dontFragment != 0
	s.quirks.set(quirkDF, df)
	s.quirks.set(quirkIDSet, df && id != 0)
	s.quirks.set(quirkIDZero, !df && id == 0)
	s.quirks.set(quirkECN, ip[1]&3 != 0)
	s.quirks.set(quirkReservedBit, fragment&reserved != 0)
	return s, s.parseTCP(ip[header:total])
}

func parseIPv6(ip []byte) (syn, error) {
	if len(ip) < packet.IPv6Len+packet.TCPLen {
		return syn{}, notSYN("%d bytes", len(ip))
	}
	total := packet.IPv6Len + int(binary.BigEndian.Uint16(ip[4:]))
	switch {
	case total > len(ip) || packet.IPv6Len+packet.TCPLen > total:
		return syn{}, notSYN("packet of %d bytes, %d captured", total, len(ip))
	case ip[6] != packet.ProtoTCP:
		return syn{}, notSYN("next header %d", ip[6])
	}
	s := syn{version: 6, ttl: int(ip[7]), headers: packet.IPv6Len}
	word := binary.BigEndian.Uint32(ip)
	s.quirks.set(quirkECN, word>>20&3 != 0)
	s.quirks.set(quirkFlowLabel, word&0xfffff != 0)
	return s, s.parseTCP(ip[packet.IPv6Len:total])
}

// parseTCP reads the segment, which has at least the fixed header.
func (s *syn) parseTCP(tcp []byte) error {
	header := int(tcp[12]>>4) * 4
	if header < packet.TCPLen || header > len(tcp) {
		return notSYN("TCP header of %d bytes in %d", header, len(tcp))
	}
	flags := tcp[13]
	if flags&(packet.SYN|packet.ACK|packet.FIN|packet.RST) != packet.SYN {
		return notSYN("flags %#x", flags)
	}
	s.headers += header
	s.window = int(binary.BigEndian.Uint16(tcp[14:]))
	s.payload = len(tcp) > header
	const nonceSum = 1 // of the byte with the data offset, RFC 3540
	s.quirks.set(quirkECN, flags&(packet.ECE|packet.CWR) != 0 || tcp[12]&nonceSum != 0)
	s.quirks.set(quirkSeqZero, binary.BigEndian.Uint32(tcp[4:]) == 0)
	// "Non-zero" by its documentation; but & stands there where && was meant, so that the lowest bit of the first byte
	// decides.
	s.quirks.set(quirkAckSet, tcp[8]&1 != 0)
	urgent := flags&packet.URG != 0
	s.quirks.set(quirkURG, urgent)
	s.quirks.set(quirkUrgentSet, !urgent && binary.BigEndian.Uint16(tcp[18:]) != 0)
	s.quirks.set(quirkPSH, flags&packet.PSH != 0)
	s.options = parseOptions(tcp[packet.TCPLen:header])
	s.quirks |= s.options.quirks
	return nil
}
