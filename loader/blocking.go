// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// blockingCache keeps what a generation's rules say. They are frozen, so it is read once; whether they expired is not
// kept.
type blockingCache struct {
	mu     sync.Mutex
	number map[uint8]uint32 // of the generation, by slot
	rules  map[uint8][]bpf.RuleNode
}

func (sl *Slots) blocking(slot uint8, g *bpf.Generation, host *bpf.Host) (compile.Blocking, error) {
	rules, err := sl.blockCache.read(sl, slot, g.Number)
	if err != nil {
		return compile.Blocking{}, err
	}
	return compile.BlockingOf(g, rules, kernel.MonotonicNS(), host), nil
}

// hostInForce returns the host file in force; nil: there is none.
func (sl *Slots) hostInForce() (*bpf.Host, error) {
	slot := sl.words.Control().Host
	if slot == bpf.SlotEmpty {
		return nil, nil
	}
	var h bpf.Host
	err := sl.lookupInner(bpf.DataplaneMapHosts, slot, &h)
	if errors.Is(err, kernel.ErrNotPinned) || errors.Is(err, ErrPinDiffers) { // VerifyWiring tells of it
		return nil, nil
	}
	return &h, err
}

// TagOf returns the tag of the service with this name.
func TagOf(service string) uint32 { return compile.ServiceTag(service) }

// read returns one node a rule.
func (c *blockingCache) read(from *Slots, slot uint8, number uint32) ([]bpf.RuleNode, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rules, ok := c.rules[slot]; ok && c.number[slot] == number {
		return rules, nil
	}
	nodes, err := from.ruleNodes(slot)
	if err != nil {
		return nil, err
	}
	rules := compile.OneEach(nodes)
	if c.rules == nil {
		c.number, c.rules = map[uint8]uint32{}, map[uint8][]bpf.RuleNode{}
	}
	c.number[slot], c.rules[slot] = number, rules
	return rules, nil
}

// ruleNodes reads all nodes of a slot's chains; none when the slot has no rules.
func (sl *Slots) ruleNodes(slot uint8) ([]bpf.RuleNode, error) {
	m, err := sl.innerMap(bpf.DataplaneMapRules, slot)
	if err != nil || m == nil {
		return nil, err
	}
	defer func() { _ = m.Close() }()
	nodes := make([]bpf.RuleNode, m.MaxEntries())
	keys := make([]uint32, len(nodes))
	var at ebpf.MapBatchCursor
	n, err := m.BatchLookup(&at, keys, nodes, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, kernel.Explain(fmt.Sprintf("read slot %d of %s", slot, bpf.DataplaneMapRules), err)
	}
	return nodes[:n], nil
}
