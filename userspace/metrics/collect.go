// SPDX-License-Identifier: Apache-2.0

package metrics

import "github.com/spillway/spillway/userspace/api"

// Collect adds what the kernel counted since the last look. It runs at each scrape, and before a slot is filled again:
// that takes the counts of its rules away.
func (t *Totals) Collect(d Kernel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	services := api.ServiceNames(nil)
	if h, err := d.Host(); err == nil && h != nil {
		for _, s := range h.Services {
			services[s.ID] = s.Name
		}
	}
	if counters, err := d.Counters(); err == nil {
		t.see(counters, func(id uint8) string { return services[id] })
	}
	if rules, err := t.ruleHits(d); err == nil { // a gap would look like a generation that left and came back
		t.addRules(rules)
	}
}

// Adopt leaves what the kernel counted under another agent out of the rules' totals.
func (t *Totals) Adopt(d Kernel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rules, err := t.ruleHits(d); err == nil {
		t.adopt(rules)
	}
}

// ruleHits reads the counts of the rules of all resident generations.
func (t *Totals) ruleHits(d Kernel) ([]ruleHits, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	var rules []ruleHits
	for _, g := range all {
		hits, err := d.RuleHits(g.Slot)
		if err != nil {
			return nil, err
		}
		name := func(index uint16) ruleKey {
			if r, ok := t.Rule(g.Digest, index); ok {
				return ruleKey{r.ID, r.Label}
			}
			return nameless(index)
		}
		rules = append(rules, ruleHits{g.Number, hits, name})
	}
	return rules, nil
}
