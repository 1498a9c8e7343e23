// SPDX-License-Identifier: Apache-2.0

package viewtest

import (
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// Rate is what the policies of these states admit.
var Rate = config.Rate{Connections: config.Frequency{Count: 30, Per: time.Minute}, Burst: 60, By: config.LimitBySource,
	Over: config.OverDrop, Shared: 8}

// policed gives both services of the stable generation a policy as it counts, and says what its rules add up to.
func policed(web, shop loader.ServicePolicy, reach int) func(*view.Reading) {
	b := compile.Blocking{From: map[uint32]uint8{}, Limits: map[uint32]uint8{}, Resets: map[uint32]bool{}, Reach: reach,
		Strong: true}
	policies := map[uint32]loader.ServicePolicy{11: web, 22: shop}
	for tag, p := range policies {
		b.From[tag], b.Limits[tag] = uint8(p.Counts.Blocks()), uint8(p.Counts.Limit)
		b.Resets[tag] = p.Counts.Reset != config.Never
	}
	return func(r *view.Reading) { r.Generations[0].Blocking, r.Generations[0].Policies = b, policies }
}

func counts(p config.Policy) loader.ServicePolicy { return loader.ServicePolicy{Counts: p} }

func also(first, then func(*view.Reading)) func(*view.Reading) {
	return func(r *view.Reading) { first(r); then(r) }
}

var (
	limits   = counts(config.Policy{Tag: 30, Limit: 50, Rate: Rate})
	both     = counts(config.Policy{Limit: 50, Drop: 80, Rate: Rate})
	tags     = counts(config.Policy{Tag: 30})
	capped   = loader.ServicePolicy{Counts: config.Policy{Tag: 30}, Capped: true}
	observes = control(func(c *loader.Control) { c.Mode = bpf.ModeObserve })
	bypassed = func(r *view.Reading) { r.Bypass = loader.DeadlineForever }
)

// limited are the states of a host whose bundle limits or tags, or whose host file keeps it from more.
var limited = []Mode{
	{"limits", policed(limits, limits, 100), api.StateProtected,
		"what the rules find is limited (mode enforce)", true, true,
		false, ""},
	{"limits and drops", policed(both, limits, 100), api.StateProtected,
		"what the rules find is limited or blocked (", true,
		true, false, ""},
	{"limits, and its rules reach no drop", policed(both, both, 60), api.StateProtected,
		"what the rules find is limited (",
		true, true, false, ""},
	{"limits, observe", also(policed(limits, limits, 100), observes), api.StateObserving,
		"everything passes (mode observe)", false, false, false, ""},
	{"limits, bypass", also(policed(limits, limits, 100), bypassed), api.StateBypassed, "everything passes", false, false,
		false, "bypass"},
	{"limits, no agent", also(policed(limits, limits, 100), func(r *view.Reading) {
		r.Agent, r.Heartbeat = view.Absent, 5*time.Minute
	}), api.StateProtected, "what the rules find is limited (", true, true, false, "no_agent"},
	{"limits, agent lost", also(policed(limits, limits, 100), func(r *view.Reading) {
		r.Agent, r.Heartbeat = view.Absent, time.Hour
	}), api.StateUnprotected, "everything passes", false, false, false, "agent_lost"},
	{"limits, no bundle", also(policed(limits, limits, 100), control(func(c *loader.Control) { c.Stable = 0 })),
		api.StateIdle, "no bundle is in force; only bans block", true, false, false, "no_generation"},
	{"a limit that no score reaches", policed(limits, limits, 40), api.StateIdle,
		"its rules add up to 40, and its policy limits from 50; only bans block", true, false, false, "never_blocks"},
	{"a limit that no score reaches, observe", also(policed(limits, limits, 40), observes), api.StateObserving,
		"everything passes", false, false, false, "never_blocks"},
	{"a policy that tags", policed(tags, tags, 100), api.StateIdle, "has neither limit, drop nor reset; only bans block",
		true, false, false, "never_blocks"},
	{"max_verdict tag", policed(capped, capped, 100), api.StateIdle,
		"max_verdict of the host file lets no bundle block at web and shop; only bans block", true, false, false,
		"never_blocks"},
	{"max_verdict tag, observe", also(policed(capped, capped, 100), observes), api.StateObserving, "everything passes",
		false, false, false, "never_blocks"},
	{"max_verdict tag of a service", policed(both, capped, 100), api.StateProtected,
		"what the rules find is limited or blocked (mode enforce); at shop max_verdict lets no bundle block.", true, true,
		false, ""},
}
