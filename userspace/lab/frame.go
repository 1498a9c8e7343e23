// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	ethLen  = 14
	ip4Len  = 20
	ip6Len  = 40
	tcpLen  = 20
	flagSYN = 0x02
	flagACK = 0x10
	synACK  = flagSYN | flagACK
)

// scanSYN describes a SYN as `nmap -sS` sends it: window 1024 and the one
// option MSS 1460, the MuonFP fingerprint "1024:2:1460:".
type scanSYN struct {
	srcMAC, dstMAC net.HardwareAddr
	src, dst       netip.AddrPort // of one family
	seq            uint32
	ipID           uint16 // IPv4 only
}

const (
	scanWindow = 1024
	scanMSS    = 1460
	scanTTL    = 50 // nmap chooses 37 to 59
)

// frame returns the whole frame with right checksums.
func (s scanSYN) frame() []byte {
	tcp := make([]byte, tcpLen+4)
	binary.BigEndian.PutUint16(tcp[0:], s.src.Port())
	binary.BigEndian.PutUint16(tcp[2:], s.dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], s.seq)
	tcp[12] = byte(len(tcp) / 4 << 4)
	tcp[13] = flagSYN
	binary.BigEndian.PutUint16(tcp[14:], scanWindow)
	tcp[20], tcp[21] = 2, 4 // MSS and its length
	binary.BigEndian.PutUint16(tcp[22:], scanMSS)
	binary.BigEndian.PutUint16(tcp[16:], tcpChecksum(s.src.Addr(), s.dst.Addr(), tcp))

	frame := append(append([]byte(nil), s.dstMAC...), s.srcMAC...)
	if s.src.Addr().Is4() {
		frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_IP)
		return append(append(frame, s.ip4(len(tcp))...), tcp...)
	}
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_IPV6)
	return append(append(frame, s.ip6(len(tcp))...), tcp...)
}

func (s scanSYN) ip4(payload int) []byte {
	ip := make([]byte, ip4Len)
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(ip4Len+payload))
	binary.BigEndian.PutUint16(ip[4:], s.ipID)
	ip[8], ip[9] = scanTTL, unix.IPPROTO_TCP
	copy(ip[12:], s.src.Addr().AsSlice())
	copy(ip[16:], s.dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum16(0, ip)))
	return ip
}

func (s scanSYN) ip6(payload int) []byte {
	ip := make([]byte, ip6Len)
	ip[0] = 0x60
	binary.BigEndian.PutUint16(ip[4:], uint16(payload))
	ip[6], ip[7] = unix.IPPROTO_TCP, scanTTL
	copy(ip[8:], s.src.Addr().AsSlice())
	copy(ip[24:], s.dst.Addr().AsSlice())
	return ip
}

// tcpChecksum is RFC 9293 section 3.1 with the pseudo-header of IPv4, or of
// IPv6 (RFC 8200 section 8.1); both sum to the same words.
func tcpChecksum(src, dst netip.Addr, tcp []byte) uint16 {
	s := sum16(0, src.AsSlice())
	s = sum16(s, dst.AsSlice())
	s += unix.IPPROTO_TCP + uint32(len(tcp))
	return ^fold(sum16(s, tcp))
}

// sum16 adds b, of even length, to s in 16-bit words.
func sum16(s uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// answer is what a SYN-ACK says.
type answer struct {
	dst netip.AddrPort // whom it answers
	ack uint32
}

// parseSYNACK reads a SYN-ACK over IPv4 without options or over IPv6 without
// extension headers, which is what Linux sends; all else is not ok.
func parseSYNACK(frame []byte) (a answer, ok bool) {
	if len(frame) < ethLen {
		return a, false
	}
	ip := frame[ethLen:]
	var dst netip.Addr
	var tcp []byte
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP:
		if len(ip) < ip4Len || ip[0] != 0x45 || ip[9] != unix.IPPROTO_TCP {
			return a, false
		}
		dst, tcp = netip.AddrFrom4([4]byte(ip[16:20])), ip[ip4Len:]
	case unix.ETH_P_IPV6:
		if len(ip) < ip6Len || ip[6] != unix.IPPROTO_TCP {
			return a, false
		}
		dst, tcp = netip.AddrFrom16([16]byte(ip[24:40])), ip[ip6Len:]
	default:
		return a, false
	}
	if len(tcp) < tcpLen || tcp[13]&synACK != synACK {
		return a, false
	}
	a.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:]))
	a.ack = binary.BigEndian.Uint32(tcp[8:])
	return a, true
}

// synACKFilter lets the kernel drop what cannot be a SYN-ACK as parseSYNACK
// reads them, so that a reader is not woken by everybody's traffic.
var synACKFilter = []unix.SockFilter{
	0:  {Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 12},
	1:  {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IP, Jf: 4}, // else 6
	2:  {Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: ethLen + 9},
	3:  {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_TCP, Jf: 8}, // else 12
	4:  {Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: ethLen + ip4Len + 13},
	5:  {Code: unix.BPF_JMP | unix.BPF_JA, K: 4},                                    // to 10
	6:  {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IPV6, Jf: 5}, // else 12
	7:  {Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: ethLen + 6},
	8:  {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_TCP, Jf: 3}, // else 12
	9:  {Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: ethLen + ip6Len + 13},
	10: {Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: synACK},
	11: {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: synACK, Jt: 1}, // to 13
	12: {Code: unix.BPF_RET | unix.BPF_K, K: 0},
	13: {Code: unix.BPF_RET | unix.BPF_K, K: maxFrame},
}
