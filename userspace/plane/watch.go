// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"strings"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/ledger"
)

// Watch repairs the wiring: the program behind the root program, and the links.
func (pl *Plane) Watch(d Dataplane, hurry bool) {
	drifts, err := d.VerifyWiring()
	if err != nil {
		pl.Ledger.SetProblem(ledger.ProblemVerify, "the wiring cannot be checked: "+err.Error(), ledger.Fix(err))
		return
	}
	var left []string
	for _, w := range drifts {
		switch {
		case w.Where == loader.WherePrograms:
			if err := d.RefillPrograms(); err != nil {
				left = append(left, err.Error())
				continue
			}
			pl.Log.Error("the dataplane was missing behind the root program and was put back", "found", w.Got)
			pl.countRepair("program")
		case w.Where == loader.WherePins:
			if _, err := d.Repin(); err != nil {
				left = append(left, fmt.Sprintf("%s %s: they would not outlive this agent: %v", w.Where, w.Got, err))
				continue
			}
			pl.Log.Error("somebody removed pins; this agent still held what they named and pinned it again", "found", w.Got)
			pl.countRepair("pins")
		case w.OnInterface(): // watchLinks sees to it
		default:
			left = append(left, fmt.Sprintf("%s: want %s, got %s", w.Where, w.Want, w.Got))
		}
	}
	if err := pl.watchLinks(d, hurry); err != nil {
		left = append(left, err.Error())
	}
	if len(left) > 0 {
		pl.Ledger.SetProblem(ledger.ProblemVerify, strings.Join(left, "; "), "spillway verify; apply the bundle again if it does not go away")
		return
	}
	pl.Ledger.ClearProblem(ledger.ProblemVerify)
}

func (pl *Plane) countRepair(what string) {
	pl.places.mu.Lock()
	pl.places.repairs[what]++
	pl.places.mu.Unlock()
}
