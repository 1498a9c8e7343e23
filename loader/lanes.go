// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
)

// Comparisons are the two lanes in which the kernel compares generations. Packets look at them only while the control
// word has Pair. Lanes are words of the kernel: they go on without an agent, and the next one finds them by Running.
//
//	stopped ──Compare──▶ compares ──▶ another New: counts begin at zero; another Run: votes and arms, too
//	   ▲                    │
//	   └───────Stop─────────┘ what was counted stays readable until the next Compare
type Comparisons struct {
	*site
	words *Words
	slots *Slots
}

// Compare has a lane compare two resident generations from now on. The same comparison once more changes nothing, also
// after a restart. Another New begins to count at zero; another Run forgets votes and arms, too. It waits for the
// packets that are under way. An error leaves the lane as it was, or stopped. ErrNotPinned when one of the two is not
// resident.
func (c *Comparisons) Compare(lane Lane, to Comparison) error {
	if lane >= bpf.Lanes || to.Run == 0 || to.New == 0 || to.Old == to.New {
		return fmt.Errorf("compare generations %d and %d as run %d in lane %d: no such comparison", to.Old, to.New, to.Run,
			lane)
	}
	next, err := c.laneOf(to)
	if err != nil {
		return err
	}
	was := c.lane(lane)
	if was == next {
		return nil
	}
	old, _ := was.comparison()
	if old.New != to.New || old.Run != to.Run {
		c.store(lane, bpf.Lane{Where: was.Where})
		if err := c.forget(lane, old.Run != to.Run); err != nil {
			return err
		}
	}
	c.store(lane, bpf.Lane(next))
	return nil
}

// Stop has a lane compare nothing. What it counted stays, until another Compare.
func (c *Comparisons) Stop(lane Lane) error {
	if lane >= bpf.Lanes {
		return fmt.Errorf("stop lane %d: there is none", lane)
	}
	was := c.lane(lane)
	was.Check = 0 // what it compared can still be read
	c.store(lane, bpf.Lane(was))
	return nil
}

// Running returns what a lane compares; false where it compares nothing.
func (c *Comparisons) Running(lane Lane) (Comparison, bool) {
	if lane >= bpf.Lanes {
		return Comparison{}, false
	}
	l := c.lane(lane)
	to, ok := l.comparison()
	return to, ok && l.Check == l.check()
}

// SetBeside says which slot holds the generation of LaneFast, so that Build leaves it alone; SlotEmpty: none. It
// decides for nobody.
func (c *Comparisons) SetBeside(slot uint8) error {
	control := c.words.Control()
	if slot >= bpf.Slots {
		return fmt.Errorf("slot %d: there are only %d", slot, bpf.Slots)
	}
	if slot != bpf.SlotEmpty && control.Role(slot) != RoleIdle {
		return fmt.Errorf("slot %d is %s: it cannot stand beside itself", slot, control.Role(slot))
	}
	atomic.StoreUint64(&c.words.at.Beside, uint64(slot))
	return nil
}

// Beside returns the slot of SetBeside.
func (c *Comparisons) Beside() uint8 { return c.words.beside() }

// laneWords are the words of a lane, as bpf/compare.h reads them.
type laneWords bpf.Lane

// laneOf finds the two generations in their slots. Number 0 is the empty one.
func (c *Comparisons) laneOf(to Comparison) (laneWords, error) {
	all, err := c.slots.Generations()
	if err != nil {
		return laneWords{}, err
	}
	slots := map[uint32]uint8{0: bpf.SlotEmpty}
	for _, g := range all {
		slots[g.Number] = g.Slot
	}
	for _, number := range []uint32{to.Old, to.New} {
		if _, ok := slots[number]; !ok {
			return laneWords{}, fmt.Errorf("compare generation %d: %w: it is not resident", number, kernel.ErrNotPinned)
		}
	}
	l := laneWords{Numbers: uint64(to.Old) | uint64(to.New)<<32,
		Where: uint64(slots[to.Old]) | uint64(slots[to.New])<<bpf.LaneNewSlot | uint64(to.Run)<<bpf.LaneRun |
			uint64(to.Allowed)<<bpf.LaneAllowed}
	l.Check = l.check()
	return l, nil
}

func (l laneWords) comparison() (Comparison, bool) {
	to := Comparison{Run: uint16(l.Where >> bpf.LaneRun), Old: uint32(l.Numbers), New: uint32(l.Numbers >> 32),
		Allowed: uint16(l.Where >> bpf.LaneAllowed)}
	return to, to.New != 0
}

// check is lane_check of bpf/compare.h.
func (l laneWords) check() uint64 {
	mix := func(sum, word uint64) uint64 {
		sum = (sum ^ word) * 0x9e3779b97f4a7c15
		return sum ^ sum>>32
	}
	return mix(mix(0x6c616e65, l.Numbers), l.Where)
}

func (c *Comparisons) lane(lane Lane) laneWords {
	at := &c.words.at.Lanes[lane]
	return laneWords{Numbers: atomic.LoadUint64(&at.Numbers), Where: atomic.LoadUint64(&at.Where),
		Check: atomic.LoadUint64(&at.Check)}
}

// store writes a lane word by word. Between two of them its check is wrong, and nobody compares.
func (c *Comparisons) store(lane Lane, l bpf.Lane) {
	at := &c.words.at.Lanes[lane]
	atomic.StoreUint64(&at.Check, 0)
	atomic.StoreUint64(&at.Numbers, l.Numbers)
	atomic.StoreUint64(&at.Where, l.Where)
	atomic.StoreUint64(&at.Check, l.Check)
}

// forget zeroes what a stopped lane counted, once no packet counts there any more. A rebase keeps the arms.
func (c *Comparisons) forget(lane Lane, arms bool) error {
	if err := waitForPackets(); err != nil {
		return err
	}
	err := errors.Join(
		forgetRows(c.maps[bpf.DataplaneMapPairs], func(k bpf.PairKey) bool { return k.Lane == uint8(lane) }),
		forgetRows(c.maps[bpf.DataplaneMapBlame], func(k bpf.BlameKey) bool { return k.Lane == uint8(lane) }))
	if err != nil {
		return kernel.Explain("forget the votes of lane "+lane.String(), err)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	if err := c.maps[bpf.DataplaneMapLaneCounts].Put(uint32(lane), make([]bpf.LaneCount, cpus)); err != nil {
		return kernel.Explain("forget the counts of lane "+lane.String(), err)
	}
	var t bpf.Trial
	if err := c.maps[bpf.DataplaneMapTrials].Lookup(uint32(lane), &t); err != nil {
		return kernel.Explain("read the trial of lane "+lane.String(), err)
	}
	traffic := t.Traffic // of the host, whoever is compared: the first window of a budget has its share of it
	if arms {
		t = bpf.Trial{}
	}
	fresh := bpf.Trial{Sources: t.Sources, Bad: t.Bad, Traffic: traffic}
	err = c.maps[bpf.DataplaneMapTrials].Put(uint32(lane), fresh)
	return kernel.Explain("forget the trial of lane "+lane.String(), err)
}

// forgetRows removes the rows of a hash whose key is meant.
func forgetRows[K comparable](m *ebpf.Map, meant func(K) bool) error {
	var gone []K
	if err := kernel.EachRow(m, func(k K, _ int64) {
		if meant(k) {
			gone = append(gone, k)
		}
	}); err != nil {
		return err
	}
	for _, k := range gone {
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}
