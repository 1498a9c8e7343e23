// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"time"

	"github.com/spillway/spillway/config"
)

// State is all that the engine remembers. It is a value: Step returns a new one and leaves the old one as it was. It
// is what the agent writes to disk between two steps; times in it are Clock's, which only grows, so no clock step and
// no reboot moves a deadline.
type State struct {
	Guards     Guards          `json:"guards"`
	Clock      time.Duration   `json:"clock"` // the sum of all time that passed while an agent looked
	Now        time.Duration   `json:"now"`   // the monotonic clock of the last step
	Main       Run             `json:"main"`
	Fast       Run             `json:"fast"`
	Queue      []Change        `json:"queue,omitempty"`
	Joined     []Change        `json:"joined,omitempty"`     // that let more pass, and bake with the rollout that bakes
	Held       []Held          `json:"held,omitempty"`       // waiting for a person; one a name
	Quarantine []Quarantined   `json:"quarantine,omitempty"` // by name and digest
	Undo       []Undo          `json:"undo,omitempty"`       // must leave the kernel, and may still be there
	Backs      []time.Duration `json:"backs,omitempty"`      // when rollouts were taken back, within the last hour
	Frozen     string          `json:"frozen,omitempty"`     // why nothing starts by itself; "" not frozen
	Known      Known           `json:"known"`
	Decided    bool            `json:"decided"`          // at the last look the kernel was known to decide
	Traffic    Traffic         `json:"traffic,omitzero"` // that the last bundle saw; zero: nothing was measured yet
}

// Rests reports whether nothing runs, waits for its turn or is to leave the kernel: time changes nothing then.
func (s *State) Rests() bool {
	return !s.Main.Stage.runs() && !s.Fast.Stage.runs() && len(s.Queue)+len(s.Joined)+len(s.Undo) == 0
}

// Undo is a generation that must leave the kernel.
type Undo struct {
	Number uint32 `json:"number"`
	To     uint32 `json:"to"` // what is stable then, where Number is stable
}

// Known is which generation is last-known-good.
type Known struct {
	Number uint32        `json:"number"`
	Digest config.Digest `json:"digest"`
}

// Held is a rollout that ended without a verdict on its bundle.
type Held struct {
	Change Change        `json:"change"`
	Gate   Gate          `json:"gate"`
	Since  time.Duration `json:"since"`
	Why    string        `json:"why"`
}

// Quarantined is a bundle that a gate refused or that was taken back. It comes back only with a reason.
type Quarantined struct {
	Name   string        `json:"name"`
	Digest config.Digest `json:"digest"`
	Gate   Gate          `json:"gate"`
	Since  time.Duration `json:"since"`
	Why    string        `json:"why"`
}

// most bounds what is remembered of each kind: who floods the queue makes no large state.
const most = 64

// mostCondemned bounds the quarantine. It is larger: what falls out of it may come again.
const mostCondemned = 4096

// New is the state of a host that has rolled nothing out.
func New(g Guards) State { return State{Guards: g} }

// condemned finds a bundle in the quarantine.
func (s State) condemned(c Change) (Quarantined, bool) {
	for _, q := range s.Quarantine {
		if q.Name == c.Name && q.Digest == c.Digest {
			return q, true
		}
	}
	return Quarantined{}, false
}

// with appends to a slice that others may see: the old one stays as it is. The oldest go beyond most.
func with[T any](s []T, v T) []T { return bounded(s, v, most) }

func bounded[T any](s []T, v T, most int) []T {
	out := append(slices.Clone(s), v)
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return out
}

// without removes from a slice that others may see.
func without[T any](s []T, out func(T) bool) []T {
	if !slices.ContainsFunc(s, out) {
		return s
	}
	var left []T
	for _, v := range s {
		if !out(v) {
			left = append(left, v)
		}
	}
	return left
}
