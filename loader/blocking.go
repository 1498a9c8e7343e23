// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Blocking says whom a generation could block, as packets read it: a bundle may be in force and never block anybody.
type Blocking struct {
	// From holds the lowest score that blocks, by the tag of a service; 0 is never. A service without an entry passes.
	From map[uint32]uint8
	// Resets and Fragments hold the tags of services whose policy resets from some score on, and of those of which it drops
	// fragments, whoever sends them.
	Resets, Fragments map[uint32]bool
	// Reach is the highest score that a source could have now: what all rules that have not expired add up to, at most 100.
	Reach int
	// Strong reports whether there are features that may block: of reasons alone only those that a client makes, and
	// those that the host file accepts, ever do.
	Strong bool
	// Expired counts the rules that were, and whose time is over.
	Expired int
}

// Can reports whether rules of the generation may block at the service with this tag.
func (b Blocking) Can(tag uint32) bool {
	from := int(b.From[tag])
	return from > 0 && b.Strong && b.Reach >= from
}

// blockingCache keeps what a generation's rules say. They are frozen, so it is read once; whether they expired is not kept.
type blockingCache struct {
	mu     sync.Mutex
	number map[uint8]uint32 // of the generation, by slot
	rules  map[uint8][]bpf.RuleNode
}

func (d *Dataplane) blocking(slot uint8, g *bpf.Generation) (Blocking, error) {
	rules, err := d.blockCache.read(d, slot, g.Number)
	if err != nil {
		return Blocking{}, err
	}
	accepted, err := d.acceptedReasons()
	return blockingOf(g, rules, monotonicNS(), accepted), err
}

// Blocking says whom the generation could block, were it in force on a host that accepts no weak reason.
func (img *Image) Blocking() Blocking {
	return blockingOf(&img.generation, oneEach(img.nodes), monotonicNS(), 0)
}

// acceptedReasons returns which weak reasons the host file in force lets rules block by, a bit each.
func (d *Dataplane) acceptedReasons() (uint64, error) {
	var h bpf.Host
	slot := d.Control().Host
	if slot == bpf.SlotEmpty {
		return 0, nil
	}
	err := d.lookupInner(bpf.DataplaneMapHosts, slot, &h)
	if errors.Is(err, ErrNotPinned) || errors.Is(err, ErrPinDiffers) { // VerifyWiring tells of it
		return 0, nil
	}
	return h.AcceptedReasons, err
}

// maskOf returns the bits of reasons that the host file names.
func maskOf(reasons []string) (mask uint64, err error) {
	for _, name := range reasons {
		r, err := bpf.ParseReason(name)
		if err != nil {
			return 0, err
		}
		mask |= 1 << r
	}
	return mask, nil
}

// hasStrong reports whether the generation has a feature that may block by itself.
func hasStrong(g *bpf.Generation, accepted uint64) bool {
	if g.Prefixes4+g.Prefixes6+g.TcpFingerprints+g.TcpSignatures+g.Ja4s > 0 {
		return true
	}
	for r, head := range g.Reasons {
		if head != 0 && (accepted>>r&1 != 0 || config.StrongReason(bpf.ReasonName(bpf.Reason(r)))) {
			return true
		}
	}
	return false
}

// TagOf returns the tag of the service with this name.
func TagOf(service string) uint32 { return serviceTag(service) }

// blockingOf judges with one node a rule.
func blockingOf(g *bpf.Generation, rules []bpf.RuleNode, now, accepted uint64) Blocking {
	b := Blocking{From: map[uint32]uint8{}, Strong: hasStrong(g, accepted),
		Resets: map[uint32]bool{}, Fragments: map[uint32]bool{}}
	for _, p := range g.Policies {
		if p.Tag == 0 {
			continue
		}
		from := p.Drop
		if p.Reset != 0 && (from == 0 || p.Reset < from) {
			from = p.Reset
		}
		b.From[p.Tag] = from
		if p.Reset != 0 {
			b.Resets[p.Tag] = true
		}
		if p.Flags&uint8(bpf.DataplanePolicyFlagsPOLICY_DROP_FRAGMENTS) != 0 {
			b.Fragments[p.Tag] = true
		}
	}
	for _, r := range rules {
		if r.ExpiresNs <= now {
			b.Expired++
		} else if r.Score > 0 {
			b.Reach = min(b.Reach+int(r.Score), 100)
		}
	}
	return b
}

// oneEach returns one node a rule; node 0 is none.
func oneEach(nodes []bpf.RuleNode) []bpf.RuleNode {
	seen := map[uint16]bool{}
	rules := []bpf.RuleNode{}
	for i, n := range nodes {
		if i > 0 && !seen[n.Rule] {
			seen[n.Rule] = true
			rules = append(rules, n)
		}
	}
	return rules
}

// read returns one node a rule.
func (c *blockingCache) read(d *Dataplane, slot uint8, number uint32) ([]bpf.RuleNode, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rules, ok := c.rules[slot]; ok && c.number[slot] == number {
		return rules, nil
	}
	nodes, err := d.ruleNodes(slot)
	if err != nil {
		return nil, err
	}
	rules := oneEach(nodes)
	if c.rules == nil {
		c.number, c.rules = map[uint8]uint32{}, map[uint8][]bpf.RuleNode{}
	}
	c.number[slot], c.rules[slot] = number, rules
	return rules, nil
}

// ruleNodes reads all nodes of a slot's chains; none when the slot has no rules.
func (d *Dataplane) ruleNodes(slot uint8) ([]bpf.RuleNode, error) {
	m, err := d.innerMap(bpf.DataplaneMapRules, slot)
	if err != nil || m == nil {
		return nil, err
	}
	defer func() { _ = m.Close() }()
	nodes := make([]bpf.RuleNode, m.MaxEntries())
	keys := make([]uint32, len(nodes))
	var at ebpf.MapBatchCursor
	n, err := m.BatchLookup(&at, keys, nodes, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, explain(fmt.Sprintf("read slot %d of %s", slot, bpf.DataplaneMapRules), err)
	}
	return nodes[:n], nil
}
