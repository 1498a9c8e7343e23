// SPDX-License-Identifier: Apache-2.0

package demo

import "fmt"

// promise is one row of the table at the end.
type promise struct {
	text string
	seen string // what was seen; "" while nobody has looked
	held bool
}

// The promises, in the order in which they are tried.
const (
	observeBlocksNothing = iota
	enforceStopsBots
	doubledIsRefused
	tooBigIsRefused
	killIsHarmless
	restartAdopts
	rollbackRestores
	bypassOnOff
	visitorsUnharmed
	nothingIsLeft
)

// ledger keeps what was promised and what was seen.
type ledger []promise

func newLedger() ledger {
	return ledger{
		observeBlocksNothing: {text: "observe: counts, blocks nothing"},
		enforceStopsBots:     {text: "enforce: the bots get nothing"},
		doubledIsRefused:     {text: "every row twice: refused"},
		tooBigIsRefused:      {text: "twice the capacity: refused"},
		killIsHarmless:       {text: "agent killed in an apply: no change"},
		restartAdopts:        {text: "agent restarted: adopts what runs"},
		rollbackRestores:     {text: "rollback: undoes a mistake"},
		bypassOnOff:          {text: "bypass: all pass; off: blocked again"},
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

// broken counts the promises that were tried and did not hold, or were never tried.
func (l ledger) broken() int {
	n := 0
	for _, p := range l {
		if !p.held {
			n++
		}
	}
	return n
}
