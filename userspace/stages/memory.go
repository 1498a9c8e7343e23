// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"slices"
	"strconv"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// memory is what a restart must not forget: stages.json. The quarantine and last-known-good of the engine's state are
// left out: they are the record's.
type memory struct {
	State   rollout.State `json:"state"`
	Stories []story       `json:"stories"` // of all changes that the state has
	Stable  place         `json:"stable"`  // at the last look
	Trying  []uint32      `json:"trying"`  // in the candidates' places at the last look, also one that is built again
	Baked   uint32        `json:"baked"`   // shall be last-known-good, and the record does not say so yet
	Runs    []run         `json:"runs"`    // of attempts
	Last    uint16        `json:"last"`    // number of a run that was given last
	Back    time.Time     `json:"back"`    // when somebody last went back, as far as the engine knows
	Freeze  freeze        `json:"freeze"`  // of State.Frozen
	Over    []story       `json:"over"`    // the last ones that ended, for whoever asks after a restart
}

// mostOver bounds them: the file is written again and again, and the history has the older ones.
const mostOver = 10

// freeze is who froze, and when. By is "" where two rollouts that were taken back did.
type freeze struct {
	By    string    `json:"by"`
	Since time.Time `json:"since"`
}

// froze notes who froze in a look, where somebody did.
func (m *memory) froze(before rollout.State, commands []rollout.Command, at time.Time) {
	for _, c := range commands {
		if c.Verb == rollout.VerbFreeze && before.Frozen == "" && c.Reason == m.State.Frozen {
			m.Freeze = freeze{c.By, at}
			return
		}
	}
	if m.State.Frozen != before.Frozen {
		m.Freeze = freeze{"", at}
	}
}

// frozen is why, by whom and since when nothing starts by itself; nil: it does.
func (m *memory) frozen() *api.Frozen {
	if m.State.Frozen == "" {
		return nil
	}
	return &api.Frozen{Why: m.State.Frozen, By: m.Freeze.By, Since: m.Freeze.Since}
}

// place is a generation, and what it was built from.
type place struct {
	Number uint32        `json:"number"`
	Digest config.Digest `json:"digest"`
}

// attempt is one try of one rollout: a list update beneath it does not begin another.
type attempt struct {
	ID      string `json:"id"`
	Attempt int    `json:"attempt"`
}

// run is the number that the kernel has for an attempt.
type run struct {
	attempt
	Number uint16 `json:"number"`
}

// onDisk is how far memory is on disk.
type onDisk struct {
	read  bool // what was there, if anything, is known
	first bool // nothing was there: no rollout was ever in stages here
	dirty bool // the disk refused what was decided
	wrote time.Duration
}

// saveEvery is how often what only time changed is written, while a rollout runs.
const saveEvery = 10 * time.Second

// load reads what a former agent left. While that cannot be read nothing is begun, and nothing is written over it: a
// candidate that decides then ends with its lease.
func (st *Stages) load() bool {
	if st.disk.read {
		return true
	}
	var m memory
	found, err := st.Disk.Stages(&m)
	if err != nil {
		st.Ledger.SetProblem(ledger.ProblemStages, "where the rollouts are cannot be read, so none goes on: "+err.Error(),
			"repair the disk; it is tried again")
		return false
	}
	st.Ledger.ClearProblem(ledger.ProblemStages)
	st.disk.read, st.disk.first = true, !found
	if found {
		st.memory = m
	} else if b := st.Ledger.Record().WentBack; b != nil {
		st.memory.Back = b.At // nothing was under way
	}
	st.told.remember(st.memory.Over, st.describe)
	for _, s := range slices.Concat(st.memory.Stories, st.memory.Over) { // the record may be older: no id is given twice
		if n, err := strconv.ParseUint(s.Order.ID, 10, 64); err == nil {
			st.Ledger.HadRollout(n)
		}
	}
	return true
}

// save writes down what was decided.
func (st *Stages) save() error {
	m := st.memory
	m.State.Quarantine, m.State.Known = nil, rollout.Known{}
	err := st.Disk.SaveStages(m)
	if st.disk.dirty = err != nil; err != nil {
		st.Ledger.SetProblem(ledger.ProblemStages, "where the rollouts are cannot be written, so none goes on: "+err.Error(),
			"free or repair the disk; what decides goes on deciding")
		return err
	}
	st.Ledger.ClearProblem(ledger.ProblemStages)
	st.disk.wrote = st.memory.State.Clock
	return nil
}

// order finds that of a rollout.
func (m *memory) order(id string) *release.Order {
	for i := range m.Stories {
		if m.Stories[i].Order.ID == id {
			return &m.Stories[i].Order
		}
	}
	return nil
}

// changes are all that the state has.
func (m *memory) changes() []rollout.Change {
	s := &m.State
	out := append(slices.Clone(s.Queue), s.Joined...)
	for _, r := range []rollout.Run{s.Main, s.Fast} {
		if r.Change.ID != "" {
			out = append(out, r.Change)
		}
	}
	for _, h := range s.Held {
		out = append(out, h.Change)
	}
	return out
}

// forget drops what no change of the state needs any more.
func (m *memory) forget() {
	there := map[string]bool{}
	for _, c := range m.changes() {
		there[c.ID] = true
	}
	m.Runs = slices.DeleteFunc(slices.Clone(m.Runs), func(r run) bool { return !there[r.ID] })
}

// runs reports whether anything is under way.
func (m *memory) runs() bool {
	s := &m.State
	return s.Main.Change.ID != "" || s.Fast.Change.ID != "" || len(s.Queue)+len(s.Undo) > 0
}

// runOf is the kernel's number for an attempt: never 0, and none that the last 65,534 had.
func (m *memory) runOf(a attempt) uint16 {
	for _, r := range m.Runs {
		if r.attempt == a {
			return r.Number
		}
	}
	if m.Last++; m.Last == 0 {
		m.Last = 1
	}
	m.Runs = append(slices.Clone(m.Runs), run{a, m.Last})
	return m.Last
}
