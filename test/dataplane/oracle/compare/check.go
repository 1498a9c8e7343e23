// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/model/oracle"
	"github.com/spillway/spillway/test/support/plane"
)

// XDP actions, by number.
var actionNames = []string{"XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"}

// The two actions that the dataplane may return.
const (
	Drop = 1
	Pass = 2
)

// ActionName returns XDP_PASS, XDP_DROP…
func ActionName(action uint32) string {
	if int(action) < len(actionNames) {
		return actionNames[action]
	}
	return fmt.Sprintf("action %d", action)
}

// counts is what one counter holds: packets, connections, packets that belong to none.
type counts struct{ packets, connections, alone uint64 }

// expect adds what a frame must have counted, or takes it back.
func (p *Plane) expect(r oracle.Result, by uint64) {
	if r.Uncounted {
		return
	}
	at, beside := p.counter(r), loader.Counter{Service: p.ids[r.Service], Left: true, Reason: r.Reason, Outcome: r.Outcome}
	own, alone := p.rows[at], p.rows[beside]
	own.packets += by
	switch r.Decides {
	case oracle.DecidesConnection:
		own.connections += by
	case oracle.DecidesItself:
		alone.alone += by
		p.rows[beside] = alone
	}
	p.rows[at] = own
}

// Check runs a frame and says how what happened differs from want: "" when action and counter are as they should be.
// That no other counter moved is CheckCounters' to say, which reads them all.
func (p *Plane) Check(frame []byte, want oracle.Result) (action uint32, difference string, err error) {
	if action, _, err = p.Run(frame); err != nil {
		return action, "", err
	}
	right := uint32(Pass)
	if want.Drops() {
		right = Drop
	}
	p.expect(want, 1)
	if action == right {
		if want.Uncounted {
			return action, "", nil
		}
		got, err := p.read(want)
		if err != nil {
			return action, "", err
		}
		if got == p.rows[p.counter(want)] {
			return action, "", nil
		}
	}
	p.expect(want, ^uint64(0))
	moved, err := p.settle()
	return action, fmt.Sprintf("%s, %s; want %s, %s", ActionName(action), moved, ActionName(right), want), err
}

func (p *Plane) counter(r oracle.Result) loader.Counter {
	return loader.Counter{Service: p.ids[r.Service], Slot: r.Slot, Reason: r.Reason, Outcome: r.Outcome}
}

// read looks at the one counter that a frame should have moved, where find_counter() in bpf/stats.h finds it.
func (p *Plane) read(r oracle.Result) (found counts, err error) {
	at := (uint32(p.ids[r.Service])*bpf.CounterSlots+uint32(r.Slot))*uint32(bpf.ReasonMax) + uint32(r.Reason)
	var each []bpf.Counts
	if err := p.maps[bpf.DataplaneMapCounters].Lookup(at, &each); err != nil {
		return found, fmt.Errorf("read a counter: %w", err)
	}
	for _, c := range each {
		found.packets += c.Packets[r.Outcome]
		found.connections += c.Connections[r.Outcome]
	}
	return found, nil
}

// settle says which counters moved that should not have, and expects these from now on.
func (p *Plane) settle() (string, error) {
	moved, err := p.differences(true)
	if len(moved) == 0 {
		return "no counter moved", err
	}
	return "moved " + strings.Join(moved, " and "), err
}

// CheckCounters reads all counters and says which are not what the frames so far should have made them.
func (p *Plane) CheckCounters() ([]string, error) {
	moved, err := p.differences(false)
	moved = append(p.moved, moved...)
	p.moved = nil
	return moved, err
}

// move looks at the counters before something moves them that is no frame: a generation comes into a slot.
func (p *Plane) move(change func() error) error {
	moved, err := p.differences(false)
	p.moved = append(p.moved, moved...)
	if err == nil {
		err = change()
	}
	if err == nil {
		_, err = p.differences(true)
	}
	return err
}

func (p *Plane) differences(accept bool) ([]string, error) {
	counters, err := p.Counters()
	if err != nil {
		return nil, err
	}
	names := map[uint8]string{}
	for name, id := range p.ids {
		names[id] = name
	}
	found, keys := map[loader.Counter]counts{}, map[loader.Counter]bool{}
	for _, c := range counters {
		key := loader.Counter{Service: c.Service, Slot: c.Slot, Left: c.Left, Reason: c.Reason, Outcome: c.Outcome}
		found[key], keys[key] = counts{c.Packets, c.Connections, c.Alone}, true
	}
	for key := range p.rows {
		keys[key] = true
	}
	var moved []string
	for key := range keys {
		was, is := p.rows[key], found[key]
		if was == is {
			continue
		}
		r := oracle.Result{Service: names[key.Service], Slot: key.Slot, Reason: key.Reason, Outcome: key.Outcome}
		moved = append(moved, fmt.Sprintf("%s by %d packets, %d connections, %d alone", r, int64(is.packets-was.packets),
			int64(is.connections-was.connections), int64(is.alone-was.alone)))
	}
	slices.Sort(moved)
	if accept {
		p.rows = found
	}
	return moved, nil
}

// Connections returns how many connections the kernel remembers, and how many of those as blocked.
func (p *Plane) Connections() (all, blocked int, err error) {
	rows, err := plane.Flows(p.maps[bpf.DataplaneMapFlows])
	for _, f := range rows {
		if f.Verdict != uint8(bpf.VerdictPass) {
			blocked++
		}
	}
	return len(rows), blocked, err
}
