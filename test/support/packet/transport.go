// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"encoding/binary"
	"net/netip"
)

// The control bits of TCP, RFC 9293 section 3.1.
const (
	FIN uint8 = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Lengths of headers without options, in bytes.
const (
	TCPLen = 20
	UDPLen = 8
)

// TCP is a segment.
type TCP struct {
	SourcePort, DestPort uint16
	Seq, Ack             uint32
	Flags                uint8
	Window, Urgent       uint16
	// Options, padded with zeros to 4 bytes. A zero is the end-of-options mark: it shows in a fingerprint.
	Options []byte
	Payload []byte

	// Overrides; nil: the right value.
	HeaderWords *uint8 // the data offset
	Checksum    *uint16
}

func (TCP) protocol() uint8 { return ProtoTCP }

func (t TCP) bytes(src, dst netip.Addr) []byte {
	options := padded(t.Options, 4)
	b := make([]byte, TCPLen, TCPLen+len(options)+len(t.Payload))
	b = append(b, options...)
	binary.BigEndian.PutUint16(b[0:], t.SourcePort)
	binary.BigEndian.PutUint16(b[2:], t.DestPort)
	binary.BigEndian.PutUint32(b[4:], t.Seq)
	binary.BigEndian.PutUint32(b[8:], t.Ack)
	b[12] = pick(t.HeaderWords, uint8(len(b)/4)) << 4
	b[13] = t.Flags
	binary.BigEndian.PutUint16(b[14:], t.Window)
	binary.BigEndian.PutUint16(b[18:], t.Urgent)
	b = append(b, t.Payload...)
	binary.BigEndian.PutUint16(b[16:], pick(t.Checksum, checksum(src, dst, ProtoTCP, b)))
	return b
}

// UDP is a datagram.
type UDP struct {
	SourcePort, DestPort uint16
	Payload              []byte

	// Overrides; nil: the right value.
	Length, Checksum *uint16
}

func (UDP) protocol() uint8 { return ProtoUDP }

func (u UDP) bytes(src, dst netip.Addr) []byte {
	b := make([]byte, UDPLen, UDPLen+len(u.Payload))
	binary.BigEndian.PutUint16(b[0:], u.SourcePort)
	binary.BigEndian.PutUint16(b[2:], u.DestPort)
	binary.BigEndian.PutUint16(b[4:], pick(u.Length, uint16(len(b)+len(u.Payload))))
	b = append(b, u.Payload...)
	sum := checksum(src, dst, ProtoUDP, b)
	if sum == 0 {
		sum = 0xffff // RFC 768: zero says that there is none
	}
	binary.BigEndian.PutUint16(b[6:], pick(u.Checksum, sum))
	return b
}

// checksum is RFC 9293 section 3.1 with the pseudo-header of IPv4, or of IPv6 (RFC 8200 section 8.1): both have the
// same words in another order. The checksum field of b must be zero.
func checksum(src, dst netip.Addr, protocol uint8, b []byte) uint16 {
	sum := sum16(0, src.AsSlice())
	sum = sum16(sum, dst.AsSlice())
	return ^fold(sum16(sum+uint32(protocol)+uint32(len(b)), b))
}

// sum16 adds b to sum in words of 16 bits; a last odd byte counts as the upper half of a word.
func sum16(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
