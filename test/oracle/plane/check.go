// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"strings"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/oracle"
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
	at := p.index(want)
	if !want.Uncounted {
		p.rows[at]++
	}
	if action == right {
		if want.Uncounted {
			return action, "", nil
		}
		var each []uint64
		if err := p.maps[bpf.DataplaneMapCounters].Lookup(at, &each); err != nil {
			return action, "", fmt.Errorf("read a counter: %w", err)
		}
		if sum(each) == p.rows[at] {
			return action, "", nil
		}
	}
	moved, err := p.settle(at, want.Uncounted)
	return action, fmt.Sprintf("%s, %s; want %s, %s", ActionName(action), moved, ActionName(right), want), err
}

// index is where count() in bpf/stats.h counts.
func (p *Plane) index(r oracle.Result) uint32 {
	service := uint32(p.ids[r.Service])
	return ((service*bpf.Slots+uint32(r.Slot))*uint32(bpf.ReasonMax)+uint32(r.Reason))*uint32(bpf.Outcomes) + uint32(r.Outcome)
}

// settle takes the expectation at one counter back, says which counters moved instead, and expects these from now on.
func (p *Plane) settle(at uint32, uncounted bool) (string, error) {
	if !uncounted {
		p.rows[at]--
	}
	moved, err := p.differences(true)
	if len(moved) == 0 {
		return "no counter moved", err
	}
	return "moved " + strings.Join(moved, " and "), err
}

// CheckCounters reads all counters and says which are not what the frames so far should have made them.
func (p *Plane) CheckCounters() ([]string, error) { return p.differences(false) }

func (p *Plane) differences(accept bool) ([]string, error) {
	counters, err := p.Counters()
	if err != nil {
		return nil, err
	}
	names := map[uint8]string{}
	for name, id := range p.ids {
		names[id] = name
	}
	found := make([]uint64, len(p.rows))
	var moved []string
	for _, c := range counters {
		r := oracle.Result{Service: names[c.Service], Slot: c.Slot, Reason: c.Reason, Outcome: c.Outcome}
		at := (uint32(c.Service)*bpf.Slots+uint32(c.Slot))*uint32(bpf.ReasonMax*bpf.Outcomes) +
			uint32(c.Reason)*uint32(bpf.Outcomes) + uint32(c.Outcome)
		found[at] = c.Packets
		if d := int64(c.Packets - p.rows[at]); d != 0 {
			moved = append(moved, fmt.Sprintf("%s by %d", r, d))
		}
	}
	for at, want := range p.rows {
		if want != 0 && found[at] == 0 {
			moved = append(moved, fmt.Sprintf("counter %d by %d", at, -int64(want)))
		}
	}
	if accept {
		p.rows = found
	}
	return moved, nil
}

func sum(each []uint64) uint64 {
	var total uint64
	for _, n := range each {
		total += n
	}
	return total
}

// Connections returns how many connections the kernel remembers: for services whose sockets are elsewhere, how many of
// those as blocked, and for local services.
func (p *Plane) Connections() (remote, blocked, local int, err error) {
	rows, err := read[bpf.FlowKey, bpf.Flow](p.maps[bpf.DataplaneMapFlowsRemote])
	if err != nil {
		return 0, 0, 0, err
	}
	for _, r := range rows {
		if r.value.Verdict != uint8(bpf.DataplaneVerdictVERDICT_PASS) {
			blocked++
		}
	}
	confirmed, err := read[bpf.FlowKey, bpf.Flow](p.maps[bpf.DataplaneMapFlows])
	return len(rows), blocked, len(confirmed), err
}
