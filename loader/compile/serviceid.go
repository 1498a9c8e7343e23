// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

func assignIDs(services []config.Service, current *HostInfo) (map[string]uint8, error) {
	if len(services) >= bpf.ServicesMax {
		return nil, fmt.Errorf("%d services: %w: at most %d", len(services), ErrCapacity, bpf.ServicesMax-1)
	}
	tags := map[uint32]string{}
	taken := map[uint8]bool{}
	ids := map[string]uint8{}
	if current != nil {
		for _, s := range current.Services {
			taken[s.ID] = true
		}
	}
	for _, s := range services {
		tag := ServiceTag(s.Name)
		if other, ok := tags[tag]; ok {
			return nil, fmt.Errorf("services %q and %q share the tag %08x: rename one", other, s.Name, tag)
		}
		tags[tag] = s.Name
		if current != nil {
			if known, ok := current.Service(s.Name); ok {
				ids[s.Name] = known.ID
			}
		}
	}
	free := freeIDs(taken, ids)
	for _, s := range services {
		if _, ok := ids[s.Name]; ok {
			continue
		}
		ids[s.Name] = free[0]
		free = free[1:]
	}
	return ids, nil
}

// freeIDs lists ids for new services: first those that nobody had, so that a service that leaves and one that comes in
// the same reload do not meet; the ids of services that leave come last.
func freeIDs(taken map[uint8]bool, kept map[string]uint8) []uint8 {
	inUse := map[uint8]bool{}
	for _, id := range kept {
		inUse[id] = true
	}
	var fresh, left []uint8
	for id := uint8(1); id < bpf.ServicesMax; id++ {
		switch {
		case inUse[id]:
		case taken[id]:
			left = append(left, id)
		default:
			fresh = append(fresh, id)
		}
	}
	return append(fresh, left...)
}
