// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/retry"
)

func TestKernelThatCannotBeOpened(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.stop()
	control := r.machine.control
	r.openErr = fmt.Errorf("load: %w", loader.ErrForeignABI)
	r.start()
	s, err := r.Status(ctx)
	if err != nil || s.Protected || s.Agent.State != api.StateUnprotected || s.Problems[0].Code != ledger.ProblemKernel ||
		s.Problems[0].Fix == "" {
		t.Fatalf("%+v, %v", s, err)
	}
	_, err = r.apply("two", api.ApplyOptions{})
	if e := wantCode(t, err, api.CodeUnavailable); !strings.Contains(e.Message, "ABI") {
		t.Errorf("%v", e)
	}
	if _, err := r.agent.release.Plan(ctx, api.PlanRequest{Remove: "one"}, bundleYAML("two")); err != nil {
		t.Errorf("a plan needs no kernel: %v", err)
	}
	if err := r.healthy(); err != nil {
		t.Errorf("neither the kernel nor a socket that cannot be made is a reason for a restart: %v", err)
	}
	serving, stop := context.WithCancel(ctx)
	first, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); r.serve.Run(serving, first) }()
	<-first
	stop()
	<-ended // the socket was made, and nobody answers on it any more
	if err := r.healthy(); err == nil || !strings.Contains(err.Error(), "socket") {
		t.Errorf("a socket that does not answer: %v", err)
	}
	r.openErr = nil
	r.pass(2 * retry.Last)
	if s, _ := r.Status(ctx); !s.Protected || r.machine.control != control {
		t.Errorf("after the repair: %v", s.Problems)
	}
}

func TestInterfacesAreAttachedWhenTheyCan(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.machine.links["eth0"] = loader.StateSevered
	r.machine.fail["Attach eth0"] = fmt.Errorf("attach: %w", loader.ErrNoDevice)
	r.tick(false)
	s, _ := r.Status(ctx)
	if s.Protected || s.Interfaces[0].State != "failed" || s.Interfaces[0].Fix == "" ||
		s.Agent.State != api.StateUnprotected {
		t.Errorf("%+v", s.Interfaces)
	}
	tried := r.machine.did("Attach")
	r.tick(false)
	if r.machine.did("Attach") != tried {
		t.Error("tries again without a pause")
	}
	r.tick(true)
	if r.machine.did("Attach") != tried+1 {
		t.Error("a link event does not hurry")
	}
	delete(r.machine.fail, "Attach eth0")
	r.pass(2 * retry.Last)
	if s, _ := r.Status(ctx); !s.Protected || s.Interfaces[0].State != "attached" {
		t.Errorf("%+v", s.Interfaces)
	}
	if r.plane.Links.Repairs()["link"] != 1 {
		t.Errorf("repairs %v", r.plane.Links.Repairs())
	}
}

func TestEmptiedProgramArrayIsFilled(t *testing.T) {
	r := newRig(t)
	r.machine.wiring = []compile.Drift{{Where: compile.WherePrograms, Want: "the dataplane", Got: "nothing"}}
	r.tick(false)
	if r.machine.did("RefillPrograms") != 1 || r.plane.Links.Repairs()["program"] != 1 {
		t.Errorf("calls %v, repairs %v", r.machine.calls, r.plane.Links.Repairs())
	}
	r.machine.wiring = []compile.Drift{{Where: compile.WherePins, Want: "all", Got: "without words"}}
	r.tick(false)
	if r.machine.did("Repin") != 1 || r.plane.Links.Repairs()["pins"] != 1 {
		t.Errorf("calls %v, repairs %v", r.machine.calls, r.plane.Links.Repairs())
	}
	r.machine.wiring = []compile.Drift{{Where: "stable, slot 1", Want: "a generation", Got: "nothing"}}
	r.tick(false)
	if s, _ := r.Status(ctx); !hasProblem(s, ledger.ProblemVerify) || s.Protected {
		t.Errorf("problems %v", s.Problems)
	}
}

// A pin that is missing matters when the agent ends, so it waits for the next look at everything; with a link, which
// lives by its pin, it does not: nothing can be attached before it is there again.
func TestPinsThatWereRemovedAreLookedForInTime(t *testing.T) {
	gone := []compile.Drift{{Where: compile.WherePins, Want: "all", Got: "without words"}}
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(time.Minute)
	r.machine.wiring = gone
	r.pass(time.Second)
	if n := r.machine.did("Repin"); n != 0 {
		t.Errorf("looked at everything %d times within a second", n)
	}
	for range 4 {
		r.pass(time.Second - time.Millisecond) // a ticker is early as often as it is late
	}
	if n := r.machine.did("Repin"); n != 1 {
		t.Errorf("five seconds later they are pinned again %d times", n)
	}
	r.pass(time.Minute)
	r.machine.wiring, r.machine.links["eth0"] = gone, loader.StateSevered
	before := len(r.machine.calls)
	r.pass(time.Second)
	calls := r.machine.calls[before:]
	repinned, attached := slices.Index(calls, "Repin"), slices.Index(calls, "Attach")
	if repinned < 0 || attached < repinned {
		t.Errorf("with a link that was cut: %v", calls)
	}
}

func TestVerify(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	v, err := r.agent.plane.Rows.Verify(ctx)
	if err != nil || !v.OK || r.machine.did("VerifyGeneration") != 2 {
		t.Errorf("%+v, %v, %d generations", v, err, r.machine.did("VerifyGeneration"))
	}
	r.restart()
	r.machine.drift = []compile.Drift{{Where: "slot 1", Want: "a", Got: "b"}}
	v, err = r.agent.plane.Rows.Verify(ctx)
	if err != nil || v.OK || len(v.Entries) != 2 || len(v.Left) != 0 {
		t.Errorf("after a restart, with drift: %+v, %v", v, err)
	}
	if s, _ := r.Status(ctx); !hasProblem(s, "drift") {
		t.Errorf("problems %v", s.Problems)
	}
	r.stop()
	if err := os.RemoveAll(filepath.Join(r.dir, "state")); err != nil {
		t.Fatal(err)
	}
	r.machine.drift = nil
	r.start()
	v, err = r.agent.plane.Rows.Verify(ctx)
	if err != nil || v.OK || len(v.Left) != 2 {
		t.Errorf("what cannot be compared must not be ok: %+v, %v", v, err)
	}
}
