// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// filterSource is what a row of xdp-filter's table says: it is about sources. The upper bits count.
const filterSource = 1

// loadFullFilter loads the program of xdp-filter that its tool loads for lists of addresses, with a table that has room
// for the sources and is filled with them: the tool's own holds 10,000. nil where it is not installed.
func (r *rig) loadFullFilter(sources []netip.Addr) (*ebpf.Program, error) {
	found, err := filepath.Glob("/usr/lib/*/bpf/xdpfilt_alw_ip.o")
	if err != nil || len(found) == 0 {
		return nil, err
	}
	spec, err := ebpf.LoadCollectionSpec(found[0])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", found[0], err)
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
	}
	table, program := spec.Maps["filter_ipv4"], spec.Programs["xdpfilt_alw_ip"]
	if table == nil || program == nil {
		return nil, fmt.Errorf("%s has no table or no program that is known", found[0])
	}
	table.MaxEntries = uint32(len(sources))
	program.Flags |= unix.BPF_F_XDP_HAS_FRAGS // a feeder's array takes only such
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load xdp-filter with %d rows: %w", len(sources), err)
	}
	r.closers = append(r.closers, func() error { c.Close(); return nil })
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, err
	}
	keys, values := make([]uint32, len(sources)), make([]uint64, cpus*len(sources))
	for i, a := range sources {
		keys[i] = binary.NativeEndian.Uint32(a.AsSlice())
	}
	for i := range values {
		values[i] = filterSource
	}
	if _, err := c.Maps["filter_ipv4"].BatchUpdate(keys, values, nil); err != nil {
		return nil, fmt.Errorf("fill xdp-filter: %w", err)
	}
	return c.Programs["xdpfilt_alw_ip"], nil
}

// fullFilterRows are of random sources: those that Spillway's list has, and those of the established flows.
func (r *rig) fullFilterRows() ([]*scenario, error) {
	sources := make([]netip.Addr, 0, r.hugeList)
	seen := map[netip.Addr]bool{}
	add := func(a netip.Addr) {
		if len(sources) < r.hugeList && !seen[a] {
			seen[a] = true
			sources = append(sources, a)
		}
	}
	for _, a := range r.listed {
		add(a.Addr())
	}
	for _, p := range r.hugePrefix {
		add(p.Addr())
	}
	program, err := r.loadFullFilter(sources)
	if err != nil || program == nil {
		return nil, err
	}
	rows := fmt.Sprintf(", %s sources", number(r.hugeList))
	drop := r.fedWith("listed", &scenario{name: "xdp-filter, drop by source" + rows, program: program,
		frame: synFrame(visitor, service), action: actionDrop})
	pass := r.fedWith("flows", &scenario{name: "xdp-filter, pass" + rows, program: program,
		frame: segment(visitor, service, nil), action: actionPass})
	return []*scenario{drop, pass}, nil
}
