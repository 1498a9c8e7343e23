// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
)

// Verdict is what a reading means.
type Verdict struct {
	State      string // of api.Status
	Says       string // one sentence for people
	Interfaces []api.Interface
	Problems   []api.Problem // worst first
	// Idle says why nothing at all is blocked now, bans neither; "" when a ban blocks. It reads behind a colon.
	Idle string
	// BundleIdle says why no rule of a bundle blocks anybody now, Idle included; "" when one may. Only says what is
	// blocked then all the same, where something is.
	BundleIdle, Only string
	// Fragments are the services to which fragments are dropped, once something is blocked at all.
	Fragments []string
	// Gaps say, one an interface, where packets do not meet the dataplane, or may not; Unknown are those of them of which
	// nobody knows, and Open is where a service passes.
	Gaps, Unknown, Open []string
}

// Protected reports whether all of the host is protected.
func (v Verdict) Protected() bool { return v.State == api.StateProtected }

const modeEnforce = bpf.ModeEnforce

// judge gathers a verdict.
type judge struct {
	Reading
	v                         Verdict
	attached, bare, uncertain []string // interfaces by what netlink says
}

// Judge says what a reading means. It is a function of the reading and of the kernel's clock, with which deadlines
// compare.
func Judge(r Reading) Verdict {
	j := judge{Reading: r}
	j.interfaces()
	j.idle()
	j.bundleIdle()
	j.v.Open = j.open()
	j.sum()
	j.wiring()
	j.presence()
	j.unvouched()
	j.malformed()
	j.budget()
	j.unread()
	return j.v
}

func (j *judge) problem(code, message, fix string) {
	j.v.Problems = append(j.v.Problems, api.Problem{Code: code, Message: message, Fix: fix})
}

// start is how a person brings the agent back.
func (j *judge) start() string {
	switch {
	case j.Agent == Answers:
		return "the agent tries again; its log says more"
	case j.Agent == Hung:
		return j.restart()
	}
	return "systemctl start spillway, or: spillway run"
}

func (j *judge) restart() string {
	if j.AgentPID == 0 {
		return "systemctl restart spillway"
	}
	return fmt.Sprintf("systemctl restart spillway, or: kill -9 %d, then spillway run", j.AgentPID)
}

// gapsText joins what is wrong on interfaces.
func (j *judge) gapsText() string { return strings.Join(j.v.Gaps, "; ") }

// everything says what passes when nothing is blocked: all, but where an interface cannot be judged.
func (j *judge) everything() string {
	if len(j.uncertain) > 0 {
		return "everything passes on " + list(j.attached) + "; " + j.gapsText()
	}
	return "everything passes"
}

func list(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// sum says what all of it comes to.
func (j *judge) sum() {
	says := func(state, format string, args ...any) {
		j.v.State, j.v.Says = state, fmt.Sprintf(format, args...)
	}
	switch {
	case len(j.attached) == 0 && len(j.uncertain) > 0:
		says(api.StateUnknown, "UNKNOWN: %s.", j.gapsText())
	case len(j.attached) == 0:
		says(api.StateUnprotected, "NOT PROTECTED: nothing is attached, everything passes.")
		if j.Bypass.Active() {
			j.problem("bypass", "bypass is on"+ends(j.Bypass)+": what is attached next passes everything", "spillway bypass off")
		}
	case j.Bypass.Active():
		says(api.StateBypassed, "BYPASS IS ON: %s%s.", j.everything(), Until(j.Bypass))
		j.problem("bypass", "bypass is on: "+j.everything()+ends(j.Bypass), "spillway bypass off")
	case j.Behind != "":
		says(api.StateUnknown, "UNKNOWN: %s.", j.Behind)
	case j.emptied(), j.Control.Host == bpf.SlotEmpty, j.lost():
		says(api.StateUnprotected, "NOT PROTECTED: %s, %s.", j.v.Idle, j.everything())
		j.passing()
	case len(j.unreadParts()) > 0:
		says(api.StateUnknown, "UNKNOWN: %s cannot be read.", list(j.unreadParts()))
	case j.rewired():
		says(api.StateUnknown, "UNKNOWN: what stands behind the root program is not what is pinned.")
	case j.v.Idle == everyService:
		says(api.StateUnprotected, "NOT PROTECTED: %s, %s.", j.v.Idle, j.everything())
		j.problem("bypass", j.v.Idle+": "+j.everything(), "spillway bypass off --service NAME")
	case j.v.Idle != "": // observe
		says(api.StateObserving, "Observing: what would be blocked is counted, %s (mode observe).", j.everything())
		j.noGeneration()
		j.beside()
	case j.v.BundleIdle != "":
		says(api.StateIdle, "NOT PROTECTED: %s; %s.", j.v.BundleIdle, j.v.Only)
		j.noGeneration()
		j.beside()
	case len(j.uncertain)+len(j.bare) > 0:
		says(api.StatePartly, "Partly protected: %s.", j.gapsText())
	case len(j.v.Open) > 0:
		says(api.StatePartly, "Partly protected: %s.", strings.Join(j.v.Open, "; "))
	default:
		says(api.StateProtected, "Protected: what the rules find is %s (mode enforce)%s.", j.finds(), j.but())
	}
}

// passing tells the one thing that lets everything pass.
func (j *judge) passing() {
	switch {
	case j.emptied():
		j.problem("no_dataplane", j.v.Idle+": "+j.everything(), j.start())
	case j.Control.Host == bpf.SlotEmpty:
		j.problem("no_host", j.v.Idle+": no service is inspected", j.start())
	case j.Agent == Hung:
		j.problem("agent_lost", j.v.Idle+": "+j.everything(), j.restart())
	default:
		j.problem("agent_lost", j.v.Idle+": "+j.everything(), "start the agent: systemctl start spillway")
	}
}

// noGeneration tells that no bundle decides, or that the one that does cannot block.
func (j *judge) noGeneration() {
	g, ok := j.inForce()
	what := j.v.Only
	if j.v.Idle != "" {
		what = "nothing would be blocked but bans"
		if to := j.fragments(); len(to) > 0 {
			what += " and IP fragments to " + list(to)
		}
	}
	switch {
	case !ok:
		j.problem("no_generation", "no bundle is in force: "+what, "spillway apply BUNDLE")
	case j.v.Idle != "" &&
		slices.ContainsFunc(j.services(), func(s compile.ServiceInfo) bool { return g.Blocking.Can(s.Tag) }):
	case g.Blocking.Expired > 0 && g.Blocking.Reach == 0:
		j.problem("expired", "all rules of the bundle in force have expired: "+what,
			"renew their expiry and apply the bundle again")
	case j.v.Idle != "":
		why, fix := j.harmless(g)
		j.problem("never_blocks", "the bundle in force could block nobody"+j.byRules()+": "+why, fix)
	case strings.HasPrefix(j.v.BundleIdle, "every service"):
		j.problem("bypass", j.v.BundleIdle, "spillway bypass off --service NAME")
	default:
		_, fix := j.harmless(g)
		j.problem("never_blocks", j.v.BundleIdle, fix)
	}
}

// beside tells of interfaces and services that the sentence leaves out.
func (j *judge) beside() {
	for _, text := range j.unserved() {
		j.problem("no_policy", text, "apply the bundle again: it is built for the services of that moment")
	}
}

// open lists what passes although all is attached: a bypassed service, and one that the bundle does not know.
func (j *judge) open() []string {
	var out []string
	if slices.ContainsFunc(j.Wiring, compile.Drift.NoPayload) {
		out = append(out, "no program stands behind the dataplane, so what only a first payload tells passes")
	}
	for _, s := range j.services() {
		if d := j.Services[s.ID]; d.Active() {
			out = append(out, "service "+s.Name+" passes, its bypass is on")
		}
	}
	return append(out, j.unserved()...)
}

func (j *judge) unserved() []string {
	g, ok := j.inForce()
	if !ok {
		return nil
	}
	var out []string
	for _, s := range j.services() {
		if _, known := g.Blocking.From[s.Tag]; !known {
			out = append(out, "service "+s.Name+" is new to the bundle in force, which lets it pass")
		}
	}
	return out
}

// rewired reports whether packets meet something else than what is pinned, so that what was read may not be what
// decides.
func (j *judge) rewired() bool {
	return slices.ContainsFunc(j.Wiring, func(d compile.Drift) bool {
		return d.Where != compile.WherePins && !d.NoDataplane() && !d.NoPayload() && !d.EmptySlot()
	})
}

func (j *judge) wiring() {
	for _, d := range j.Wiring {
		if d.NoDataplane() && len(j.attached) > 0 && !j.Bypass.Active() {
			continue // told already
		}
		fix := "a running agent repairs it: systemctl start spillway"
		if j.Agent == Answers || j.Agent == Hung {
			fix = j.start()
		}
		j.problem("wiring", fmt.Sprintf("%s: want %s, got %s", d.Where, d.Want, d.Got), fix)
	}
}

// presence tells that no agent answers, and what that comes to.
func (j *judge) presence() {
	if j.Agent == Answers || j.lost() && len(j.attached) > 0 && !j.Bypass.Active() {
		return
	}
	code, what := "no_agent", "no agent runs"
	fix := j.start()
	switch j.Agent {
	case Hung:
		code, what = "agent_hung", "the agent hangs: it does not answer"
		if j.AgentPID != 0 {
			what = fmt.Sprintf("the agent hangs: pid %d does not answer", j.AgentPID)
		}
	case Unasked:
		code, what, fix = "no_agent", "the agent could not be asked", "run it with sudo"
	case Elsewhere:
		code, what, fix = "agent_elsewhere", "an agent owns these pins, and answers on another socket",
			"pass --config with the host file that it runs with"
		if j.AgentPID != 0 {
			what = fmt.Sprintf("an agent, pid %d, owns these pins, and answers on another socket", j.AgentPID)
		}
	}
	blocks := len(j.attached) > 0 && j.v.Idle == ""
	switch {
	case j.Host == nil || !blocks:
	case j.Host.AgentTimeout < 0:
		what += "; nothing renews, sweeps or reports"
	case j.Agent == Elsewhere && j.Heartbeat >= 0 && j.Heartbeat < beating, j.Agent == Unasked:
	case j.Heartbeat >= 0:
		what += "; in " + short(j.Host.AgentTimeout-j.Heartbeat) + " everything passes"
	}
	j.problem(code, what, fix)
}

// beating is how old a heartbeat may be of an agent that lives: it beats every second.
const beating = 10 * time.Second

// unreadParts are those without which nobody knows what passes. Links are none: netlink has said what is attached.
func (j *judge) unreadParts() []string {
	var out []string
	for _, p := range []Part{PartRoot, PartWiring, PartHost, PartGenerations} {
		if j.Unread[p] != nil {
			out = append(out, string(p))
		}
	}
	return out
}

func (j *judge) unread() {
	for _, p := range parts {
		if err := j.Unread[p]; err != nil {
			j.problem("kernel_read", fmt.Sprintf("%s cannot be read: %v", p, err), FixOf(err))
		}
	}
}

// FixOf says what a person does about something that cannot be read.
func FixOf(err error) string {
	if errors.Is(err, loader.ErrPermission) {
		return "run it as root"
	}
	return "`spillway doctor` says what is missing"
}

// budget tells of a generation that newly blocked more than it may, and of what decides instead.
func (j *judge) budget() {
	g, ok := j.inSlot(j.Control.Stable)
	if !ok || !j.spent(g) || j.Unread[PartGenerations] != nil {
		return
	}
	instead := "no bundle decides"
	if before, there := j.inSlot(j.Control.Previous); there {
		instead = fmt.Sprintf("generation %d decides", before.Number)
	}
	j.problem("budget", fmt.Sprintf("generation %d newly blocked more than its budget: %s", g.Number, instead),
		"spillway rollout says which rule it was; spillway rollback leaves it")
}
