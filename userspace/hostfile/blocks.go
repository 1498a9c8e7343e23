// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// codeHold is that of a hold on a host file.
const codeHold = "host"

// NewlyBlocks says what the next host file lets be blocked that the one in force, published in this mode, does not. As
// long as host files do not go through a rollout, this is what a person is asked about.
func NewlyBlocks(mode bpf.Mode, old, next *config.Host) []string {
	var out []string
	if view.ModeOf(next.MaxMode) == bpf.ModeEnforce && mode != bpf.ModeEnforce {
		out = append(out, "max_mode enforce: what is only counted now is blocked")
	}
	for _, name := range Gone(next, old) {
		out = append(out, "interface "+name+": its traffic is inspected")
	}
	for _, s := range next.Services {
		i := slices.IndexFunc(old.Services, func(o config.Service) bool { return o.Name == s.Name })
		switch {
		case i < 0:
			out = append(out, fmt.Sprintf("service %s, port %d, is new: its traffic is inspected", s.Name, s.Port))
		case !reflect.DeepEqual(old.Services[i], s):
			out = append(out,
				fmt.Sprintf("service %s, port %d, is another than before: other traffic is inspected, or in another way", s.Name,
					s.Port))
		}
	}
	for _, row := range old.Allowlist {
		if !slices.ContainsFunc(next.Allowlist, func(n config.AllowEntry) bool {
			return n.Prefix.Bits() <= row.Prefix.Bits() && n.Prefix.Contains(row.Prefix.Addr())
		}) {
			out = append(out, fmt.Sprintf("allowlist: %s%s is no longer protected", row.Prefix, NoteOf(row.Note)))
		}
	}
	for _, name := range next.AcceptReasons {
		if !slices.Contains(old.AcceptReasons, name) {
			out = append(out, "accept_reasons: a rule may block for "+name+" alone")
		}
	}
	return append(out, looserGuards(old.Guards, next.Guards)...)
}

// looserGuards names the guards that let more through to a block than before.
func looserGuards(old, next config.Guards) []string {
	var out []string
	guard := func(loosened bool, name string, from, to any) {
		if loosened {
			out = append(out, fmt.Sprintf("guards.%s: %v instead of %v", name, to, from))
		}
	}
	longer := next.AgentTimeout.Never() && !old.AgentTimeout.Never() ||
		!next.AgentTimeout.Never() && !old.AgentTimeout.Never() && next.AgentTimeout.Duration() > old.AgentTimeout.Duration()
	guard(longer, "agent_timeout", old.AgentTimeout, next.AgentTimeout)
	guard(next.Bake < old.Bake, "bake", api.Short(old.Bake), api.Short(next.Bake))
	guard(next.Lease > old.Lease, "lease", api.Short(old.Lease), api.Short(next.Lease))
	guard(next.MaxBanTTL > old.MaxBanTTL, "max_ban_ttl", api.Short(old.MaxBanTTL), api.Short(next.MaxBanTTL))
	guard(next.MinPrefixV4 < old.MinPrefixV4, "min_prefix_v4", old.MinPrefixV4, next.MinPrefixV4)
	guard(next.MinPrefixV6 < old.MinPrefixV6, "min_prefix_v6", old.MinPrefixV6, next.MinPrefixV6)
	guard(next.BanFloorV4 < old.BanFloorV4, "ban_floor_v4", old.BanFloorV4, next.BanFloorV4)
	guard(next.BanFloorV6 < old.BanFloorV6, "ban_floor_v6", old.BanFloorV6, next.BanFloorV6)
	guard(next.MaxChange > old.MaxChange, "max_change", old.MaxChange, next.MaxChange)
	guard(next.MaxCoverage > old.MaxCoverage, "max_coverage", old.MaxCoverage, next.MaxCoverage)
	guard(next.BanRate > old.BanRate, "ban_rate", old.BanRate, next.BanRate)
	return out
}

// Held asks about what a host file can newly block.
func Held(blocks []string) *api.Error {
	e := &api.Error{Code: api.CodeHeld,
		Message: "the host file is valid, and can newly block; the old one goes on until a person says yes",
		Fix:     "spillway reload --yes"}
	for _, b := range blocks {
		e.Holds = append(e.Holds, api.Hold{Code: codeHold, Text: b})
	}
	return e
}

// NoteOf writes the note of a row behind it.
func NoteOf(note string) string {
	if note == "" {
		return ""
	}
	return " (" + note + ")"
}
