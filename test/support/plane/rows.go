// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
)

// Rows reads a hash map.
func Rows[K comparable, V any](m *ebpf.Map) (map[K]V, error) {
	all := map[K]V{}
	var k K
	var v V
	it := m.Iterate()
	for it.Next(&k, &v) {
		all[k] = v
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read %v: %w", m, err)
	}
	return all, nil
}

// Flows reads a table of flows, by connection.
func Flows(m *ebpf.Map) (map[bpf.FlowKey]bpf.Flow, error) {
	rows, err := Rows[bpf.FlowName, bpf.Flow](m)
	all := map[bpf.FlowKey]bpf.Flow{}
	for name, f := range rows {
		all[name.Key(&f)] = f
	}
	return all, err
}

// Empty removes the rows of a hash map.
func Empty[K comparable, V any](m *ebpf.Map) error {
	rows, err := Rows[K, V](m)
	for k := range rows {
		if err == nil {
			err = m.Delete(k)
		}
	}
	if err != nil {
		return fmt.Errorf("empty %v: %w", m, err)
	}
	return nil
}

// Fill writes the same value into every entry of an array.
func Fill[V any](m *ebpf.Map, value V) error {
	keys, values := make([]uint32, m.MaxEntries()), make([]V, m.MaxEntries())
	for i := range keys {
		keys[i], values[i] = uint32(i), value
	}
	if _, err := m.BatchUpdate(keys, values, nil); err != nil {
		return fmt.Errorf("fill %v: %w", m, err)
	}
	return nil
}

// KeyOf is the key of a connection from a client, as the dataplane sees it: in network order, IPv4 mapped into IPv6.
func KeyOf(from, to netip.AddrPort) bpf.FlowKey {
	var k bpf.FlowKey
	words := func(a netip.Addr) (w [4]uint32) {
		b := a.As16()
		for i := range w {
			w[i] = binary.NativeEndian.Uint32(b[4*i:])
		}
		return w
	}
	port := func(n uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)) }
	k.Saddr, k.Daddr = words(from.Addr()), words(to.Addr())
	k.Sport, k.Dport = port(from.Port()), port(to.Port())
	return k
}

// ClientOf reads the client's side of a flow's key, which is in network order; IPv4 is mapped into IPv6 there.
func ClientOf(key bpf.FlowKey) netip.AddrPort {
	var addr [16]byte
	for i, word := range key.Saddr {
		binary.NativeEndian.PutUint32(addr[4*i:], word)
	}
	port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, key.Sport))
	return netip.AddrPortFrom(netip.AddrFrom16(addr).Unmap(), port)
}
