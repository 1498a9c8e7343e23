// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/migrate"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/rollout"
)

// bootRig has a set that was in force before, and one that is last-known-good. Its agents end as if killed.
func bootRig(t *testing.T, staged bool) *rig {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.mustApply("two", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.stop()
	if staged {
		r.writeHost(strings.Replace(hostYAML, "rollout: direct", "rollout: staged", 1))
		r.crash(1) // which publishes the host file, and is not counted yet
	}
	r.bootID = "first"
	return r
}

func (r *rig) crash(times int) {
	for range times {
		r.start()
		r.stop()
	}
}

func (r *rig) reboots(times int) {
	for range times {
		r.bootID += "."
		r.reboot()
	}
}

func (r *rig) condemned() []string {
	var out []string
	for _, q := range r.state().Quarantine {
		out = append(out, q.Name)
	}
	slices.Sort(out)
	return out
}

func (r *rig) wantBoot(stable, quarantine string, problem bool) {
	r.t.Helper()
	if got := r.role("stable"); got != stable {
		r.t.Errorf("stable is %q, want %q", got, stable)
	}
	if got := fmt.Sprint(r.condemned()); got != quarantine {
		r.t.Errorf("in quarantine %s, want %s", got, quarantine)
	}
	s, err := r.Status(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	if has := hasProblem(s, ledger.ProblemBoot); has != problem {
		r.t.Errorf("status tells of it %t, want %t: %v", has, problem, s.Problems)
	}
}

// Three agents die before they settle: the fourth leaves the set, and the seventh everything. Until then the kernel is
// not touched.
func TestA33AgentThatDiesAtTheStartLeavesItsSet(t *testing.T) {
	r := bootRig(t, true)
	before := r.machine.control
	r.crash(3)
	if r.machine.control != before {
		t.Errorf("three deaths changed the control word from %+v to %+v", before, r.machine.control)
	}
	r.start()
	r.wantBoot("one", "[two]", true)
	r.wantLine("rollback done")
	if r.knownGood() != "one" {
		t.Errorf("last-known-good is %s", r.knownGood())
	}
	r.stop()
	r.crash(2)
	r.start()
	r.wantBoot("", "[one two]", true)
	r.stop()
	r.crash(4)
	r.start()
	r.wantBoot("", "[one two]", true)
	_, err := r.apply("two", api.ApplyOptions{})
	if e := new(api.Error); !errors.As(err, &e) || e.Code != api.CodeHeld {
		t.Errorf("what agents died of is applied without a reason: %v", err)
	}
}

// Agents of another layout die before they took over, of the set that they build beside what decides. The fourth takes
// over with what was in force before, and builds nothing else.
func TestA33UpgradeThatDiesLeavesItsSet(t *testing.T) {
	r := bootRig(t, true)
	r.start()
	rec := r.state()
	r.stop()
	one, two := migrate.Resident{Digest: rec.Previous.Digest, Number: rec.Previous.Number},
		migrate.Resident{Digest: rec.Applied.Digest, Number: rec.Applied.Number}
	r.crash(2)
	r.upgrade(&migrate.Predecessor{Layout: 3, Known: true, Stable: &two, Previous: &one})
	r.wantBoot("one", "[two]", true)
	r.wantRoles("one", "", "")
	if n := r.machine.did("Build"); n != 1 {
		t.Errorf("%d bundles were built: %v", n, r.machine.calls)
	}
	after := r.state()
	if g, _ := r.machine.Generations(); after.Applied == nil || len(g) != 1 || after.Applied.Number != g[0].Number {
		t.Errorf("the record has %+v in force, the kernel %+v", after.Applied, g)
	}
}

// The machine dies with the agent: counted also where changes are direct. After a reboot nothing of what is condemned
// comes back.
func TestA33MachineThatDiesAtTheStartLeavesItsSet(t *testing.T) {
	for _, staged := range []bool{false, true} {
		r := bootRig(t, staged)
		r.reboots(3)
		r.wantBoot("two", "[]", false)
		r.reboots(1)
		r.wantBoot("one", "[two]", true)
		r.reboots(3)
		r.wantBoot("", "[one two]", true)
		r.reboots(4)
		r.wantBoot("", "[one two]", true)
		r.mustApply("three", api.ApplyOptions{})
		r.pass(10 * time.Minute)
		r.wantBoot("three", "[one two]", false)
		r.reboots(2)
		r.wantBoot("three", "[one two]", false)
		r.stop()
	}
}

// With direct changes an agent that is killed however often leaves what decides alone: visitors notice nothing.
func TestDeathsOfTheAgentAloneDoNotCountWhereChangesAreDirect(t *testing.T) {
	r := bootRig(t, false)
	before := r.machine.control
	r.crash(8)
	r.start()
	r.wantRoles("two", "", "one")
	if r.machine.control != before || len(r.condemned()) > 0 {
		t.Errorf("control %+v, was %+v; quarantine %v", r.machine.control, before, r.condemned())
	}
}

// A start that lived five minutes, or that somebody ended, is no death; and a set that was put into force meanwhile is
// counted by itself.
func TestStartsThatSettleAreNoDeaths(t *testing.T) {
	for _, settle := range []func(r *rig){
		func(r *rig) { r.pass(settleAfter) },
		func(r *rig) { r.stopOrderly() },
	} {
		r := bootRig(t, true)
		for range 5 {
			r.start()
			settle(r)
			r.stop()
		}
		r.start()
		r.wantBoot("two", "[]", false)
		r.stop()
	}
	r := bootRig(t, true)
	r.crash(2)
	r.start()
	if _, err := r.back("", "it was a mistake"); err != nil {
		t.Fatal(err)
	}
	r.tick(false)
	r.stop()
	r.crash(1)
	r.start()
	r.wantBoot("one", "[two]", false)
}

// A start that the disk does not let count goes on.
func TestStartThatCannotBeCounted(t *testing.T) {
	r := bootRig(t, true)
	r.fault = func(op, path string) error {
		if strings.HasSuffix(path, "boot.json") {
			return errors.New("no space left on device")
		}
		return nil
	}
	r.crash(5)
	r.start()
	r.wantBoot("two", "[]", false)
}

// fillDisk has the disk refuse the count of starts while what it returns is true.
func fillDisk(r *rig) *bool {
	full := false
	r.fault = func(op, path string) error {
		if full && strings.HasSuffix(path, "boot.json") {
			return errors.New("no space left on device")
		}
		return nil
	}
	return &full
}

// A start that settles while the disk refuses is written down once it takes it: who lives long, however often, is none
// that died.
func TestStartThatSettlesWhileTheDiskRefuses(t *testing.T) {
	r := bootRig(t, true)
	full := fillDisk(r)
	for range 5 {
		r.start()
		*full = true
		r.pass(settleAfter)
		*full = false
		r.pass(time.Minute)
		r.stop()
	}
	r.start()
	r.wantBoot("two", "[]", false)
}

// What is tried and does not decide for everybody is what starts die of: its rollout ends, and what is in force stays.
func TestA33AgentThatDiesOfWhatItTriesEndsItsRollout(t *testing.T) {
	r := bootRig(t, true)
	r.start()
	tried := rollout.Change{ID: "r9", Name: "three", Digest: config.Digest{9}}
	state := rollout.New(rollout.GuardsOf(r.host))
	state.Main = rollout.Run{Change: tried, Stage: rollout.StageShadow, Number: 9, On: 2}
	if err := r.store.Stages().SaveStages(map[string]any{"state": state}); err != nil {
		t.Fatal(err)
	}
	r.stop()
	before := r.machine.control
	r.crash(3)
	if got, is := r.tries(); got.ID != "r9" || !is {
		t.Fatalf("tried is %+v", got)
	}
	r.start()
	r.wantBoot("two", "[three]", true)
	r.leaveTrial()
	if got, is := r.stages.Trying(); is {
		t.Errorf("it is tried still: %+v", got)
	}
	if r.machine.control.Stable != before.Stable {
		t.Errorf("control %+v, was %+v", r.machine.control, before)
	}
	r.stop()
	r.crash(1)
	r.start()
	r.wantBoot("two", "[three]", true)
}

// A machine that dies of what it tries, in shadow or in a bake, is counted with that, boot after boot, and not with it
// and with what is in force in turn: the fourth boot ends the rollout, and what is in force stays.
func TestA33MachineThatDiesOfWhatItTriesEndsItsRollout(t *testing.T) {
	for _, stage := range []rollout.Stage{rollout.StageShadow, rollout.StageBake} {
		r := bootRig(t, true)
		r.start()
		if stage == rollout.StageBake {
			r.mustApply("three", api.ApplyOptions{})
		}
		tried := rollout.Change{ID: "r9", Name: "three", Digest: config.Digest{9}}
		state := rollout.New(rollout.GuardsOf(r.host))
		state.Main = rollout.Run{Change: tried, Stage: stage, Number: 9, On: 2}
		if err := r.store.Stages().SaveStages(map[string]any{"state": state}); err != nil {
			t.Fatal(err)
		}
		r.restart()
		for range 2 {
			r.reboots(1)
			r.wantBoot("two", "[]", false)
		}
		r.reboots(1)
		r.wantBoot("two", "[three]", true)
		r.leaveTrial()
		if got, is := r.stages.Trying(); is {
			t.Errorf("%s: it is tried still: %+v", stage, got)
		}
		r.reboots(1)
		r.wantBoot("two", "[three]", true)
		r.stop()
	}
}

// Stops that somebody wants are no deaths, also where the disk takes no count.
func TestOrderlyStopOnAFullDiskIsNoDeath(t *testing.T) {
	r := bootRig(t, true)
	full := fillDisk(r)
	for range 5 {
		r.start()
		*full = true
		r.stopOrderly()
		*full = false
		r.stop()
	}
	r.start()
	r.wantBoot("two", "[]", false)
}

// tries starts an agent without counting it, and says what it tries.
func (r *rig) tries() (rollout.Change, bool) {
	id := r.bootID
	r.bootID = ""
	r.start()
	defer func() { r.stop(); r.bootID = id }()
	return r.stages.Trying()
}
