// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// chains interns chains of rules. A source that several lists know gets the sum of their longest matches: the sum is
// a chain of rule nodes, and equal chains share their nodes.
type chains struct {
	rules []bpf.RuleNode // by index of the bundle's rule: score and expiry
	nodes []bpf.RuleNode
	known map[chainLink]uint16
}

var verdictFlags = map[config.RuleVerdict]uint16{config.RuleAllow: uint16(bpf.RuleAllow),
	config.RuleTag: uint16(bpf.RuleTag)}

// chainNodes is the most: a head has 16 bits, and node 0 is none.
const chainNodes = 1 << 16

type chainLink struct{ rule, next uint16 }

func newChains(b *config.Bundle, now Clock) *chains {
	c := &chains{nodes: make([]bpf.RuleNode, 1), known: map[chainLink]uint16{}} // node 0 is none
	for i, r := range b.Rules {
		node := bpf.RuleNode{ExpiresNs: now.monotonic(r.Expires), Score: int16(r.Score), Rule: uint16(i)}
		if r.Declared {
			node.Flags = uint16(bpf.RuleDeclared)
		}
		node.Flags |= verdictFlags[r.Verdict]
		c.rules = append(c.rules, node)
	}
	return c
}

// head returns the first node of the chain of these rules.
func (b *builder) head(rules []uint16) (uint32, error) { return b.chains.head(rules...) }

// head returns the first node of the chain of these rules (indexes into the bundle's rules, in any order).
func (c *chains) head(rules ...uint16) (uint32, error) {
	if len(rules) > bpf.RuleChainMax {
		return 0, fmt.Errorf("%d lists match one source: %w: at most %d add up", len(rules), ErrCapacity, bpf.RuleChainMax)
	}
	if len(rules) > 1 {
		rules = slices.Clone(rules)
		slices.Sort(rules)
	}
	var next uint16
	for _, rule := range slices.Backward(rules) {
		key := chainLink{rule, next}
		node, ok := c.known[key]
		if !ok {
			if len(c.nodes) == chainNodes {
				return 0, fmt.Errorf("combinations of rules: %w: at most %d", ErrCapacity, chainNodes-1)
			}
			node = uint16(len(c.nodes))
			entry := c.rules[rule]
			entry.Next = next
			c.nodes = append(c.nodes, entry)
			c.known[key] = node
		}
		next = node
	}
	return uint32(next), nil
}
