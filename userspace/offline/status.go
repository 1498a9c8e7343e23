// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/stages"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// Status tells what the kernel does, without an agent: all that can be read, and what cannot as a problem. Names come
// from the history, when it can be read.
func (s *Session) Status() (*api.Status, error) {
	if s.foreign != nil {
		return s.foreignStatus(), nil
	}
	st, _ := view.Status(s.Reading())
	st.Source = api.SourcePins
	if h := s.places.Host; h != nil {
		st.MaxMode = string(h.MaxMode)
	}
	names := ledger.NamesIn(s.places.State)
	for i := range st.Generations {
		st.Generations[i].Name = names[st.Generations[i].Digest]
	}
	view.Fill(s.d, st, view.WithPackets|view.WithMaps, view.FixOf)
	st.Stages = s.stages(st)
	if p := s.hostOnDisk(); p != nil {
		st.Problems = append(st.Problems, *p)
	}
	return st, nil
}

// stages are the rollouts that the agent left, with the share that the kernel still gives them.
func (s *Session) stages(st *api.Status) *api.Stages {
	left := stages.Peek(s.places.State)
	if left == nil || len(left.Rollouts) == 0 && left.Frozen == nil {
		return nil
	}
	if st.Control == nil {
		return left
	}
	numbers := map[uint8]uint32{} // by slot
	for _, g := range st.Generations {
		numbers[g.Slot] = g.Number
	}
	for i := range left.Rollouts {
		ro := &left.Rollouts[i]
		switch {
		case ro.Number == 0:
		case ro.Number == numbers[st.Control.Stable]:
			ro.Staged.SharePermille = 1000
		case ro.Number == numbers[st.Control.Candidate] && st.LeaseSecondsLeft != nil && *st.LeaseSecondsLeft > 0:
			ro.Staged.SharePermille = st.Control.CanaryPermille
		}
	}
	return left
}

// hostOnDisk says that the host file on disk is not the one that was published last. Without a record nobody here
// knows.
func (s *Session) hostOnDisk() *api.Problem {
	r, err := state.ReadRecord(s.places.State)
	if err != nil || r.HostDigest == "" || s.places.Path == "" {
		return nil
	}
	p := hostfile.Compare(s.places.Path, r.HostDigest)
	if p != nil {
		p.Fix = "`spillway config check`, then start the agent: it takes a file without faults as it is"
	}
	return p
}

// Reading is what view judges by.
func (s *Session) Reading() view.Reading {
	var wanted []string
	if h := s.places.Host; h != nil {
		for _, i := range h.Interfaces {
			wanted = append(wanted, i.Name)
		}
	}
	var r view.Reading
	if s.foreign != nil {
		r = view.Behind(s.root, s.network, wanted, s.decides())
	} else {
		r = view.Read(s.d, s.network, wanted)
		if counters, err := s.d.Counters(); err == nil { // else Status tells
			r.Counted, r.CountedWhen = view.Count(counters), "since the maps were made"
		}
	}
	r.Agent, r.AgentPID = s.places.Agent, s.places.AgentPID
	if r.Agent == view.Absent {
		if pid, owned := pins.OwnerOf(s.places.Pins); owned {
			r.Agent, r.AgentPID = view.Elsewhere, pid
		}
	}
	return r
}

// Verify checks the wiring. Rows cannot be compared: only the agent knows with which clock they were compiled.
func (s *Session) Verify() (*api.Verification, error) {
	if err := s.readable("there is nothing to compare with"); err != nil {
		return nil, err
	}
	found, err := s.d.VerifyWiring()
	if err != nil {
		return nil, fmt.Errorf("verify the wiring: %w", err)
	}
	v := &api.Verification{Envelope: api.NewEnvelope(), Checked: s.now().UTC(), Entries: []api.DriftEntry{},
		Left: []string{"the rows of the generations: only a running agent can compare them with their bundles"}}
	for _, d := range found {
		v.Entries = append(v.Entries, api.DriftEntry{Where: d.Where, Want: d.Want, Got: d.Got})
	}
	return v, nil
}

// anyVersion reports whether a folder of some version is below the pins.
func anyVersion(pins string) bool {
	found, _ := filepath.Glob(filepath.Join(pins, "v*"))
	return len(found) > 0
}

// Bans lists the bans in force; who made them and why, as far as the state folder can be read.
func (s *Session) Bans() (*api.BanList, error) {
	if err := s.readable("the bans are in its maps"); err != nil {
		return nil, err
	}
	bans, err := s.d.Bans()
	if err != nil {
		return nil, err
	}
	known := map[netip.Prefix]state.Ban{}
	for _, b := range state.ReadBans(s.places.State) {
		known[b.Prefix] = b
	}
	list := &api.BanList{Envelope: api.NewEnvelope(), Bans: []api.Ban{}, Idle: view.Judge(s.Reading()).Idle}
	for _, b := range bans {
		who := known[b.Prefix]
		list.Bans = append(list.Bans,
			api.Ban{Prefix: b.Prefix.String(), Expires: b.Expires, Made: who.Made, By: who.By, Reason: who.Reason})
	}
	return list, nil
}
