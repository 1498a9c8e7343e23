// SPDX-License-Identifier: Apache-2.0

package rollout

// Counts are votes and sources, summed by what the gates ask. Undeclared and Declared are sums over labels.
type Counts struct {
	Connections int64 `json:"connections"`
	Pairs       int64 `json:"pairs"`
	Declared    int64 `json:"declared"`   // newly blocked, by a label of the intent
	Undeclared  int64 `json:"undeclared"` // newly blocked, by another
	NewPasses   int64 `json:"new_passes"`
	BothBlock   int64 `json:"both_block"`
}

func (c Counts) plus(o Counts, sign int64) Counts {
	c.Connections += sign * o.Connections
	c.Pairs += sign * o.Pairs
	c.Declared += sign * o.Declared
	c.Undeclared += sign * o.Undeclared
	c.NewPasses += sign * o.NewPasses
	c.BothBlock += sign * o.BothBlock
	return c
}

// Tally adds up the counts of one rollout over the generations that it has had: a rebase must not lose evidence, and
// what the kernel still says of the generation before must not count twice.
type Tally struct {
	Generation uint32 `json:"generation"`
	Before     Counts `json:"before"` // of earlier generations
	Last       Counts `json:"last"`   // of this one
}

func (t Tally) total() Counts { return t.Before.plus(t.Last, 1) }

// take reads the votes of the generation that the tally is about; those of another say nothing. Counts that went down
// were lost by the kernel and begin anew: what was counted stays counted.
func (t Tally) take(v Votes, intent Intent) Tally {
	if v.Generation != t.Generation || v.Generation == 0 {
		return t
	}
	c := Counts{Connections: v.Connections, Pairs: v.Pairs, NewPasses: v.NewPasses, BothBlock: v.BothBlock}
	for _, b := range v.NewBlocks {
		if intent.names(b.Label) {
			c.Declared += b.Votes
		} else {
			c.Undeclared += b.Votes
		}
	}
	if c.Pairs < t.Last.Pairs || c.Connections < t.Last.Connections {
		t.Before = t.total()
	}
	t.Last = c
	return t
}

// next goes on with another generation.
func (t Tally) next(generation uint32) Tally {
	return Tally{Generation: generation, Before: t.total()}
}

// armsSince are the arms since base.
func (a Arms) since(base Arms) Arms {
	a.Canary.Sources -= base.Canary.Sources
	a.Canary.Bad -= base.Canary.Bad
	a.Control.Sources -= base.Control.Sources
	a.Control.Bad -= base.Control.Bad
	return a
}
