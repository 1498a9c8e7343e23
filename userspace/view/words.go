// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

// What a change says when it is done: that it was done, and what that comes to in the state that was just read.

// OfBypass says what a bypass of everything (service "") or of a service comes to, after it was switched.
func OfBypass(v Verdict, service string, until loader.Deadline) *api.Change {
	c := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Incomplete: v.Unknown}
	what := "everything"
	if service != "" {
		what = "service " + service
	}
	switch {
	case !until.Active():
		c.Message = "bypass is off: " + what + " is judged again" + v.but()
	case len(v.Unknown) > 0:
		c.Message = "bypass is on where the pins reach" + untilOf(until, service) + ": " + what + " passes there"
	default:
		c.Message = "bypass is on: " + what + " passes" + untilOf(until, service)
	}
	return c
}

func untilOf(until loader.Deadline, service string) string {
	if service != "" && until == loader.DeadlineForever {
		return ", until `spillway bypass off --service " + service + "`"
	}
	return Until(until)
}

// but says why what is judged again blocks nobody.
func (v Verdict) but() string {
	switch {
	case v.Idle != "":
		return "; nothing is blocked: " + v.Idle
	case v.State == api.StateUnknown:
		return "; whether that blocks is not known"
	case v.BundleIdle != "":
		return "; " + v.Only + ": " + v.BundleIdle
	}
	return ""
}

// OfBan says what a ban comes to.
func OfBan(v Verdict, p netip.Prefix, length time.Duration) *api.Change {
	c := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Name: p.String(), Incomplete: v.Unknown}
	switch {
	case v.Idle != "":
		c.Message = fmt.Sprintf("the ban of %s is set for %s, and blocks nothing now: %s", p, short(length), v.Idle)
	case v.State == api.StateUnknown:
		c.Message = fmt.Sprintf("the ban of %s is set for %s; whether it blocks is not known", p, short(length))
	default:
		c.Message = fmt.Sprintf("%s is banned for %s", p, short(length))
		c.Details = append(c.Details, v.Open...)
	}
	return c
}

// InForce says that a generation decides, and that it blocks nobody where that is so.
func InForce(v Verdict, number uint32) string {
	switch {
	case v.BundleIdle != "" && v.Idle == "" && len(v.Fragments) > 0:
		return fmt.Sprintf("generation %d is published, and its rules block nobody now: %s; %s", number, v.BundleIdle, v.Only)
	case v.BundleIdle != "":
		return fmt.Sprintf("generation %d is published, and blocks nobody now: %s", number, v.BundleIdle)
	case v.State == api.StateUnknown:
		return fmt.Sprintf("generation %d is published; whether it decides is not known: %s", number, v.Says)
	}
	return fmt.Sprintf("generation %d is in force", number)
}

// WithoutBundle says what passes where no bundle is left.
func WithoutBundle(v Verdict) string {
	if v.Idle != "" {
		return "there is no bundle, and nothing is blocked: " + v.Idle
	}
	return "there is no bundle, and only bans block"
}

// NotBanned says that there is no such ban, and which ban covers it or lies within it.
func NotBanned(p netip.Prefix, bans []loader.Ban) *api.Error {
	e := &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("there is no ban of %s", p),
		Fix: "`spillway bans` lists the bans as they are written"}
	if over := covering(p, bans); over != "" {
		e.Message = fmt.Sprintf("%s has no ban of its own; it is banned by that of %s", p, over)
		e.Fix = fmt.Sprintf("spillway unban %s ends it for all of them", over)
		return e
	}
	var within []string
	for _, b := range bans {
		if p.Bits() < b.Prefix.Bits() && p.Contains(b.Prefix.Addr()) {
			within = append(within, b.Prefix.String())
		}
	}
	if len(within) > 0 {
		e.Message += "; within it are banned " + list(within[:min(len(within), 5)])
		if len(within) > 5 {
			e.Message += fmt.Sprintf(" and %d more", len(within)-5)
		}
	}
	return e
}

// StillBanned says that a prefix whose ban was ended lies inside another.
func StillBanned(p netip.Prefix, bans []loader.Ban) []string {
	if over := covering(p, bans); over != "" {
		return []string{fmt.Sprintf("it stays banned by the ban of %s", over)}
	}
	return nil
}

// covering returns the longest ban around a prefix; "" for none.
func covering(p netip.Prefix, bans []loader.Ban) string {
	best := netip.Prefix{}
	for _, b := range bans {
		if b.Prefix.Bits() < p.Bits() && b.Prefix.Contains(p.Addr()) && (!best.IsValid() || b.Prefix.Bits() > best.Bits()) {
			best = b.Prefix
		}
	}
	if !best.IsValid() {
		return ""
	}
	return best.String()
}
