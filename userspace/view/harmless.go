// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
)

// What rules can come to by the policy in force.

// fixOfHarmless is for a policy that blocks nobody.
const fixOfHarmless = "give its policy a limit, drop or reset that its rules reach, and apply it again"

// harmless says why a generation never blocks, and what to do about it.
func (j *judge) harmless(g loader.GenerationInfo) (why, fix string) {
	lowest, limits := 0, false
	for tag, from := range g.Blocking.From {
		if from > 0 && (lowest == 0 || int(from) < lowest) {
			lowest, limits = int(from), from == g.Blocking.Limits[tag]
		}
	}
	fix = fixOfHarmless
	if j.tags(g) {
		fix = "where it shall only tag, nothing; else " + fix
	}
	switch at := j.capped(g); {
	case lowest == 0 && len(at) > 0:
		return "max_verdict of the host file lets no bundle block at " + list(at),
			"raise max_verdict there, then: spillway reload"
	case lowest == 0:
		return "its policy has neither limit, drop nor reset", fix
	case !g.Blocking.Strong:
		return "it has no feature that may block, and none of its reasons does alone here", fix
	case limits:
		return fmt.Sprintf("its rules add up to %d, and its policy limits from %d", g.Blocking.Reach, lowest), fix
	}
	return fmt.Sprintf("its rules add up to %d, and its policy blocks from %d", g.Blocking.Reach, lowest), fix
}

// capped names the services at which the host file keeps a generation from blocking.
func (j *judge) capped(g loader.GenerationInfo) (out []string) {
	for _, s := range j.services() {
		if g.Policies[s.Tag].Capped {
			out = append(out, s.Name)
		}
	}
	return out
}

// but says where what the rules find passes all the same.
func (j *judge) but() string {
	g, _ := j.inForce()
	if at := j.capped(g); len(at) > 0 {
		return "; at " + list(at) + " max_verdict lets no bundle block"
	}
	return ""
}

// tags reports whether a policy of a generation tags from some score on.
func (j *judge) tags(g loader.GenerationInfo) bool {
	return slices.ContainsFunc(j.services(), func(s compile.ServiceInfo) bool {
		return g.Policies[s.Tag].Counts.Tag != config.Never
	})
}

// finds says what becomes of what the rules find where something does: what only a limit stops passes as far as its
// rate allows.
func (j *judge) finds() string {
	g, _ := j.inForce()
	cuts, limits := false, false
	for _, s := range j.services() {
		if !g.Blocking.Can(s.Tag) {
			continue
		}
		from, limit := int(g.Blocking.From[s.Tag]), int(g.Blocking.Limits[s.Tag])
		limits = limits || limit > 0
		if p, known := g.Policies[s.Tag]; known {
			from = int(p.Counts.Cuts())
		} else if from == limit {
			from = 0
		}
		cuts = cuts || from > 0 && g.Blocking.Reach >= from
	}
	switch {
	case limits && cuts:
		return "limited or blocked"
	case limits:
		return "limited"
	}
	return "blocked"
}
