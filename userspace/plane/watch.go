// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"strings"

	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/ledger"
)

// Watch repairs the wiring: the program behind the root program, and the links.
func (ln *Links) Watch(d Wiring, hurry bool) {
	drifts, err := d.VerifyWiring()
	if err != nil {
		ln.Ledger.SetProblem(ledger.ProblemVerify, "the wiring cannot be checked: "+err.Error(), ledger.Fix(err))
		return
	}
	var left []string
	for _, w := range drifts {
		switch {
		case w.Where == compile.WherePrograms:
			if err := d.RefillPrograms(); err != nil {
				left = append(left, err.Error())
				continue
			}
			ln.Log.Error("the dataplane was missing behind the root program and was put back", "found", w.Got)
			ln.countRepair("program")
		case w.Where == compile.WherePins:
			if _, err := d.Repin(); err != nil {
				left = append(left, fmt.Sprintf("%s %s: they would not outlive this agent: %v", w.Where, w.Got, err))
				continue
			}
			ln.Log.Error("somebody removed pins; this agent still held what they named and pinned it again", "found", w.Got)
			ln.countRepair("pins")
		case w.OnInterface(): // watchLinks sees to it
		default:
			left = append(left, fmt.Sprintf("%s: want %s, got %s", w.Where, w.Want, w.Got))
		}
	}
	if err := ln.watchLinks(d, hurry); err != nil {
		left = append(left, err.Error())
	}
	if len(left) > 0 {
		ln.Ledger.SetProblem(ledger.ProblemVerify, strings.Join(left, "; "),
			"spillway verify; apply the bundle again if it does not go away")
		return
	}
	ln.Ledger.ClearProblem(ledger.ProblemVerify)
}

func (ln *Links) countRepair(what string) {
	ln.mu.Lock()
	ln.repairs[what]++
	ln.mu.Unlock()
}
