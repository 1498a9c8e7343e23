// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Drift is one place in which the kernel does not hold what it should.
type Drift struct {
	Where string
	Want  string
	Got   string
}

// driftMax bounds what one table reports: a person reads the first few, a program needs to know that there are some.
const driftMax = 20

// table is one inner map to be: it can write itself into a fresh map and compare itself with any map.
type table interface {
	empty() bool
	capacity() int
	write(m *ebpf.Map) error
	compare(m *ebpf.Map) ([]Drift, error)
	sum() string
	sumOf(m *ebpf.Map) (string, error)
}

// batch is how many rows go to the kernel in one call.
const batch = 4096

// feature is a table of keys, such as a trie of prefixes.
type feature[K, V comparable] struct {
	name   string
	rows   *rows[K, V]
	max    int
	order  func(a, b K) int
	format func(K) string
	value  func(V) string
}

func (f feature[K, V]) empty() bool   { return len(f.rows.keys) == 0 }
func (f feature[K, V]) capacity() int { return f.max }

func (f feature[K, V]) write(m *ebpf.Map) error {
	for from := 0; from < len(f.rows.keys); from += batch {
		to := min(from+batch, len(f.rows.keys))
		n, err := m.BatchUpdate(f.rows.keys[from:to], f.rows.values[from:to], nil)
		if err != nil {
			return fmt.Errorf("row %d (%s): %w", from+n, f.format(f.rows.keys[min(from+n, to-1)]), err)
		}
	}
	return nil
}

func (f feature[K, V]) compare(m *ebpf.Map) ([]Drift, error) {
	seen := make([]bool, len(f.rows.keys))
	var drifts []Drift
	add := func(d Drift) {
		if len(drifts) < driftMax {
			drifts = append(drifts, d)
		}
	}
	err := eachRow(m, func(key K, value V) {
		at, ok := slices.BinarySearchFunc(f.rows.keys, key, f.order)
		where := f.name + " " + f.format(key)
		switch {
		case !ok:
			add(Drift{where, "nothing", f.value(value)})
		case f.rows.values[at] != value:
			add(Drift{where, f.value(f.rows.values[at]), f.value(value)})
			seen[at] = true
		default:
			seen[at] = true
		}
	})
	if err != nil {
		return nil, err
	}
	for i, ok := range seen {
		if !ok {
			add(Drift{f.name + " " + f.format(f.rows.keys[i]), f.value(f.rows.values[i]), "nothing"})
		}
	}
	return drifts, nil
}

// eachRow reads all of a map in batches.
func eachRow[K, V any](m *ebpf.Map, visit func(K, V)) error {
	var cursor ebpf.MapBatchCursor
	keys, values := make([]K, batch), make([]V, batch)
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			visit(keys[i], values[i])
		}
		if isLastBatch(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// isLastBatch tells the end of a map from a failure.
func isLastBatch(err error) bool { return errors.Is(err, ebpf.ErrKeyNotExist) }

// array is a table whose keys are 0 to len-1.
type array[V comparable] struct {
	name   string
	values []V
}

func (a array[V]) empty() bool   { return len(a.values) == 0 }
func (a array[V]) capacity() int { return len(a.values) }

func (a array[V]) write(m *ebpf.Map) error {
	keys := make([]uint32, len(a.values))
	for i := range keys {
		keys[i] = uint32(i)
	}
	_, err := m.BatchUpdate(keys, a.values, nil)
	return err
}

func (a array[V]) compare(m *ebpf.Map) ([]Drift, error) {
	var drifts []Drift
	count := 0
	err := eachRow(m, func(key uint32, value V) {
		count++
		if int(key) < len(a.values) && a.values[key] == value || len(drifts) >= driftMax {
			return
		}
		want := "nothing"
		if int(key) < len(a.values) {
			want = fmt.Sprintf("%+v", a.values[key])
		}
		drifts = append(drifts, Drift{fmt.Sprintf("%s entry %d", a.name, key), want, fmt.Sprintf("%+v", value)})
	})
	if err == nil && count != len(a.values) {
		drifts = append(drifts, Drift{a.name, fmt.Sprintf("%d entries", len(a.values)), fmt.Sprintf("%d", count)})
	}
	return drifts, err
}

func formatHead(head uint32) string { return fmt.Sprintf("rule node %d", head) }

func (img *Image) tables(c config.Capacity) map[string]table {
	return map[string]table{
		bpf.DataplaneMapGenerations: array[bpf.Generation]{"generation", []bpf.Generation{img.generation}},
		bpf.DataplaneMapRules:       array[bpf.RuleNode]{"rules", img.nodes},
		bpf.DataplaneMapPrefixes4: feature[bpf.Prefix4Key, uint32]{"prefixes_v4", &img.prefixes4, c.Prefixes4, comparePrefix4,
			func(k bpf.Prefix4Key) string {
				return netip.PrefixFrom(unmapped([4]uint32{0, 0, mappedMarker, k.Addr}), int(k.Prefixlen)).String()
			}, formatHead},
		bpf.DataplaneMapPrefixes6: feature[bpf.Prefix6Key, uint32]{"prefixes_v6", &img.prefixes6, c.Prefixes6, comparePrefix6,
			formatPrefix6, formatHead},
		bpf.DataplaneMapTcpFingerprints: feature[bpf.TCPFingerprint, uint32]{"tcp_fingerprints", &img.tcp, c.TCPFingerprints,
			compareFingerprints, FormatFingerprint, formatHead},
		bpf.DataplaneMapJa4s: feature[bpf.JA4Key, uint32]{"ja4s", &img.ja4s, c.JA4s, compareJA4s, formatJA4Key, formatHead},
		bpf.DataplaneMapTcpLayouts: feature[bpf.TCPLayout, bpf.TCPSignatures]{"tcp_layouts", &img.layouts, layoutsFor(c),
			compareLayouts, formatLayout, formatSignatures},
	}
}

func (img *HostImage) tables(maxAllowlist int) map[string]table {
	ports := make([]bpf.Port, 2*65536)
	for index, port := range img.ports {
		ports[index] = port
	}
	return map[string]table{
		bpf.DataplaneMapHosts:     array[bpf.Host]{"host", []bpf.Host{img.host}},
		bpf.DataplaneMapHostPorts: array[bpf.Port]{"ports", ports},
		bpf.DataplaneMapHostAddresses: feature[bpf.ServiceAddress, uint32]{"addresses", &img.addresses,
			max(len(img.addresses.keys), 1), compareAddresses, func(k bpf.ServiceAddress) string {
				return netip.AddrPortFrom(unmapped(k.Addr), hostToNet16(k.Port)).String()
			}, formatHead},
		bpf.DataplaneMapHostAllowlist: feature[bpf.Prefix6Key, uint32]{"allowlist", &img.allowlist, maxAllowlist,
			comparePrefix6, formatPrefix6, formatHead},
	}
}

// mappedMarker is the ffff of ::ffff:a.b.c.d as a word in wire order.
var mappedMarker = mapped(netip.AddrFrom4([4]byte{}))[2]

// prefixOf is the way back from key6.
func prefixOf(k bpf.Prefix6Key) netip.Prefix {
	a := unmapped(k.Addr)
	if a.Is4() {
		return netip.PrefixFrom(a, int(k.Prefixlen)-96)
	}
	return netip.PrefixFrom(a, int(k.Prefixlen))
}

func formatPrefix6(k bpf.Prefix6Key) string { return prefixOf(k).String() }
