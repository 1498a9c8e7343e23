// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/fault/inject"
	"github.com/spillway/spillway/test/world"
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
				// cilium/ebpf remembers a token that it could not make for the life of the process: a new one mends that.
				if fmt.Sprint(report.Hit) == "TOKEN_CREATE" && !within(patience, healthy) {
					s.start(t, in)
				}
				if !within(patience, healthy) {
					s.wrong(t, name, wrong...)
					s.start(t, in)
				}
			}
		}
	}
	s.tr.VisitorsNeverNoticed(t)
}
