// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Since is the host file that generations stand on which are behind, and the change from it to the one in force: see
// bpf/behind.h. nil: there is none, and everything counts for all.
type Since struct {
	Host   *config.Host
	Change config.Digest // the name of that change, zero for none
}

// protection is a row of the allowlist.
type protection struct {
	prefix netip.Prefix
	value  uint32
}

// protected are the protected sources of a host file, and those that leave.
func (s *Since) protected(h *config.Host) []protection {
	var out []protection
	for _, p := range h.Sources() {
		out = append(out, protection{p.Prefix, uint32(p.Class)})
	}
	if s == nil {
		return out
	}
	for _, p := range s.Host.Unprotected(h) {
		out = append(out, protection{p.Prefix, uint32(p.Class) | uint32(bpf.ClassLeaves)})
	}
	return out
}

// accepted are the reasons that are accepted now, and were.
func (s *Since) accepted(now uint64) (uint64, error) {
	if s == nil {
		return now, nil
	}
	before, err := maskOf(s.Host.AcceptReasons)
	return now & before, err
}

// most is the strongest verdict of a service before.
func (s *Since) most(of config.Service) uint8 {
	most := of.MaxVerdict.Rank()
	if s == nil {
		return uint8(most)
	}
	for _, before := range s.Host.Services {
		if before.Name == of.Name {
			most = min(most, before.MaxVerdict.Rank())
		}
	}
	return uint8(most)
}

// kept are the addresses that a service answered at which answers anywhere now: they have a row of their own.
func (s *Since) kept(of config.Service) []config.Address {
	if s == nil || !slices.ContainsFunc(of.Addresses, config.Address.Any) {
		return nil
	}
	before, same := s.Host.Reads(of)
	if !same || slices.ContainsFunc(before, config.Address.Any) {
		return nil
	}
	return before
}

// fresh is the flag of traffic that was no service's, or was read in another way.
func (s *Since) fresh(of config.Service, to config.Address) uint8 {
	if s == nil || s.Host.Inspects(of, to) {
		return 0
	}
	return uint8(bpf.ServiceFresh)
}

func (s *Since) hasInterface(h *config.Host) bool {
	return s != nil && len(s.Host.NewInterfaces(h)) > 0
}

// takenBy is the number that a generation has of this host file: 0 where it is not compiled for its change.
func (img *HostImage) takenBy(change config.Digest) uint32 {
	if img.since != nil && change != img.since.Change {
		return 0
	}
	return img.taken
}
