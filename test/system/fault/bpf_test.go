// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
)

// bpfFaults are the issue's; those that last are what a full memory and a new lockdown look like.
var bpfFaults = []inject.Fault{
	{Kill: true},
	{Errno: unix.ENOMEM}, {Errno: unix.EPERM}, {Errno: unix.E2BIG}, {Errno: unix.EBUSY},
	{Errno: unix.ENOMEM, Last: true}, {Errno: unix.EPERM, Last: true},
}

func TestBPFCallsOfStarts(t *testing.T)     { sweep(t, inject.BPF, bpfFaults, starts) }
func TestBPFCallsWithoutAgent(t *testing.T) { sweep(t, inject.BPF, bpfFaults, commands) }

// A bypass by the agent is left out: it is a store into a mapped word, and makes no call.
func TestBPFCallsOfChanges(t *testing.T) {
	sweep(t, inject.BPF, bpfFaults, changes[:len(changes)-1])
}

// An error that passes is forgotten: the agent that met it at its start protects soon, without anybody's help.
func TestStartsRecoverByThemselves(t *testing.T) {
	r := dice(t)
	s := newSite(t)
	in := listen(t, s, inject.BPF)
	s.protect(t, in)
	for _, o := range starts {
		calls := s.calls(t, o, in)
		for _, f := range draw(r, bpfFaults[1:]) {
			for _, at := range some(r, calls, 1) {
				o.prepare(t, s, in)
				in.Arm(at, f)
				o.run(t, s, in)
				report, err := in.Disarm()
				world.Must(t, err)
				name := fmt.Sprintf("%s, call %d of %d (%s), %s", o.name, at, report.Seen, report.Hit, f)
				var wrong []string
				healthy := func() bool { wrong = s.healthy(); return len(wrong) == 0 }
				if !within(patience, healthy) {
					s.wrong(t, name, wrong...)
					s.start(t, in)
				}
			}
		}
	}
	s.tr.VisitorsNeverNoticed(t)
}

// asking is more calls than those by which a start asks the kernel what it can.
const asking = 16

// The library remembers what it could not ask the kernel for the life of the process (a token, BTF of functions, names
// of objects). Whichever of these questions fails, the agent protects within seconds, in a new process where it must be
// one, under the same number; and a process that was started anew is not started anew without end.
func TestF16StartsRecoverFromWhatTheLibraryRemembers(t *testing.T) {
	r := dice(t)
	s := newSite(t)
	in := listen(t, s, inject.BPF)
	s.protect(t, in)
	renewed := 0
	for _, f := range []inject.Fault{{Errno: unix.ENOMEM}, {Errno: unix.E2BIG}, {Errno: unix.EPERM},
		{Errno: unix.EINVAL}} {
		for _, at := range some(r, asking, 1) {
			starts[1].prepare(t, s, in) // an adoption: bots stay blocked meanwhile
			said := len(s.Log())
			in.Arm(at, f)
			s.StartWith(in.Wrapper()...)
			pid := s.Pid()
			s.answers(t, "a start with a fault", false)
			report, err := in.Disarm()
			world.Must(t, err)
			name := fmt.Sprintf("call %d of %d (%s), %s", at, report.Seen, report.Hit, f)
			var wrong []string
			if !within(patience, func() bool { wrong = s.healthy(); return len(wrong) == 0 }) {
				s.wrong(t, name, wrong...)
			}
			if s.Ended() || s.Pid() != pid {
				s.wrong(t, name, "the agent's process is another one")
			}
			n := strings.Count(s.Log()[said:], `"msg":"the agent starts itself`)
			if renewed += n; n > 1 {
				s.wrong(t, name, fmt.Sprintf("it was started anew %d times", n))
			}
			if leak := s.tr.Leaked(); leak != "" {
				s.wrong(t, name, leak)
			}
		}
	}
	t.Logf("%d new processes", renewed)
	s.tr.VisitorsNeverNoticed(t)
}
