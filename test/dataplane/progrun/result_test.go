// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"fmt"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
)

// result is how one packet left, all by name.
type result struct {
	Action  string // XDP_PASS, XDP_DROP…
	Service string
	Slot    string // the role of the slot that decided: stable, candidate…; none
	Reason  string
	Outcome string
}

var actions = []string{"XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"}

func actionName(action uint32) string {
	if int(action) < len(actions) {
		return actions[action]
	}
	return fmt.Sprintf("XDP action %d", action)
}

// What most packets to the service web get.

func drops(reason string) result  { return result{"XDP_DROP", "web", "stable", reason, "drop"} }
func passes(reason string) result { return result{"XDP_PASS", "web", "stable", reason, "pass"} }
func would(reason string) result  { return result{"XDP_PASS", "web", "stable", reason, "would_drop"} }

// undecided is a packet that ended before any generation was asked; service is none where none was found.
func undecided(service, reason string) result {
	return result{"XDP_PASS", service, "none", reason, "pass"}
}

// known is a packet of a flow that passes: the stored verdict asks no generation.
func known() result { return undecided("web", "known_flow") }

func (r result) of(service string) result { r.Service = service; return r }
func (r result) by(role string) result    { r.Slot = role; return r }

// send runs one frame and returns how it left. It fails the test unless exactly one counter grew, by one.
func (p *plane) send(frame []byte) result {
	p.t.Helper()
	action, out, err := p.Run(frame)
	p.must(err)
	if diff := cmp.Diff(frame, out); diff != "" {
		p.t.Errorf("the program changed the frame (-sent +left):\n%s", diff)
	}
	p.sent++
	grown := p.catchUp()
	r := result{Action: actionName(action)}
	if len(grown) != 1 {
		p.t.Errorf("%d counters moved by one packet, want 1: %v", len(grown), p.readable(grown))
	}
	for c, n := range grown {
		if n != 1 {
			p.t.Errorf("a counter grew by %d for one packet: %v", n, p.readable(grown))
		}
		r = p.result(c, action)
		reached.Store(r.Reason, true)
	}
	return r
}

func (p *plane) result(c loader.Counter, action uint32) result {
	slot := "none"
	if c.Slot != bpf.SlotEmpty {
		slot = p.Control().Role(c.Slot)
	}
	return result{actionName(action), p.names[c.Service], slot, bpf.ReasonName(c.Reason), bpf.OutcomeName(c.Outcome)}
}

// want sends a frame and compares how it left.
func (p *plane) want(what string, f packet.Frame, want result) {
	p.t.Helper()
	p.wantBytes(what, f.Bytes(), want)
}

func (p *plane) wantBytes(what string, frame []byte, want result) {
	p.t.Helper()
	if diff := cmp.Diff(want, p.send(frame)); diff != "" {
		p.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// run sends a frame without a look at the counters, for many frames; the end of the test counts them all. It returns
// the action's name.
func (p *plane) run(frame []byte) string {
	p.t.Helper()
	action, _, err := p.Run(frame)
	p.must(err)
	p.sent++
	return actionName(action)
}

// catchUp makes the next send look at its own packet only, after run. It returns the packets that were counted since
// the last look; what they decided is in p.decided.
func (p *plane) catchUp() map[loader.Counter]uint64 {
	p.t.Helper()
	before := p.seen
	p.seen = p.counters()
	packets, decided := p.seen.grown(before).split(p.names)
	p.decided = decided
	return packets
}
