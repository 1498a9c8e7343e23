// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
)

// unseen does what lets packets pass unseen, or ends that, and has the sight grow around it (bpf/sight.h): no
// connection that was under way may be taken for one that hides its ClientHello.
func (ws *Words) unseen(do func()) {
	if ws.words != nil {
		atomic.AddUint64(&ws.at.Sight, 1)
		defer atomic.AddUint64(&ws.at.Sight, 1)
	}
	do()
}

// Sight returns how often it grew: each time twice.
func (ws *Words) Sight() uint64 { return atomic.LoadUint64(&ws.at.Sight) }

// SetBypass lets everything pass until the deadline; 0 ends it. It is one store and takes effect with the next packet.
func (ws *Words) SetBypass(until Deadline) { ws.unseen(func() { ws.root.SetBypass(until) }) }

// Beat says that the agent lives. It also tidies up after whoever could not: a bypass that another build's command
// turned on or off ended a sight, and one whose time is over is taken out of its word.
func (ws *Words) Beat() {
	ws.root.Beat()
	if ws.words == nil {
		return
	}
	if now := uint64(ws.root.Bypass()); ws.lastBypass.Swap(now) != now {
		ws.unseen(func() {})
	}
	words := ws.root.Switches()
	for i := range ws.at.ServiceBypassUntilNs {
		words = append(words, &ws.at.ServiceBypassUntilNs[i])
	}
	for _, w := range words {
		if until := atomic.LoadUint64(w); until != 0 && !Deadline(until).Active() {
			ws.unseen(func() { atomic.CompareAndSwapUint64(w, until, 0) })
		}
	}
}

// sightBehind maps the runtime words of the dataplane behind a root program that was opened by its id, nil where they
// are not of this build's shape.
func sightBehind(next *ebpf.Map) ([]byte, *uint64) {
	id, err := kernel.EntryOf(next, 0)
	if err != nil || id == 0 {
		return nil, nil
	}
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return nil, nil
	}
	defer func() { _ = p.Close() }()
	ids, err := kernel.MapIDs(p)
	if err != nil {
		return nil, nil
	}
	for _, id := range ids {
		if page := mapRuntime(id); page != nil {
			return page, &(*bpf.Runtime)(unsafe.Pointer(&page[0])).Sight
		}
	}
	return nil, nil
}

// mapRuntime maps the map with this id when it is the runtime words of this build.
func mapRuntime(id ebpf.MapID) []byte {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return nil
	}
	defer func() { _ = m.Close() }()
	info, err := m.Info()
	if err != nil || info.Name != bpf.DataplaneMapWords || info.Type != ebpf.Array ||
		info.Flags&unix.BPF_F_MMAPABLE == 0 ||
		uintptr(info.ValueSize) != unsafe.Sizeof(bpf.Runtime{}) {
		return nil
	}
	page, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	return page
}
