// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

// One thing that cannot be read is a problem; everything else is answered.
func TestA45StatusOfWhatCanBeRead(t *testing.T) {
	for _, call := range []string{"Generations", "Host", "Counters", "MapUse", "Bans", "VerifyWiring", "Attachments"} {
		t.Run(call, func(t *testing.T) {
			r := newRig(t)
			r.mustApply("one", api.ApplyOptions{})
			r.machine.fail[call] = unix.ENOMEM
			s, err := r.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Problems) == 0 || s.Problems[0].Code != "kernel_read" ||
				!strings.Contains(s.Problems[0].Message, unix.ENOMEM.Error()) || s.Problems[0].Fix == "" {
				t.Errorf("problems %+v", s.Problems)
			}
			if s.Control == nil || s.Control.Stable == 0 || s.Mode != "enforce" || s.MaxMode != "enforce" {
				t.Errorf("what is known is not answered: %+v", s)
			}
			// Without these nobody knows what passes; netlink has said what is attached, whatever the links are.
			want := map[string]string{"Generations": "UNKNOWN: the generations", "Host": "UNKNOWN: the host file",
				"VerifyWiring": "UNKNOWN: the wiring"}[call]
			if s.Protected != (want == "") || (s.State == api.StateUnknown) != (want != "") {
				t.Errorf("protected %v, state %s", s.Protected, s.State)
			}
			if want == "" {
				want = "Protected: "
			}
			if line := r.oneLine(); !strings.HasPrefix(line, want) {
				t.Errorf("systemd is told %q", line)
			}
		})
	}
}

// The first bundle of a host may be a candidate. While it decides for everybody, the host is protected.
func TestFirstCandidateProtects(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{Confirm: time.Hour})
	s, err := r.Status(ctx)
	if err != nil || !s.Protected || hasProblem(s, "no_generation") {
		t.Errorf("protected %v, problems %v, %v", s.Protected, s.Problems, err)
	}
	if line := r.oneLine(); !strings.Contains(line, "generation 1") {
		t.Errorf("systemd is told %q", line)
	}
	r.machine.SetLease(loader.Deadline(1)) // it ended
	if s, _ := r.Status(ctx); s.Protected || !hasProblem(s, "no_generation") {
		t.Errorf("after the lease: protected %v, problems %v", s.Protected, s.Problems)
	}
}
