// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
)

// Why nobody is blocked: nothing at all, or nothing by a bundle.

// idle finds what lets everything pass, in the order in which a packet meets it.
func (j *judge) idle() {
	switch {
	case len(j.attached) == 0 && len(j.uncertain) == 0:
		j.v.Idle = "nothing is attached"
	case j.Bypass.Active():
		j.v.Idle = "bypass is on"
	case j.Behind != "": // whether it blocks is not known
	case j.emptied():
		j.v.Idle = "no dataplane stands behind the root program"
	case j.Control.Host == bpf.SlotEmpty:
		j.v.Idle = "no host file is published"
	case j.lost():
		j.v.Idle = "the agent has been gone longer than guards.agent_timeout"
	case j.Control.Mode != modeEnforce:
		j.v.Idle = "this host only observes"
	case j.allBypassed():
		j.v.Idle = everyService
	}
}

// everyService is what a bypass of each service comes to: what is to no service is never touched, so bans pass too.
const everyService = "every service is bypassed"

func (j *judge) allBypassed() bool {
	all := j.services()
	return len(all) > 0 &&
		!slices.ContainsFunc(all, func(s compile.ServiceInfo) bool { return !j.Services[s.ID].Active() })
}

// emptied reports whether the root program calls nothing: the kernel empties a PROG_ARRAY when its last user goes.
func (j *judge) emptied() bool {
	return slices.ContainsFunc(j.Wiring, func(d compile.Drift) bool { return d.NoDataplane() })
}

// lost reports whether the kernel takes the agent for dead (agent_lost in bpf/judge.h).
func (j *judge) lost() bool {
	return j.Host != nil && j.Host.AgentTimeout >= 0 && (j.Heartbeat < 0 || j.Heartbeat > j.Host.AgentTimeout)
}

// decides reports whether the kernel honours a candidate, for everybody.
func (j *judge) decides(candidate loader.GenerationInfo) bool {
	return j.Control.Candidate != bpf.SlotEmpty && candidate.Slot == j.Control.Candidate && j.Control.Canary >= 1000 &&
		j.Lease.Active() && !j.Tripped.Has(candidate.Number)
}

// inForce returns the generation that decides for everybody, or for all but the canary. One whose budget is used up
// gives way to the one before.
func (j *judge) inForce() (loader.GenerationInfo, bool) {
	for _, g := range j.Generations {
		if j.decides(g) {
			return g, true
		}
	}
	g, ok := j.inSlot(j.Control.Stable)
	if ok && j.spent(g) {
		return j.inSlot(j.Control.Previous)
	}
	return g, ok
}

// spent reports whether a stable generation newly blocked more than it may: from then on the one before decides.
func (j *judge) spent(stable loader.GenerationInfo) bool {
	return j.Control.Budget && stable.Number != 0 && j.Tripped.HasSpent(stable.Number)
}

func (j *judge) inSlot(slot uint8) (loader.GenerationInfo, bool) {
	for _, g := range j.Generations {
		if g.Slot == slot && slot != bpf.SlotEmpty {
			return g, true
		}
	}
	return loader.GenerationInfo{}, false
}

// canary says for whom a candidate blocks that decides for a part of the sources; "" where none does.
func (j *judge) canary() string {
	g, ok := j.inSlot(j.Control.Candidate)
	share := j.Control.Canary
	if !ok || share == 0 || share >= 1000 || !j.Lease.Active() || j.Tripped.Has(g.Number) ||
		!slices.ContainsFunc(j.services(), func(s compile.ServiceInfo) bool {
			return g.Blocking.Can(s.Tag) && !j.Services[s.ID].Active()
		}) {
		return ""
	}
	return fmt.Sprintf("generation %d among %s of the sources (its canary)", g.Number, api.Permille(share))
}

func (j *judge) bundleIdle() {
	if j.v.BundleIdle = j.v.Idle; j.v.Idle != "" || j.Behind != "" || j.Unread[PartGenerations] != nil ||
		j.Unread[PartHost] != nil {
		return
	}
	g, ok := j.inForce()
	switch {
	case !ok:
		j.v.BundleIdle = "no bundle is in force"
	case g.Blocking.Expired > 0 && g.Blocking.Reach == 0:
		j.v.BundleIdle = "all rules of the bundle in force have expired"
	case !slices.ContainsFunc(j.services(), func(s compile.ServiceInfo) bool { return g.Blocking.Can(s.Tag) }):
		why, _ := j.harmless(g)
		j.v.BundleIdle = "the bundle in force blocks nobody" + j.byRules() + ": " + why
	case !slices.ContainsFunc(j.services(), func(s compile.ServiceInfo) bool {
		return g.Blocking.Can(s.Tag) && !j.Services[s.ID].Active()
	}):
		j.v.BundleIdle = "every service that it could block for" + j.byRules() + " is bypassed"
	}
	j.v.Fragments = j.fragments()
	if j.v.BundleIdle != "" {
		j.v.Only = j.only()
	}
}

// fragments lists the services of which the bundle in force drops fragments: it does so whatever its rules say, and
// however long they have expired.
func (j *judge) fragments() []string {
	g, ok := j.inForce()
	if !ok {
		return nil
	}
	var out []string
	for _, s := range j.services() {
		if g.Blocking.Fragments[s.Tag] && !j.Services[s.ID].Active() {
			out = append(out, s.Name)
		}
	}
	return out
}

// byRules keeps "blocks nobody" true where fragments are dropped.
func (j *judge) byRules() string {
	if len(j.fragments()) > 0 {
		return " by its rules"
	}
	return ""
}

// only says what is blocked where no rule of a bundle blocks: a ban passes where a service is bypassed.
func (j *judge) only() string {
	text := "only bans block"
	if slices.ContainsFunc(j.services(), func(s compile.ServiceInfo) bool { return j.Services[s.ID].Active() }) {
		text += ", and not where a service is bypassed"
	}
	if to := j.fragments(); len(to) > 0 {
		text += ", and IP fragments to " + list(to) + " are dropped"
	}
	if part := j.canary(); part != "" {
		text += ", and " + part
	}
	return text
}

func (j *judge) services() []compile.ServiceInfo {
	if j.Host == nil {
		return nil
	}
	return j.Host.Services
}
