// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"net/netip"
	"testing"
)

// With offload on, the captured SYN would hold the checksum of the
// pseudo-header alone.
func TestKernelSendsWholeChecksums(t *testing.T) {
	l := newLab(t)
	for _, src := range []netip.Addr{visitorSources().v4[0], visitorSources().v6[0]} {
		t.Run(src.String(), func(t *testing.T) {
			isSYN := func(f []byte) bool { return synTCP(f, src) != nil }
			c, err := l.CaptureEdge(isSYN)
			if err != nil {
				t.Fatal(err)
			}
			dst := netip.AddrPortFrom(edgeAddrFor(src), 443)
			if _, err := l.Out.Dialer(src).DialContext(t.Context(), "tcp", dst.String()); err == nil {
				t.Fatal("somebody listens: want a refusal")
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			frame, err := c.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got := tcpChecksum(src, dst.Addr(), synTCP(frame, src)); got != 0 {
				t.Errorf("TCP sums to %#04x, want 0: the checksum is partial", got)
			}
		})
	}
}

// synTCP returns the TCP header of a SYN in the family of src, or nil.
func synTCP(f []byte, src netip.Addr) []byte {
	offset, ethertype, proto := ethLen+ip4Len, [2]byte{0x08, 0x00}, ethLen+9
	if src.Is6() {
		offset, ethertype, proto = ethLen+ip6Len, [2]byte{0x86, 0xdd}, ethLen+6
	}
	if len(f) < offset+tcpLen || [2]byte(f[12:14]) != ethertype || f[proto] != 6 || f[offset+13] != flagSYN {
		return nil
	}
	return f[offset:]
}
