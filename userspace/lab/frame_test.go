// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
)

func testSYN(src string) scanSYN {
	a := netip.MustParseAddr(src)
	return scanSYN{
		srcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, dstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2},
		src: netip.AddrPortFrom(a, 40000), dst: netip.AddrPortFrom(edgeAddrFor(a), 443),
		seq: 0x01020304, ipID: 7,
	}
}

// A right checksum makes the whole sum to all ones.
func TestScanSYNChecksums(t *testing.T) {
	for _, src := range []string{"198.18.77.1", "2001:db8:77::1"} {
		s := testSYN(src)
		f := s.frame()
		tcp := f[len(f)-tcpLen-4:]
		if got := tcpChecksum(s.src.Addr(), s.dst.Addr(), tcp); got != 0 {
			t.Errorf("%s: TCP sums to %#04x, want 0", src, got)
		}
		if s.src.Addr().Is4() && fold(sum16(0, f[ethLen:ethLen+ip4Len])) != 0xffff {
			t.Errorf("%s: IPv4 header does not sum to ones", src)
		}
	}
}

func TestParseSYNACK(t *testing.T) {
	for _, src := range []string{"198.18.77.1", "2001:db8:77::1"} {
		f := testSYN(src).frame()
		if _, ok := parseSYNACK(f); ok {
			t.Errorf("%s: a SYN was taken for a SYN-ACK", src)
		}
		flags := len(f) - 4 - tcpLen + 13
		f[flags] = synACK
		binary.BigEndian.PutUint32(f[flags-5:], 77)
		a, ok := parseSYNACK(f)
		if !ok || a.ack != 77 || a.dst.Port() != 443 || a.dst.Addr() != edgeAddrFor(netip.MustParseAddr(src)) {
			t.Errorf("%s: got %+v, %v", src, a, ok)
		}
		for n := range len(f) - 4 {
			if _, ok := parseSYNACK(f[:n]); ok {
				t.Errorf("%s: accepted at %d of %d bytes", src, n, len(f))
			}
		}
	}
}
