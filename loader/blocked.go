// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// FlowTable are the connections whose verdict is kept.
type FlowTable struct {
	*site
	words *Words
	asks  *ebpf.Program // whose socket is at some addresses; nil when nothing was loaded
}

// NameOf returns the name by which the table knows a connection.
func (t *FlowTable) NameOf(key bpf.FlowKey) bpf.FlowName { return key.Name(&t.words.at.NameKeys) }

// BlockedFlow is a connection that the stable generation blocks for good. One that is over a limit is blocked until its
// key has room, and Waits for that: it holds a socket as the others do.
type BlockedFlow struct {
	Client, Server netip.AddrPort
	Waits          bool
	name           bpf.FlowName
	isn            uint32
}

// SetBaked says that the stable generation with this number is last-known-good: sockets of what it blocks are released.
// 0 says it of none.
func (ws *Words) SetBaked(generation uint32) {
	atomic.StoreUint64(&ws.at.Baked, uint64(generation))
}

// Baked returns the generation of SetBaked.
func (ws *Words) Baked() uint32 { return uint32(atomic.LoadUint64(&ws.at.Baked)) }

// Released returns how many sockets the FIN of a blocked connection has released since the maps were made.
func (t *CounterTable) Released() (uint64, error) {
	perCPU := make([]uint64, 0)
	if err := t.maps[bpf.DataplaneMapReleases].Lookup(uint32(0), &perCPU); err != nil {
		return 0, kernel.Explain("read the count of released sockets", err)
	}
	var sum uint64
	for _, n := range perCPU {
		sum += n
	}
	return sum, nil
}

// FlowWalk is where a walk over the flows stands. The zero value is at the beginning.
type FlowWalk struct {
	cursor ebpf.MapBatchCursor
	names  []bpf.FlowName
	flows  []bpf.Flow
}

// blockedBatch is how many flows one system call copies: 164 KiB, and more than any bucket of the table holds.
const blockedBatch = 1024

// BlockedFlows looks at the next rows of the flows, at least that many where there are so many, and appends those that
// are blocked for good now. done: it was the last of them, and the walk stands at the beginning again.
func (t *FlowTable) BlockedFlows(w *FlowWalk, rows int, to []BlockedFlow) (_ []BlockedFlow, done bool, err error) {
	if w.names == nil {
		w.names, w.flows = make([]bpf.FlowName, blockedBatch), make([]bpf.Flow, blockedBatch)
	}
	for seen := 0; seen < rows; {
		n, err := t.maps[bpf.DataplaneMapFlows].BatchLookup(&w.cursor, w.names, w.flows, nil)
		last := kernel.IsLastBatch(err)
		if err != nil && !last {
			w.cursor = ebpf.MapBatchCursor{}
			return to, true, kernel.Explain("walk the flows", err)
		}
		for i := range n {
			if t.isBlockedForGood(&w.flows[i]) {
				to = append(to, blockedFlow(w.names[i], &w.flows[i]))
			}
		}
		if seen += n; last {
			w.cursor = ebpf.MapBatchCursor{}
			return to, true, nil
		}
	}
	return to, false, nil
}

func blockedFlow(n bpf.FlowName, f *bpf.Flow) BlockedFlow {
	k := n.Key(f)
	return BlockedFlow{Client: netip.AddrPortFrom(compile.Unmapped(k.Saddr), bits.ReverseBytes16(k.Sport)),
		Server: netip.AddrPortFrom(compile.Unmapped(k.Daddr), bits.ReverseBytes16(k.Dport)),
		Waits:  f.Hint&uint8(bpf.HintOver) != 0, name: n, isn: f.Isn}
}

// isBlockedForGood says of a flow what mark_release in bpf/release.h says of a FIN. A flow of an older control word is
// left alone: the kernel would judge it again with its next packet, and here is none.
func (t *FlowTable) isBlockedForGood(f *bpf.Flow) bool {
	blocks := f.Verdict == uint8(bpf.VerdictDrop) || f.Verdict == uint8(bpf.VerdictReset)
	if !blocks || f.Flags&uint8(bpf.FlowConfirmed) == 0 {
		return false
	}
	c := t.words.Control()
	return c.Mode == bpf.ModeEnforce && f.Slot == c.Stable && f.Slot != bpf.SlotEmpty && f.Epoch == c.Epoch &&
		f.Generation != 0 && f.Generation == t.words.Baked() && Deadline(f.ExpiresNs).Active() && !t.passes(f)
}

// passes reports whether something stands above the stored verdict: a bypass, of whatever service, or somebody who
// vouches.
func (t *FlowTable) passes(f *bpf.Flow) bool {
	if t.root.Bypass().Active() {
		return true
	}
	for id := range t.words.at.ServiceBypassUntilNs {
		if t.words.ServiceBypass(uint8(id)).Active() {
			return true
		}
	}
	if !Deadline(atomic.LoadUint64(&t.words.at.VouchedUntilNs)).Active() {
		return false
	}
	var end uint64
	err := t.maps[bpf.DataplaneMapVouched].Lookup(vouchedKey(compile.Unmapped(f.Saddr)), &end)
	return err == nil || !errors.Is(err, ebpf.ErrKeyNotExist)
}

// StillBlocked looks again: whether the flow is still there, blocked for good, and the socket at its addresses is its
// own, by the initial sequence number. The next user of the same port has another.
func (t *FlowTable) StillBlocked(b BlockedFlow) (bool, error) {
	var f bpf.Flow
	err := t.maps[bpf.DataplaneMapFlows].Lookup(b.name, &f)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	if err != nil {
		return false, kernel.Explain("look up a flow", err)
	}
	if f.Isn != b.isn || !t.isBlockedForGood(&f) {
		return false, nil
	}
	q, err := t.askSocket(b.name.Key(&f))
	return err == nil && q.Confirmed != 0 && q.Isn == b.isn, err
}

// askSocket runs the program that asks the sockets of this process's network namespace.
func (t *FlowTable) askSocket(k bpf.FlowKey) (q bpf.SocketQuestion, err error) {
	if t.asks == nil {
		return q, fmt.Errorf("ask for a socket: %w", kernel.ErrNotPinned)
	}
	q.Key = k
	size := unsafe.Sizeof(q)
	run := ebpf.RunOptions{Data: unsafe.Slice((*byte)(unsafe.Pointer(&q)), size), DataOut: make([]byte, 512)}
	if _, err := t.asks.Run(&run); err != nil {
		return q, kernel.Explain("ask for a socket", err)
	}
	if len(run.DataOut) < int(size) {
		return q, errors.New("ask for a socket: the answer is too short")
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&q)), size), run.DataOut)
	return q, nil
}
