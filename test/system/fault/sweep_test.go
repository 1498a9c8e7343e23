// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
)

// patience is how long an agent may take to recover by itself: it tries again within two seconds.
const patience = 20 * time.Second

// within reports whether a fact comes true in time.
func within(d time.Duration, check func() bool) bool {
	for deadline := time.Now().Add(d); !check(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// sweep does operations, each as often as there are faults and points, with one fault at one point each time.
func sweep(t *testing.T, kind inject.Kind, faults []inject.Fault, operations []operation) {
	t.Helper()
	r := dice(t)
	s := newSite(t)
	in := listen(t, s, kind)
	s.protect(t, in)
	for _, o := range share(r, operations) {
		calls, hits, met := s.calls(t, o, in), 0, map[string]int{}
		for _, f := range draw(r, faults) {
			few := 1
			if f.Kill && kind == inject.BPF {
				few = 2
			}
			for _, at := range some(r, calls, few) {
				if hit := s.point(t, o, in, at, f); hit != "" {
					hits++
					met[hit]++
				}
			}
			for at := calls + 1; everything; at++ { // runs differ: some are longer than the one that was counted
				hit := s.point(t, o, in, at, f)
				if hit == "" {
					break
				}
				hits++
				met[hit]++
			}
		}
		t.Logf("%s: %d calls, %d faults met: %s", o.name, calls, hits, tell(met))
	}
	s.tr.VisitorsNeverNoticed(t)
}

// draw returns all faults that kill and another, in make test; every one otherwise.
func draw(r *rand.Rand, faults []inject.Fault) (out []inject.Fault) {
	if everything || atLeast > 0 {
		return faults
	}
	var others []inject.Fault
	for _, f := range faults {
		if f.Kill {
			out = append(out, f)
		} else {
			others = append(others, f)
		}
	}
	r.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	return append(out, others[:min(1, len(others))]...)
}

// share returns a ninth of the operations in make test; every one otherwise.
func share(r *rand.Rand, operations []operation) []operation {
	if everything || atLeast > 0 {
		return operations
	}
	out := slices.Clone(operations)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:(len(out)+8)/9]
}

func tell(met map[string]int) string {
	out := ""
	for _, name := range slices.Sorted(maps.Keys(met)) {
		out += fmt.Sprintf(" %s %d", name, met[name])
	}
	return out
}

// listen makes a listener that goes after the agent.
func listen(t *testing.T, s *site, kind inject.Kind) *inject.Listener {
	t.Helper()
	in, err := inject.Listen(s.Folder, kind, s.State(), s.Pins)
	world.Must(t, err)
	t.Cleanup(func() {
		s.Kill()
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.Command(in.Wrapper()[0], append(in.Wrapper()[1:], "true")...).CombinedOutput(); err != nil {
		leaveOut(t,
			fmt.Sprintf("system calls cannot be failed here (seccomp user notification, Linux 5.19): %v: %s", err, out))
	}
	return in
}

// calls counts the calls of an undisturbed run. What ticks beside it makes runs differ: where every point is visited,
// the shorter of two counts.
func (s *site) calls(t *testing.T, o operation, in *inject.Listener) int {
	t.Helper()
	least, runs := 0, 1
	if everything {
		runs = 2
	}
	for range runs {
		s.settle(t)
		o.prepare(t, s, in)
		in.Arm(0, inject.Fault{})
		code := o.run(t, s, in)
		report, err := in.Disarm()
		world.Must(t, err)
		if code > 0 || report.Seen == 0 {
			t.Fatalf("%s, undisturbed: %d calls, %s", o.name, report.Seen, s.said)
		}
		if least == 0 || report.Seen < least {
			least = report.Seen
		}
		if o.offline {
			s.start(t, in)
		}
	}
	return least
}

// settle ends what an operation left open: a candidate that nobody confirmed, a bypass.
func (s *site) settle(t *testing.T) {
	t.Helper()
	at := s.glance(t)
	if at.Control.Candidate != 0 {
		s.MustCLI("rollback", "--reason", "the next point")
	}
	if at.Bypass {
		s.MustCLI("bypass", "off")
		s.tr.Count()
	}
}

// point does the operation with a fault at one call, judges it, and starts the agent plainly.
func (s *site) point(t *testing.T, o operation, in *inject.Listener, at int, f inject.Fault) (hit string) {
	t.Helper()
	s.settle(t)
	o.prepare(t, s, in)
	before, logged, disk := s.glance(t), len(s.Log()), in.Kind() == inject.Disk
	s.said = ""
	in.Arm(at, f)
	code := o.run(t, s, in)
	report, err := in.Disarm()
	world.Must(t, err)
	name := fmt.Sprintf("%s, call %d of %d (%s), %s", o.name, at, report.Seen, report.Hit, f)
	found := s.look(t)
	if f.Kill && report.Hit != "" && code != 0 {
		code = unknown // what the command then says is only that the agent is gone
	}
	s.wrong(t, name, o.judge(s, before, found, code)...)
	if disk && !f.Kill {
		s.forgot[found.Stable.Number], s.forgot[found.Previous.Number] = true, true
	}
	if report.Hit != "" && !f.Kill {
		if !o.offline && s.Ended() {
			s.wrong(t, name, "the agent ended")
		}
		if told := s.Log()[logged:] + s.said; disk && !strings.Contains(told, f.Errno.Error()) {
			s.wrong(t, name, "nobody was told: "+told)
		}
	}
	s.start(t, in)
	s.wrong(t, name+", next start", o.judgeNext(s, found, s.look(t))...)
	if o.opens {
		s.tr.Count()
	} else if leak := s.tr.Leaked(); leak != "" {
		s.wrong(t, name, leak)
	}
	return report.Hit
}
