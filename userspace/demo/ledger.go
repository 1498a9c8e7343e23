// SPDX-License-Identifier: Apache-2.0

package demo

import "fmt"

// promise is one row of the table at the end.
type promise struct {
	text string
	seen string // what was seen; "" while nobody has looked
	held bool
	left bool // nobody is there of whom it speaks; seen says why
}

// The promises, in the order in which they are tried.
const (
	observeBlocksNothing = iota
	enforceStopsBots
	ja4StopsBots
	ja4SparesBrowser
	resetIsHeard
	limitSlows
	limitSparesVisitors
	doubledIsRefused
	tooBigIsRefused
	killIsHarmless
	restartAdopts
	rollbackRestores
	bypassOnOff
	shadowCatches
	stagesGoOn
	visitorsUnharmed
	nothingIsLeft
)

// ledger keeps what was promised and what was seen.
type ledger []promise

func newLedger() ledger {
	return ledger{
		observeBlocksNothing: {text: "observe: counts, blocks nothing"},
		enforceStopsBots:     {text: "enforce: the bots get nothing"},
		ja4StopsBots:         {text: "JA4: bots among visitors get nothing"},
		ja4SparesBrowser:     {text: "JA4: a browser, same SYN, is served"},
		resetIsHeard:         {text: "reset: the client hears so at once"},
		limitSlows:           {text: "limit: slows a crawler to its rate"},
		limitSparesVisitors:  {text: "limit: visitors of its /24 are served"},
		doubledIsRefused:     {text: "every row twice: refused"},
		tooBigIsRefused:      {text: "twice the capacity: refused"},
		killIsHarmless:       {text: "agent killed in an apply: no change"},
		restartAdopts:        {text: "agent restarted: adopts what runs"},
		rollbackRestores:     {text: "rollback: undoes a mistake"},
		bypassOnOff:          {text: "bypass: all pass; off: blocked again"},
		shadowCatches:        {text: "stages: blocks a browser? held, named"},
		stagesGoOn:           {text: "stages: blocks as it says? goes on"},
		visitorsUnharmed:     {text: "visitors: nobody is turned away"},
		nothingIsLeft:        {text: "afterwards: nothing is left behind"},
	}
}

// see records what was seen of a promise. Once broken it stays broken: the first break is the one to explain.
func (l ledger) see(which int, held bool, format string, args ...any) {
	p := &l[which]
	if p.seen != "" && !p.held {
		return
	}
	p.held, p.seen = held, fmt.Sprintf(format, args...)
}

// leave notes that a promise cannot be tried here, and why.
func (l ledger) leave(which int, why string) { l[which].left, l[which].seen = true, why }

// tried counts the promises that were not left out.
func (l ledger) tried() int {
	n := 0
	for _, p := range l {
		if !p.left {
			n++
		}
	}
	return n
}

// broken counts the promises that did not hold, or were never reached.
func (l ledger) broken() int {
	n := 0
	for _, p := range l {
		if !p.held && !p.left {
			n++
		}
	}
	return n
}
