// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// The roles of a slot.
const (
	RoleStable    = "stable"
	RoleCandidate = "candidate"
	RolePrevious  = "previous"
	RoleBeside    = "beside" // of the fast track: it decides for nobody
	RoleIdle      = "idle"

	roleHost = "host"
)

// GenerationInfo is a resident generation as the kernel holds it.
type GenerationInfo struct {
	Slot   uint8
	Role   string
	Number uint32
	Digest [32]byte
	Built  time.Time

	// Rows are its rules and features, by the names of their capacities; Allowlist are those of protected sources.
	Rows      config.Counts
	Allowlist int

	Blocking compile.Blocking
	Policies map[uint32]ServicePolicy // by the tag of a service
}

// Role returns what the slot is to the control word.
func (c Control) Role(slot uint8) string {
	switch slot {
	case c.Stable:
		return RoleStable
	case c.Candidate:
		return RoleCandidate
	case c.Previous:
		return RolePrevious
	}
	return RoleIdle
}

// roleOf is Role, and knows the generation that stands beside the candidate.
func (sl *Slots) roleOf(c Control, slot uint8) string {
	if role := c.Role(slot); role != RoleIdle || slot != sl.words.beside() {
		return role
	}
	return RoleBeside
}

// Generations returns the resident generations by slot. Everything in it comes from the kernel.
func (sl *Slots) Generations() ([]GenerationInfo, error) {
	var all []GenerationInfo
	control := sl.words.Control()
	host, err := sl.hostInForce()
	if err != nil {
		return nil, err
	}
	for slot := uint8(1); slot < bpf.Slots; slot++ {
		var g bpf.Generation
		err := sl.lookupInner(bpf.DataplaneMapGenerations, slot, &g)
		if errors.Is(err, kernel.ErrNotPinned) || errors.Is(err, ErrPinDiffers) { // VerifyWiring tells of those that count
			continue
		}
		if err != nil {
			return nil, err
		}
		blocking, err := sl.blocking(slot, &g, host)
		if err != nil {
			return nil, err
		}
		all = append(all, GenerationInfo{
			Slot: slot, Role: sl.roleOf(control, slot), Number: g.Number, Digest: g.Digest,
			Built: time.Unix(0, int64(g.BuiltUnixNs)), Rows: compile.Counts(&g), Allowlist: int(g.Allowlist),
			Blocking: blocking, Policies: policiesOf(&g, host),
		})
	}
	return all, nil
}

// NextNumber returns one more than the number of any resident generation.
func (sl *Slots) NextNumber() (uint32, error) {
	all, err := sl.Generations()
	if err != nil {
		return 0, err
	}
	var highest uint32
	for _, g := range all {
		highest = max(highest, g.Number)
	}
	return highest + 1, nil
}
