// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"time"

	"github.com/spillway/spillway/config"
)

// Kind is which way a change takes.
type Kind uint8

const (
	KindBundle    Kind = iota // all stages
	KindRelax                 // it can only let more pass: taste and swap
	KindDelta                 // a list update inside its guards: taste, 10 s of shadow, bake under budget
	KindEmergency             // taste, 10 s of shadow, everybody under lease and budget, for an hour
)

var kinds = [...]string{"bundle", "relax", "delta", "emergency"}

// String returns the kind as the API writes it.
func (k Kind) String() string { return kinds[k] }

// MarshalText writes the kind as a word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote; an unknown word is an error.
func (k *Kind) UnmarshalText(text []byte) error { return word(kinds[:], text, (*uint8)(k)) }

// Intent is what a bundle says it will newly block.
type Intent struct {
	NewBlocks float64  `json:"new_blocks"`   // share of the votes, 0 to 1
	By        []string `json:"by,omitempty"` // labels of the rules that may; none: any of them, if NewBlocks is above 0
}

// names reports whether blocks by a rule of this label are declared.
func (i Intent) names(label string) bool {
	return i.NewBlocks > 0 && (len(i.By) == 0 || slices.Contains(i.By, label))
}

// Delta is how much a list update changes.
type Delta struct {
	Rows float64 `json:"rows"` // share of the rows that came or went, of all rows of the list, 0 to 1
}

// MaxDelta is what a list update may change on the fast track. Shares from 0 to 1.
type MaxDelta struct {
	Rows        float64 `json:"rows"`        // as Delta's: more takes all stages
	Connections float64 `json:"connections"` // votes that it newly blocks, in shadow and bake: more ends it
}

// Change is one rollout that is asked for. Who hands it in has validated it and knows its kind: a removal or a bundle
// that only relaxes is KindRelax; a list update is KindDelta, and takes the long way when it exceeds the host's
// max_delta.
type Change struct {
	ID      string        `json:"id"`   // of the rollout, never used twice
	Name    string        `json:"name"` // of the bundle; one change a name waits
	Digest  config.Digest `json:"digest"`
	Kind    Kind          `json:"kind"`
	Expects Intent        `json:"expects"`
	Delta   Delta         `json:"delta"`
	Attempt int           `json:"attempt"` // goes into the canary's salt: a new attempt has other sources
	Confirm time.Duration `json:"confirm"` // goes back unless confirmed so long after it decides for all; 0: no
	Accept  float64       `json:"accept"`  // share of new blocks that a person accepted, by any rule; 0: none
	Stop    bool          `json:"stop"`    // stay in shadow until a person promotes it
	Replace bool          `json:"replace"` // supersede the rollout that runs
	Waiting               // for an emergency
	Thaw    string        `json:"thaw,omitempty"`   // why a person passes quarantine or freeze
	Reason  string        `json:"reason,omitempty"` // why it is asked for
	By      string        `json:"by"`               // who asked: user name
}

// intent is what counts as declared: what a person accepted, else what the bundle declares. An emergency that says
// nothing may block what the host allows any bundle.
func (c Change) intent(g Guards) Intent {
	if c.Accept > c.Expects.NewBlocks {
		return Intent{NewBlocks: c.Accept}
	}
	if c.Kind == KindEmergency && c.Expects.NewBlocks == 0 {
		return Intent{NewBlocks: g.MaxNewBlocks}
	}
	return c.Expects
}

// Allowed is the share of the sources, from 0 to 1, that rules of any label may newly block before the change is taken
// back: what a person accepted, and an emergency that declares nothing. The kernel's budget has it beside its own. What
// the bundle declares by label costs no budget.
func (c Change) Allowed(g Guards) float64 {
	if in := c.intent(g); len(in.By) == 0 {
		return min(1, slack*in.NewBlocks)
	}
	return 0
}

// fast reports whether the change takes the fast track.
func (c Change) fast(g Guards) bool {
	return c.Kind == KindRelax ||
		c.Kind == KindDelta && c.Delta.Rows <= g.MaxDelta.Rows
}
