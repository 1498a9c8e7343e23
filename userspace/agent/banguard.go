// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// banPrefix reads an address or a prefix. One IPv6 address stands for its /64.
func banPrefix(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	p, err := netip.ParsePrefix(text)
	if err != nil {
		addr, aerr := netip.ParseAddr(text)
		if aerr != nil || addr.Zone() != "" {
			return p, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("%q is no address and no prefix", text), Fix: "use for example 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64"}
		}
		addr = addr.Unmap()
		bits := addr.BitLen()
		if addr.Is6() {
			bits = addressBan6
		}
		p = netip.PrefixFrom(addr, bits)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("%s holds all of IPv4", p), Fix: "write IPv4 prefixes as IPv4"}
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	if a := p.Addr(); a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return p, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("%s is no address of a visitor", p), Fix: "look at `spillway events` for the source"}
	}
	return p, nil
}

// guardBan refuses what is wider than the floor, or touches a protected or own address.
func (a *agent) guardBan(p netip.Prefix, h *config.Host) error {
	floor, name := h.Guards.BanFloorV4, "guards.ban_floor_v4"
	if p.Addr().Is6() {
		floor, name = h.Guards.BanFloorV6, "guards.ban_floor_v6"
	}
	if p.Bits() < floor {
		return limit("%s is wider than /%d", name+" in the host file; ban narrower prefixes, or write a bundle", p, floor)
	}
	for _, row := range h.Allowlist {
		if row.Prefix.Overlaps(p) {
			return protectedError(p, "the allowlist's "+row.Prefix.String()+noteOf(row.Note))
		}
	}
	own, err := a.opts.own()
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

func noteOf(note string) string {
	if note == "" {
		return ""
	}
	return " (" + note + ")"
}

func protectedError(p netip.Prefix, what string) error {
	return &api.Error{Code: api.CodeProtected, Message: fmt.Sprintf("a ban of %s would block %s", p, what), Fix: "the protected are never banned; ban narrower prefixes beside them"}
}

func limit(problem, guard string, values ...any) error {
	n := strings.Count(problem, "%")
	return &api.Error{Code: api.CodeLimit, Message: fmt.Sprintf(problem, values[:n]...), Fix: fmt.Sprintf(guard, values[n:]...)}
}

// spendBan counts bans of the last minute.
func (a *agent) spendBan(h *config.Host) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	since := a.now().Add(-time.Minute)
	a.banTimes = slices.DeleteFunc(a.banTimes, func(t time.Time) bool { return !t.After(since) })
	if len(a.banTimes) >= h.Guards.BanRate {
		return limit("%d bans were made in the last minute", "guards.ban_rate in the host file is %d; many addresses belong into a bundle", len(a.banTimes), h.Guards.BanRate)
	}
	a.banTimes = append(a.banTimes, a.now())
	return nil
}
