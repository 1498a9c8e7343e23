// SPDX-License-Identifier: Apache-2.0

package bans

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// banPrefix reads an address or a prefix.
func banPrefix(text string) (netip.Prefix, error) { return api.BanPrefix(text) }

// guard refuses what is wider than the floor, or touches a protected or own address.
func (s *Bans) guard(p netip.Prefix, h *config.Host) error {
	floor, name := h.Guards.BanFloorV4, "guards.ban_floor_v4"
	if p.Addr().Is6() {
		floor, name = h.Guards.BanFloorV6, "guards.ban_floor_v6"
	}
	if p.Bits() < floor {
		return limit("%s is wider than /%d", name+" in the host file; ban narrower prefixes, or write a bundle", p, floor)
	}
	for _, row := range h.Sources() {
		if row.Prefix.Overlaps(p) {
			return protectedError(p, row.String())
		}
	}
	own, err := s.Own()
	if err != nil {
		return err
	}
	for _, addr := range own {
		if p.Contains(addr) {
			return protectedError(p, "this host's own address "+addr.String())
		}
	}
	return nil
}

func protectedError(p netip.Prefix, what string) error {
	return &api.Error{Code: api.CodeProtected, Message: fmt.Sprintf("a ban of %s would block %s", p, what),
		Fix: "the protected are never banned; ban narrower prefixes beside them"}
}

func limit(problem, guard string, values ...any) error {
	n := strings.Count(problem, "%")
	return &api.Error{Code: api.CodeLimit, Message: fmt.Sprintf(problem, values[:n]...),
		Fix: fmt.Sprintf(guard, values[n:]...)}
}

// spend counts bans of the last minute. The lock is held.
func (s *Bans) spend(h *config.Host) error {
	since := s.Ledger.Now().Add(-time.Minute)
	s.times = slices.DeleteFunc(s.times, func(t time.Time) bool { return !t.After(since) })
	if len(s.times) >= h.Guards.BanRate {
		return limit("%d bans were made in the last minute",
			"guards.ban_rate in the host file is %d; many addresses belong into a bundle", len(s.times), h.Guards.BanRate)
	}
	s.times = append(s.times, s.Ledger.Now())
	return nil
}
