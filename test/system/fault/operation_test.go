// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
)

// operation is something that the agent or the command does, and that a fault meets.
type operation struct {
	name string
	// prepare brings the site to the state before. The agent runs, below the listener, unless prepare ends it.
	prepare func(t *testing.T, s *site, in *inject.Listener)
	// run does it. A code of 0 reports success, any other failure; unknown reports nothing.
	run func(t *testing.T, s *site, in *inject.Listener) (code int)
	// changed says whether the kernel is as after the operation; nil: the operation changes nothing.
	changed func(s *site, before, after picture) bool
	// opens: in the course of it bots pass rightly. offline: it is a command without an agent.
	opens, offline bool
	// unsure: what can be compared no more when it is done makes it end with notKnown, and say so.
	unsure bool
}

// notKnown is the code of what is done while nobody knows whether it reaches the card.
const notKnown = 4

// unknown is the code of what was killed, and of a start, which reports to nobody.
const unknown = -1

// All operations begin with a bundle in force that blocks the bots.
var starts = []operation{
	{
		name: "first start", opens: true,
		prepare: func(t *testing.T, s *site, _ *inject.Listener) {
			s.Kill()
			world.Must(t, loader.DetachPins(s.Pins))
		},
		run: startAgent,
		changed: func(s *site, _, after picture) bool { // a half of it is no harm: nothing was there
			return after.Stable.Number == 0 || s.parsed[after.Stable.Digest] != nil
		},
	},
	{
		name:    "adopt",
		prepare: func(_ *testing.T, s *site, _ *inject.Listener) { s.Kill() },
		run:     startAgent,
	},
}

var changes = []operation{
	{
		name:    "apply",
		prepare: func(*testing.T, *site, *inject.Listener) {},
		run: func(t *testing.T, s *site, _ *inject.Listener) int {
			return s.command("apply", s.other(s.glance(t).Stable.Digest), "--yes", "--accept", "fault")
		},
		changed: func(_ *site, before, after picture) bool {
			return after.Stable.Digest != before.Stable.Digest && after.Stable.Number > before.Stable.Number &&
				after.Previous == before.Stable
		},
	},
	{
		name:    "apply, to be confirmed",
		prepare: func(*testing.T, *site, *inject.Listener) {},
		run: func(t *testing.T, s *site, _ *inject.Listener) int {
			return s.command("apply", s.other(s.glance(t).Stable.Digest), "--yes", "--accept", "fault", "--confirm", "10m")
		},
		changed: func(_ *site, before, after picture) bool {
			return after.Control.Candidate != 0 && after.Control.Canary > 0 && after.Stable == before.Stable
		},
	},
	{
		name: "confirm",
		prepare: func(t *testing.T, s *site, _ *inject.Listener) {
			s.MustCLI("apply", s.other(s.glance(t).Stable.Digest), "--yes", "--accept", "fault", "--confirm", "10m")
		},
		run: func(_ *testing.T, s *site, _ *inject.Listener) int { return s.command("confirm") },
		changed: func(_ *site, before, after picture) bool {
			return after.Control.Stable == before.Control.Candidate && after.Stable.Number > before.Stable.Number &&
				after.Previous == before.Stable
		},
	},
	{
		name:    "reload",
		prepare: func(_ *testing.T, s *site, _ *inject.Listener) { s.writeHost(1 - s.host) },
		run:     func(_ *testing.T, s *site, _ *inject.Listener) int { return s.command("reload") },
		changed: func(_ *site, before, after picture) bool {
			return after.Stable.Digest == before.Stable.Digest && after.Stable.Number > before.Stable.Number &&
				after.Host > before.Host
		},
	},
	{
		name:    "rollback",
		prepare: needPrevious,
		run:     func(_ *testing.T, s *site, _ *inject.Listener) int { return s.command("rollback") },
		changed: wentBack,
	},
	{
		name: "bypass", opens: true,
		prepare: func(*testing.T, *site, *inject.Listener) {},
		run: func(_ *testing.T, s *site, _ *inject.Listener) int { // it goes on without an agent that dies of it
			out, code := s.CLI("bypass", "on")
			s.said = fmt.Sprintf("exit %d: %s", code, out)
			return code
		},
		changed: bypassed,
	},
}

// commands go without an agent.
var commands = []operation{
	{
		name: "rollback without an agent", offline: true,
		prepare: func(t *testing.T, s *site, in *inject.Listener) { needPrevious(t, s, in); s.Kill() },
		run:     func(_ *testing.T, s *site, in *inject.Listener) int { return s.below(in, "rollback") },
		changed: wentBack,
	},
	{
		name: "bypass without an agent", opens: true, offline: true, unsure: true,
		prepare: func(_ *testing.T, s *site, _ *inject.Listener) { s.Kill() },
		run:     func(_ *testing.T, s *site, in *inject.Listener) int { return s.below(in, "bypass", "on") },
		changed: bypassed,
	},
	{
		name: "status without an agent", offline: true,
		prepare: func(_ *testing.T, s *site, _ *inject.Listener) { s.Kill() },
		run:     func(_ *testing.T, s *site, in *inject.Listener) int { return s.below(in, "status") },
	},
}

func wentBack(_ *site, before, after picture) bool {
	return after.Stable == before.Previous && after.Previous == place{}
}

func bypassed(_ *site, before, after picture) bool {
	return after.Bypass && after.Control == before.Control
}

// needPrevious makes sure that there is something to go back to.
func needPrevious(t *testing.T, s *site, _ *inject.Listener) {
	if at := s.glance(t); at.Previous == (place{}) {
		s.MustCLI("apply", s.other(at.Stable.Digest), "--yes", "--accept", "fault")
	}
}

// startAgent starts the agent and waits until it answers, or is dead.
func startAgent(t *testing.T, s *site, in *inject.Listener) int {
	t.Helper()
	s.StartWith(in.Wrapper()...)
	s.answers(t, "a start with a fault", true)
	return unknown
}

// command asks the agent; when it dies of it, the command has nothing to report.
func (s *site) command(args ...string) int {
	out, code := s.CLI(args...)
	s.said = fmt.Sprintf("exit %d: %s", code, out)
	if code != 0 && s.Ended() {
		return unknown
	}
	return code
}

// below runs a command without an agent under injection. status exits with 4 because no agent runs.
func (s *site) below(in *inject.Listener, args ...string) int {
	out, code := s.CLIWith(in.Wrapper(), args...)
	s.said = fmt.Sprintf("exit %d: %s", code, out)
	if args[0] == "status" && code == 4 {
		code = 0
	}
	return code
}

// judge says what is wrong with what the kernel holds after an operation that reported code.
func (o operation) judge(s *site, before, after picture, code int) (wrong []string) {
	same := before.Control == after.Control && before.Stable == after.Stable && before.Candidate == after.Candidate &&
		before.Previous == after.Previous &&
		before.Host == after.Host && before.Bypass == after.Bypass
	changed := o.changed != nil && o.changed(s, before, after)
	switch {
	case o.changed == nil && !same:
		wrong = append(wrong, "it changed what is in force")
	case o.unsure && code == notKnown:
		if !changed || !strings.Contains(strings.Join(strings.Fields(s.said), " "), "not known") {
			wrong = append(wrong, "it ended with 4, and is not in force, or does not say that nobody knows: "+s.said)
		}
	case o.changed != nil && code == 0 && !changed:
		wrong = append(wrong, "it reported success and is not in force")
	case o.changed != nil && code > 0 && !same:
		wrong = append(wrong, "it reported failure and did not leave what was in force")
	case !same && !changed:
		wrong = append(wrong, "what is in force is neither what was before nor the new one")
	}
	if len(wrong) > 0 {
		wrong = append(wrong, fmt.Sprintf("before %s, after %s", before, after))
	}
	return append(wrong, after.Wrong...)
}

// judgeNext says what is wrong after the next plain start: it keeps what it finds, a bypass included.
func (o operation) judgeNext(s *site, found, next picture) (wrong []string) {
	if next.Bypass {
		s.MustCLI("bypass", "off")
	}
	wrong = append(s.healthy(), next.Wrong...)
	if !next.Attached {
		wrong = append(wrong, "not attached")
	}
	kept := next.Stable == found.Stable && next.Previous == found.Previous
	switch {
	case found.Stable == place{}: // there was nothing: last-known-good comes from the disk
		kept = s.parsed[next.Stable.Digest] != nil
	case found.Host != next.Host: // the host file was edited, and the fault came before it counted
		kept = next.Stable.Digest == found.Stable.Digest && next.Stable.Number > found.Stable.Number
	}
	if !kept || found.Bypass != next.Bypass {
		wrong = append(wrong, fmt.Sprintf("the next start did not keep what it found: found %s, then %s", found, next))
	}
	return wrong
}
