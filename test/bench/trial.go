// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// trialTitle is that of the table of trialRows.
const trialTitle = "While two generations are compared"

// comparedGoal is what a decision may cost while two generations are compared, over what it costs else.
const comparedGoal = 1.3

// compared has the plane compare its bundle with another one like it: in shadow, where the other is a candidate that
// decides for nobody, or under a budget, where the other was stable before and denies nothing.
func (p *plane) compared(bundle func(*config.Bundle), budget bool) error {
	on := true
	with := loader.Change{Pair: &on}
	if budget {
		with.Budget, bundle = &on, nil
	}
	slot, err := p.MakeBundle(benchBundle(bundle))
	if err != nil {
		return err
	}
	all, err := p.Generations()
	if err != nil {
		return err
	}
	numbers := map[uint8]uint32{}
	for _, g := range all {
		numbers[g.Slot] = g.Number
	}
	stable := p.Control().Stable
	c := loader.Comparison{Run: p.NextRun(), Old: numbers[stable], New: numbers[slot]}
	if budget {
		c.Old, c.New = c.New, c.Old
		if _, err := p.Publish(loader.Change{Stable: &slot}); err != nil {
			return err
		}
		with.Stable = &stable
	} else {
		with.Candidate = &slot
	}
	if _, err := p.Publish(with); err != nil {
		return err
	}
	return p.Compare(loader.LaneMain, c)
}

// trialRows are decisions while two generations are compared, each beside the same decision while none are.
func (r *rig) trialRows() []*scenario {
	const hello = "ClientHello, known shape"
	payload := fmt.Sprintf("first payload of a connection (%s sockets)", number(int(r.parts["payloads"].Count)))
	pass := fmt.Sprintf("SYN, pass, %s prefixes", number(r.smallList))
	known := r.proven("compared", hello, small, passed, part{0, len(small)})
	known.goal = 0
	first := r.firstPayload("paired")
	syn := r.on("paired", pass, synFrame(newcomer, service), bpf.ReasonNoMatch, passed)
	deferred := r.on("baking", "SYN, blocked by one of the two alone: deferred", synFrame(denied, service),
		bpf.ReasonOnTrial, passed)
	first.key, syn.key, deferred.key = "trial "+payload, "trial "+pass, "trial deferred"
	return []*scenario{
		known.against("proven strange " + hello), first.against("random " + payload), syn.against("hot " + pass),
		deferred.against("hot SYN, drop by prefix"),
	}
}
