// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
)

// Mapped returns the address in wire order, IPv4 as ::ffff:a.b.c.d.
func Mapped(a netip.Addr) [4]uint32 {
	b := a.As16()
	var words [4]uint32
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return words
}

// Unmapped is the way back: IPv4 for ::ffff:a.b.c.d.
func Unmapped(words [4]uint32) netip.Addr {
	var b [16]byte
	for i, w := range words {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	return netip.AddrFrom16(b).Unmap()
}

func hostToNet16(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// Key6 writes a prefix as a key of the mapped address space: IPv4 lies below ::ffff:0:0/96.
func Key6(p netip.Prefix) bpf.Prefix6Key {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return bpf.Prefix6Key{Prefixlen: uint32(bits), Addr: Mapped(p.Addr())}
}

// Prefix is the way back from Key6.
func Prefix(k bpf.Prefix6Key) netip.Prefix {
	a := Unmapped(k.Addr)
	if a.Is4() {
		return netip.PrefixFrom(a, int(k.Prefixlen)-96)
	}
	return netip.PrefixFrom(a, int(k.Prefixlen))
}

// FormatPrefix writes the key as people do.
func FormatPrefix(k bpf.Prefix6Key) string { return Prefix(k).String() }

func compareAddresses(a, b bpf.ServiceAddress) int {
	return cmp.Or(slices.Compare(a.Addr[:], b.Addr[:]), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
}
