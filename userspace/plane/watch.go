// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"strings"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/ledger"
)

// wholeEvery is how often all of the wiring is looked at while nothing is wrong with it. What decides about packets is
// looked at by each Watch: a program that is missing, a link that was cut. A pin that is missing matters when the agent
// ends, or with a link, which lives by its pin.
const wholeEvery = 5 * time.Second

// lookSlack is how much earlier than due a look comes: the tick after the next one would be late.
const lookSlack = 500 * time.Millisecond

// Watch repairs the wiring: the program behind the root program, the links, and the pins. hurry asks for a look at all
// of it, and whole says that there was one.
func (ln *Links) Watch(d Wiring, hurry bool) (whole bool) {
	now := ln.Ledger.Now()
	links, unread := d.Linked()
	whole = hurry || ln.unsound || unread != nil || ln.differ(links) ||
		now.Sub(ln.lastWhole).Abs() >= wholeEvery-lookSlack
	look := d.VerifyDeciding
	if whole {
		look, ln.lastWhole = d.VerifyWiring, now
		ln.links, ln.live = links, nil
		var all []loader.Attachment
		if all, unread = d.Attachments(); unread == nil {
			ln.live = ln.liveOf(all)
		}
	}
	drifts, err := look()
	ln.unsound = err != nil || len(drifts) > 0
	if err != nil {
		ln.Ledger.SetProblem(ledger.ProblemVerify, "the wiring cannot be checked: "+err.Error(), ledger.Fix(err))
		return whole
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
		case w.OnInterface(): // attachAgain sees to it
		default:
			left = append(left, fmt.Sprintf("%s: want %s, got %s", w.Where, w.Want, w.Got))
		}
	}
	if unread != nil {
		left = append(left, unread.Error())
	} else if !ln.attachAgain(d, hurry) {
		ln.unsound = true
	}
	if len(left) > 0 {
		ln.unsound = true
		ln.Ledger.SetProblem(ledger.ProblemVerify, strings.Join(left, "; "),
			"spillway verify; apply the bundle again if it does not go away")
		return whole
	}
	if whole {
		ln.Ledger.ClearProblem(ledger.ProblemVerify)
	}
	return whole
}

func (ln *Links) countRepair(what string) {
	ln.mu.Lock()
	ln.repairs[what]++
	ln.mu.Unlock()
}
