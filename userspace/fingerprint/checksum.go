// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"bytes"
	"encoding/binary"
)

// sum says what a segment's checksums are worth.
type sum int

const (
	sumUnread sum = iota // not all of it was captured
	sumRight             // those of TCP, and of an IPv4 header
	// TCP's covers the pseudo-header alone: the host's card makes it, or receive offload joined segments
	sumPartial
	sumWrong
)

// checksum is RFC 9293 section 3.1, and RFC 791 section 3.1 for the header of IPv4.
func (s *segment) checksum() sum {
	switch {
	case s.cut:
		return sumUnread
	case s.noLength:
		return sumPartial
	}
	if header := s.ipv4Header(); header != nil && ^fold(add(0, header)) != 0 {
		return sumWrong
	}
	pseudo := s.pseudoHeader()
	switch {
	case ^fold(add(pseudo, s.whole())) == 0:
		return sumRight
	case binary.BigEndian.Uint16(s.tcp[16:]) == fold(pseudo):
		return sumPartial
	}
	return sumWrong
}

// complete writes right checksums into the frame, as the card would have, so that the dataplane takes it.
func (s *segment) complete() {
	if s.frame == nil || s.cut {
		return
	}
	s.frame = bytes.Clone(s.frame)
	if header := s.ipv4Header(); header != nil {
		header = s.frame[s.ipAt : s.ipAt+len(header)]
		clear(header[10:12])
		binary.BigEndian.PutUint16(header[10:], ^fold(add(0, header)))
	}
	tcp := s.frame[s.tcpAt : s.tcpAt+len(s.whole())]
	clear(tcp[16:18])
	binary.BigEndian.PutUint16(tcp[16:], ^fold(add(s.pseudoHeader(), tcp)))
}

// whole is header and data.
func (s *segment) whole() []byte { return s.tcp[:len(s.tcp)+len(s.payload)] }

// ipv4Header is the header with its options, nil over IPv6.
func (s *segment) ipv4Header() []byte {
	if s.ip[0]>>4 != 4 {
		return nil
	}
	return s.ip[:int(s.ip[0]&15)*4]
}

func (s *segment) pseudoHeader() uint64 {
	n := add(add(0, s.from.Addr().AsSlice()), s.to.Addr().AsSlice())
	return n + protoTCP + uint64(len(s.whole()))
}

// add adds the 16-bit words of b; what is odd is padded.
func add(n uint64, b []byte) uint64 {
	for ; len(b) >= 2; b = b[2:] {
		n += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		n += uint64(b[0]) << 8
	}
	return n
}

// fold is the sum of ones' complement.
func fold(n uint64) uint16 {
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
