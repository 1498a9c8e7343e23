// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
)

const protocolUDP = 17

// rows is the content of one feature map: keys in map order, and beside each its value.
type rows[K, V comparable] struct {
	keys   []K
	values []V
}

// heads are rows whose values are heads of rule chains.
type heads[K comparable] = rows[K, uint32]

func (r *rows[K, V]) add(key K, value V) {
	r.keys = append(r.keys, key)
	r.values = append(r.values, value)
}

func (r *rows[K, V]) has(key K) bool { return slices.Contains(r.keys, key) }

// sort orders the rows, so that reading back can search them.
func (r *rows[K, V]) sort(compare func(a, b K) int) {
	order := make([]int, len(r.keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return compare(r.keys[i], r.keys[j]) })
	keys, values := make([]K, len(order)), make([]V, len(order))
	for to, from := range order {
		keys[to], values[to] = r.keys[from], r.values[from]
	}
	r.keys, r.values = keys, values
}

// mapped returns the address in wire order, IPv4 as ::ffff:a.b.c.d.
func mapped(a netip.Addr) [4]uint32 {
	b := a.As16()
	var words [4]uint32
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return words
}

// unmapped is the way back: IPv4 for ::ffff:a.b.c.d.
func unmapped(words [4]uint32) netip.Addr {
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

func comparePrefix4(a, b bpf.Prefix4Key) int {
	return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Prefixlen, b.Prefixlen))
}

func comparePrefix6(a, b bpf.Prefix6Key) int {
	return cmp.Or(slices.Compare(a.Addr[:], b.Addr[:]), cmp.Compare(a.Prefixlen, b.Prefixlen))
}

func compareAddresses(a, b bpf.ServiceAddress) int {
	return cmp.Or(slices.Compare(a.Addr[:], b.Addr[:]), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
}

func compareFingerprints(a, b bpf.TCPFingerprint) int {
	return cmp.Or(cmp.Compare(a.Window, b.Window), cmp.Compare(a.Mss, b.Mss), cmp.Compare(a.Scale, b.Scale),
		cmp.Compare(a.Present, b.Present), cmp.Compare(a.KindCount, b.KindCount), bytes.Compare(a.Kinds[:], b.Kinds[:]))
}

func compareJA4s(a, b bpf.JA4Key) int {
	return cmp.Or(cmp.Compare(a.Form, b.Form), bytes.Compare(a.A[:], b.A[:]), bytes.Compare(a.B[:], b.B[:]), bytes.Compare(a.C[:], b.C[:]))
}

func compareLayouts(a, b bpf.TCPLayout) int {
	return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.KindCount, b.KindCount), cmp.Compare(a.EolPad, b.EolPad),
		bytes.Compare(a.Kinds[:], b.Kinds[:]))
}
