// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"maps"
	"slices"
)

// crowd is a host with people, feeds and bad children: what is in each generation, and what must be in force.
type crowd struct {
	asked    float64 // the chance of a command a look
	badChild float64 // that a taste ends badly
	hits     float64 // that a protected source shows up
	n        int
	content  map[uint32]map[string]string // of generations: rollout by name; never ranged over for results
	done     map[string]string            // the newest rollout of each name that came to its end
}

// asks draws a command.
func (h *host) asks() (c Command) {
	r := h.r
	c = Command{By: "root", Reason: "because", ID: h.s.Main.Change.ID, Share: 0.1}
	if r.IntN(3) == 0 {
		c.ID = h.s.Fast.Change.ID
	}
	if len(h.s.Held) > 0 && r.IntN(2) == 0 {
		c.ID = h.s.Held[r.IntN(len(h.s.Held))].Change.ID
	}
	verbs := []Verb{VerbPause, VerbResume, VerbResume, VerbAbort, VerbPromote, VerbPromote, VerbAccept, VerbConfirm,
		VerbFreeze, VerbThaw, VerbThaw}
	if at := r.IntN(2 * len(verbs)); at < len(verbs) {
		c.Verb = verbs[at]
		return c
	}
	h.crowd.n++
	id := fmt.Sprintf("x%d", h.crowd.n)
	c.Verb, c.Change = VerbApply, Change{ID: id, Digest: digest(100 + h.crowd.n), By: "root", Reason: "because",
		Expects: h.change.Expects}
	switch r.IntN(8) {
	case 0, 1, 2:
		c.Change.Name, c.Change.Kind = "feed", KindDelta
	case 3, 4:
		c.Change.Name, c.Change.Kind = "relief", KindRelax
	case 5:
		c.Change.Name, c.Change.Kind = "shield", KindEmergency
	case 6:
		c.Change.Name, c.Change.Replace = "base", true
	case 7:
		c.Change.Name, c.Change.Thaw = "base", "because"
	}
	return c
}

// built notes what is in a generation.
func (c *crowd) built(number, base uint32, name, id string) {
	if c.content == nil {
		c.content = map[uint32]map[string]string{}
	}
	in := maps.Clone(c.content[base])
	if in == nil {
		in = map[string]string{}
	}
	in[name] = id
	c.content[number] = in
}

// lost finds what came into force and is there no more, although nobody took it out: a stale generation that
// overwrote it.
func (h *host) lost() string {
	s := h.s
	if h.crowd.done == nil || len(s.Undo) > 0 {
		return ""
	}
	waits := func(name string) bool {
		named := func(c Change) bool { return c.Name == name }
		return slices.ContainsFunc(s.Queue, named) || slices.ContainsFunc(s.Joined, named) || s.Fast.Change.Name == name ||
			s.Main.Change.Name == name
	}
	for _, name := range slices.Sorted(maps.Keys(h.crowd.done)) {
		if id := h.crowd.done[name]; h.crowd.content[h.k.Stable][name] != id && !waits(name) {
			return fmt.Sprintf("%s of %s was done, and stable generation %d has %q", id, name, h.k.Stable,
				h.crowd.content[h.k.Stable][name])
		}
	}
	return ""
}
