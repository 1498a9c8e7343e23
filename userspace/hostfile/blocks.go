// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// codeHold is that of a hold on a host file.
const codeHold = "host"

// NewlyBlocks says what the next host file lets be blocked that the one in force, published in this mode, does not:
// all that a person is asked about where it counts at once.
func NewlyBlocks(mode bpf.Mode, old, next *config.Host) []string {
	return append(InStages(old, next), Asked(mode, old, next)...)
}

// InStages says what of that can come in stages, as a rollout.
func InStages(old, next *config.Host) []string {
	var out []string
	for _, name := range old.NewInterfaces(next) {
		out = append(out, "interface "+name+": its traffic is inspected")
	}
	for _, s := range old.NewServices(next) {
		if slices.ContainsFunc(old.Services, func(o config.Service) bool { return o.Name == s.Name }) {
			out = append(out, fmt.Sprintf("service %s, port %d, is another than before: other traffic is inspected, or in another way",
				s.Name, s.Port))
			continue
		}
		out = append(out, fmt.Sprintf("service %s, port %d, is new: its traffic is inspected", s.Name, s.Port))
	}
	for _, s := range old.RaisedCaps(next) {
		i := slices.IndexFunc(old.Services, func(o config.Service) bool { return o.Name == s.Name })
		if i >= 0 && s.MaxVerdict != config.MaxTag { // who is only tagged passes
			out = append(out, fmt.Sprintf("service %s: max_verdict %s, was %s: bundles may do more there", s.Name, s.MaxVerdict,
				old.Services[i].MaxVerdict))
		}
	}
	for _, s := range old.Unprotected(next) {
		if s.Class == config.ClassAllowlist {
			out = append(out, fmt.Sprintf("allowlist: %s%s is no longer protected", s.Prefix, noteOf(s.Name)))
			continue
		}
		out = append(out, s.String()+", is no longer protected")
	}
	for _, name := range old.NewReasons(next) {
		out = append(out, "accept_reasons: a rule may block for "+name+" alone")
	}
	return out
}

// Asked says what of it a person is asked about anyway: bans block from then on, or a later change has less to pass.
func Asked(mode bpf.Mode, old, next *config.Host) []string {
	var out []string
	if view.ModeOf(next.MaxMode) == bpf.ModeEnforce && mode != bpf.ModeEnforce {
		says := "max_mode enforce: what is only counted now is blocked"
		if next.Guards.Rollout == config.RolloutStaged {
			says = "max_mode enforce: bans and last-known-good block; what was only observed comes in stages"
		}
		out = append(out, says)
	}
	out = append(out, otherGolden(old, next)...)
	return append(out, looserGuards(old.Guards, next.Guards)...)
}

// otherGolden names the golden clients that bundles are tried with no more.
func otherGolden(old, next *config.Host) []string {
	var out []string
	for _, g := range old.Golden {
		i := slices.IndexFunc(next.Golden, func(n config.GoldenClient) bool { return n.Name == g.Name })
		switch {
		case i < 0:
			out = append(out, "golden client "+g.Name+": no bundle is tried with it any more")
		case !reflect.DeepEqual(next.Golden[i], g):
			out = append(out, "golden client "+g.Name+" is another than before")
		}
	}
	return out
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
	looserRollout(guard, old.RolloutGuards, next.RolloutGuards)
	return out
}

// looserRollout names the guards of a rollout that ask for less than before.
func looserRollout(guard func(loosened bool, name string, from, to any), old, next config.RolloutGuards) {
	guard(old.Rollout == config.RolloutStaged && next.Rollout != old.Rollout, "rollout", old.Rollout, next.Rollout)
	sizes := []config.Evidence{config.EvidenceSmall, config.EvidenceNormal, config.EvidenceLarge}
	guard(slices.Index(sizes, next.Evidence) < slices.Index(sizes, old.Evidence), "evidence", old.Evidence, next.Evidence)
	guard(next.Shadow < old.Shadow, "shadow", api.Short(old.Shadow), api.Short(next.Shadow))
	guard(shorterCanary(old.Canary, next.Canary), "canary", stepsOf(old.Canary), stepsOf(next.Canary))
	guard(next.MaxNewBlocks > old.MaxNewBlocks, "max_new_blocks", old.MaxNewBlocks, next.MaxNewBlocks)
	guard(next.MaxDelta.Rows > old.MaxDelta.Rows, "max_delta.rows", old.MaxDelta.Rows, next.MaxDelta.Rows)
	guard(next.MaxDelta.Connections > old.MaxDelta.Connections, "max_delta.connections", old.MaxDelta.Connections,
		next.MaxDelta.Connections)
	guard(next.TimeOnlyBelow > old.TimeOnlyBelow, "time_only_below", old.TimeOnlyBelow, next.TimeOnlyBelow)
}

// shorterCanary reports whether at some moment more visitors meet a candidate than before.
func shorterCanary(old, next []config.CanaryStep) bool {
	at := func(steps []config.CanaryStep, when time.Duration) config.Percent {
		for _, s := range steps {
			if when -= s.For; when < 0 {
				return s.Share
			}
		}
		return 101 // done
	}
	for _, steps := range [][]config.CanaryStep{old, next} {
		when := time.Duration(0)
		for _, s := range steps {
			if at(next, when) > at(old, when) {
				return true
			}
			when += s.For
		}
		if at(next, when) > at(old, when) {
			return true
		}
	}
	return false
}

func stepsOf(steps []config.CanaryStep) string {
	var out []string
	for _, s := range steps {
		out = append(out, s.Share.String()+" for "+api.Short(s.For))
	}
	return strings.Join(out, ", ")
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

// noteOf writes the note of a row behind it.
func noteOf(note string) string {
	if note == "" {
		return ""
	}
	return " (" + note + ")"
}
