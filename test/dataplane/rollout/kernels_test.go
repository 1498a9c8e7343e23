// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/plane"
	"github.com/spillway/spillway/userspace/release/releasetest"
)

// fake is the kernel of the simulations.
type fake struct{ *releasetest.Kernel }

func (k fake) visit(v releasetest.Visit) bool { return k.Visit(v) }
func (k fake) look()                          { k.Window() }
func (k fake) full()                          { k.Full = true }
func (k fake) pass(bypass bool)               { k.Bypassed = bypass }
func (k fake) restart(testing.TB) kernel      { return k }

// real is a dataplane with its own pins. It takes its time from the test.
type real struct {
	*loader.Dataplane
	t      testing.TB
	p      *plane.Plane
	r      *room
	clock  *clock
	ends   time.Duration
	window uint32 // of the last visits
	isFull bool
}

func (k *real) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *real) Now() time.Duration  { return k.clock.mono }
func (k *real) Ends() time.Duration { return k.ends }

// SetEnds has the real lease be an hour, or long over, as the test's clock says.
func (k *real) SetEnds(at time.Duration) {
	k.ends = at
	switch {
	case at == 0:
		k.SetLease(0)
	case at > k.clock.mono:
		k.SetLease(loader.In(time.Hour))
	default:
		k.SetLease(1)
	}
}

// windowNow is the number of the budget's window, as bpf/charge.h counts it.
func windowNow() uint32 { return uint32(loader.Now().MonotonicNS/1e9/10) + 1 }

// look moves what was counted into the window before, and leaves time enough for what comes.
func (k *real) look() {
	k.SetEnds(k.ends)
	k.Beat()
	if left := 10*time.Second - time.Duration(loader.Now().MonotonicNS%10e9); left < 2*time.Second {
		time.Sleep(left) // until the next window: there is nothing else to wait for
	}
	now := windowNow()
	trials := k.mapOf(bpf.DataplaneMapTrials)
	for lane := range uint32(bpf.Lanes) {
		var trial bpf.Trial
		k.must(trials.Lookup(lane, &trial))
		counted := uint32(0)
		if word := trial.Traffic[k.window&1]; uint32(word>>32) == k.window {
			counted = uint32(word)
		}
		trial.Charged, trial.Traffic = 0, [2]uint64{}
		trial.Traffic[(now-1)&1] = uint64(now-1)<<32 | uint64(counted)
		k.must(trials.Put(lane, trial))
	}
	k.must(k.p.Forget(bpf.DataplaneMapMarks, bpf.DataplaneMapFlows)) // a source visits once a look, with a first payload
	k.window = now
	if k.isFull {
		k.fill()
	}
}

// visit sends the first payload of the source's connection, and its client's RST.
func (k *real) visit(v releasetest.Visit) bool {
	drops := func(frame []byte) bool {
		var action uint32
		var err error
		k.r.do(func() { action, _, err = k.p.Run(frame) })
		k.must(err)
		return action == 1 // XDP_DROP
	}
	blocked := drops(k.r.frame(v.Source, packet.ACK|packet.PSH, request))
	if v.Resets && !blocked {
		drops(k.r.frame(v.Source, packet.RST, nil))
	}
	return blocked
}

// fill has votes find no room: what is free in each set is taken by others.
func (k *real) fill() {
	m, words := k.mapOf(bpf.DataplaneMapVotes), k.words()
	run := func(lane loader.Lane) uint64 { return words.Lanes[lane].Where >> bpf.LaneRun & 0xffff }
	day := loader.Now().MonotonicNS / 1e9 / 86400 & bpf.WayDays
	keys, sets := make([]uint32, m.MaxEntries()), make([]bpf.VoteSet, m.MaxEntries())
	for i := range keys {
		keys[i] = uint32(i)
		k.must(m.Lookup(keys[i], &sets[i]))
		for w, way := range sets[i].Ways {
			kind, of := way>>40&3, run(loader.LaneMain)
			if kind == bpf.LaneFast {
				of = run(loader.LaneFast)
			}
			if way>>bpf.WayRun&0xffff != of || kind < bpf.Lanes && way>>bpf.WayDay&bpf.WayDays != day {
				sets[i].Ways[w] = uint64(w+1)<<42 | run(loader.LaneMain)<<bpf.WayRun | day<<bpf.WayDay | 1
			}
		}
	}
	_, err := m.BatchUpdate(keys, sets, nil)
	k.must(err)
}

func (k *real) mapOf(name string) *ebpf.Map {
	k.t.Helper()
	m, err := k.p.Map(name)
	k.must(err)
	return m
}

func (k *real) words() (all bpf.Runtime) {
	k.must(k.mapOf(bpf.DataplaneMapWords).Lookup(uint32(0), &all))
	return all
}

func (k *real) full() { k.isFull = true }

func (k *real) pass(bypass bool) {
	if bypass {
		k.SetBypass(loader.DeadlineForever)
	} else {
		k.SetBypass(0)
	}
}

// restart takes over what is pinned, as the next agent does.
func (k *real) restart(t testing.TB) kernel {
	d, err := loader.Adopt(k.p.Pins)
	k.must(err)
	t.Cleanup(func() { _ = d.Close() })
	next := *k
	next.Dataplane = d
	return &next
}

// empty has a dataplane begin the next trace. Numbers of generations go on.
func (k *real) empty() {
	k.must(k.p.Renew())
	k.must(k.p.Forget(bpf.DataplaneMapVotes, bpf.DataplaneMapMarks))
	all := k.words()
	all.Lanes = [bpf.Lanes]bpf.Lane{}
	k.must(k.mapOf(bpf.DataplaneMapWords).Put(uint32(0), all))
}
