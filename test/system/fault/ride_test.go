// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
	"github.com/spillway/spillway/userspace/api"
)

// The stages of a whole rollout, in their order.
var ridden = []string{"taste", "shadow", "canary 1", "canary 2", "bake"}

// What a rollout calls in its stages. Each look reads; what is decided is written, and carried out, at a stage's end.
var (
	looks  = []string{"MAP_LOOKUP_ELEM", "MAP_LOOKUP_BATCH", "OBJ_GET", "OBJ_GET_INFO_BY_FD", "BTF_GET_FD_BY_ID"}
	writes = []string{"create /.new", "write /.new", "sync /.new", "rename to /stages.json", "sync /",
		"create /history.jsonl", "write /history.jsonl", "sync /history.jsonl"}
	asked = []string{"create /bundles/.new", "write /bundles/.new", "sync /bundles", "rename to /bundles/",
		"rename to /stages.json", "rename to /record.json", "sync /history.jsonl", "mkdir /taste"}
	adopted = []string{"MAP_LOOKUP_BATCH", "MAP_UPDATE_BATCH", "MAP_UPDATE_ELEM", "OBJ_GET", "OBJ_PIN"}
	childs  = []string{"child: MAP_CREATE", "child: BTF_LOAD", "child: PROG_LOAD", "child: MAP_UPDATE_BATCH",
		"child: MAP_UPDATE_ELEM", "child: MAP_LOOKUP_BATCH", "child: MAP_FREEZE", "child: OBJ_PIN",
		"child: OBJ_GET_INFO_BY_FD", "child: PROG_TEST_RUN"}
)

// met is a fault at the nth call of a name, in a stage.
type met struct {
	stage string
	at    int
	inject.Fault
}

func (m met) String() string { return fmt.Sprintf("%s, %s %d, %s", m.stage, m.Of, m.at, m.Fault) }

// aliveAfter are the faults of the sweeps that nobody dies of.
func aliveAfter(faults []inject.Fault) (out []inject.Fault) {
	return slices.DeleteFunc(slices.Clone(faults), func(f inject.Fault) bool { return f.Kill })
}

// faultsAt are all faults of a stage's calls that nobody dies of.
func faultsAt(stage string) (out []met) {
	names := slices.Concat(looks, writes)
	switch stage {
	case "taste":
		names = slices.Concat(asked, childs, adopted)
	case "bake":
		names = append(names, "rename to /record.json")
	}
	for _, name := range names {
		faults := bpfFaults
		if strings.Contains(name, "/") {
			faults = diskFaults
		}
		for _, f := range aliveAfter(faults) {
			f.Of = name
			out = append(out, met{stage, 1, f})
		}
	}
	return out
}

// deathsAt are all ways to die in a stage, by who dies: the agent at any of its calls; in taste the child, both, and
// the agent while it takes over what the child built.
func deathsAt(stage string) [][]met {
	deaths := func(names []string, f inject.Fault) (out []met) {
		for _, f.Of = range names {
			out = append(out, met{stage, 1, f})
		}
		return out
	}
	agent := inject.Fault{Kill: true}
	if stage != "taste" {
		return [][]met{deaths(slices.Concat(looks, writes), agent)}
	}
	return [][]met{deaths(asked, agent), deaths(childs, agent),
		deaths(childs, inject.Fault{Kill: true, Whole: true}), deaths(adopted, agent)}
}

// drawn are some of all, in another order each time, each at one of the first calls of its name.
func drawn(r *rand.Rand, all []met, few int) []met {
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if everything {
		few = len(all)
	}
	all = all[:min(max(few, atLeast), len(all))]
	for i, m := range all {
		all[i].at = 1 + r.IntN(m.most())
	}
	return all
}

// most is how often a call comes for certain.
func (m met) most() int {
	switch {
	case m.stage != "taste" && !strings.Contains(m.Of, "/"): // in each look
		return 10
	case m.Of == "child: MAP_CREATE" || m.Of == "child: BTF_LOAD" || m.Of == "OBJ_GET":
		return 10
	case m.Of == "OBJ_PIN" || m.Of == "MAP_UPDATE_ELEM" || m.Of == "child: OBJ_PIN":
		return 4
	}
	return 1
}

// inTurn has first what comes first: the request, the child, what it built is taken over; looks, and the stage's end.
func inTurn(all []met) []met {
	turn := func(m met) int {
		switch {
		case m.stage == "taste" && slices.Contains(asked, m.Of), m.stage != "taste" && slices.Contains(looks, m.Of):
			return 0
		case strings.HasPrefix(m.Of, inject.Childs):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b met) int { return turn(a) - turn(b) })
	return all
}

// running is the rollout that is under way; nil when none is.
func (s *stagedSite) running() *api.Rollout {
	all, err := s.rollouts()
	if err != nil {
		return nil
	}
	for i := range all.Rollouts {
		if ro := &all.Rollouts[i]; ro.Staged != nil && !ro.Over() {
			return ro
		}
	}
	return nil
}

// Whatever fails in a whole rollout, at any call of the agent and of its child, whoever dies of it, and however often
// it starts again: no visitor notices, the word names what is there, the rollout goes on where it was, nothing is
// condemned, and nothing is left.
func TestFaultsOfARollout(t *testing.T) {
	r := dice(t)
	s := newStagedSite(t, "1m", true)
	before := s.leftoversOf(t)
	plan, tally := map[string][]met{}, map[string]int{}
	left := func() (n int) {
		for _, stage := range ridden {
			n += len(plan[stage])
		}
		return n
	}
	for _, stage := range ridden {
		all := drawn(r, faultsAt(stage), 2)
		for _, deaths := range deathsAt(stage) {
			all = append(all, drawn(r, deaths, 1)...)
		}
		plan[stage] = inTurn(all)
	}
	planned := left()
	s.ride(t, plan, tally)
	for (everything || atLeast > 0) && left() > 0 {
		s.ride(t, plan, tally)
	}
	t.Logf("%d faults planned, %d not reached; met: %s", planned, left(), tell(tally))
	var diff string
	if !within(patience, func() bool { diff = gocmp.Diff(before, s.leftoversOf(t)); return diff == "" }) {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
	s.nobodyNoticed(t)
}

// leftoversOf stops the agent for as long as it looks.
func (s *stagedSite) leftoversOf(t *testing.T) leftovers {
	t.Helper()
	world.Must(t, unix.Kill(s.Pid(), unix.SIGTERM))
	s.Wait(answerTime)
	said := s.Log()
	said = said[max(0, strings.LastIndex(said, "the agent stops")):]
	if !strings.Contains(said, `"timeout":"1h"`) {
		t.Errorf("it does not say for how long what is enforced goes on: %s", said)
	}
	l := s.leftovers(t)
	l.State = nil // bundles stay, and history
	s.start(t, s.in)
	s.loaded(t)
	return l
}

// ride goes through one rollout, and takes off the plan what it met.
func (s *stagedSite) ride(t *testing.T, plan map[string][]met, tally map[string]int) {
	t.Helper()
	file, last, held := s.next(t), "", 0
	for _, stage := range ridden {
		for n := 0; len(plan[stage]) > 0 && n < 8; n++ {
			m := plan[stage][0]
			plan[stage] = plan[stage][1:]
			s.in.Arm(m.at, m.Fault)
			if stage == "taste" && s.running() == nil {
				s.CLI("apply", file, "--yes", "--no-wait")
			}
			past := false
			within(longest, func() bool {
				ro := s.running()
				past = ro != nil && stageOf(ro) > slices.Index(ridden, stage)
				return past || s.in.Hit() != "" || ro == nil && s.Answers()
			})
			if m.Last { // for a while
				time.Sleep(2 * time.Second)
			}
			report, err := s.in.Disarm()
			world.Must(t, err)
			name := fmt.Sprintf("%s: %q", m, report.Hit)
			if report.Hit != "" {
				tally[stage+" "+report.Hit]++
				s.wrong(t, name, s.survives(t, m)...)
			}
			if !past {
				continue
			}
			if stage != "taste" || len(plan[stage]) == 0 {
				break
			}
			s.again(t)
		}
		if stage == "taste" && s.running() == nil && s.rollout(last) == nil {
			s.begin(t, file)
		}
		s.wrong(t, "at the end of "+stage, s.moves(t, &last, stage, &held)...)
	}
	ro := s.ends(t, last)
	if ro.State != api.RolloutDone {
		t.Errorf("the rollout did not go on: %s", tellRollout(ro))
	}
	s.wrong(t, "at the end", s.sound(t)...)
}

// again ends the rollout that runs, which condemns nothing: another taste is needed.
func (s *stagedSite) again(t *testing.T) {
	t.Helper()
	if ro := s.running(); ro != nil {
		s.MustCLI("rollout", "abort", ro.ID, "--reason", "another taste")
		s.ends(t, ro.ID)
	}
}

// stageOf is the place of a rollout's stage among those that it rides through; a queued one is before them.
func stageOf(ro *api.Rollout) int { return slices.Index(ridden, stage(ro)) }

// survives says what is wrong after a fault: who was killed is started again, and once more in an orderly way.
func (s *stagedSite) survives(t *testing.T, m met) (wrong []string) {
	t.Helper()
	dies := m.Kill && (m.Whole || !strings.HasPrefix(m.Of, inject.Childs))
	if dies {
		if !within(patience, s.Ended) {
			wrong = append(wrong, "the agent was killed, and lives")
		}
		wrong = append(wrong, s.holds(t)...)
		s.start(t, s.in)
		s.loaded(t)
		s.orderly(t)
		s.loaded(t)
	} else if s.Ended() {
		wrong = append(wrong, "the agent ended")
		s.start(t, s.in)
	}
	all, err := s.rollouts()
	if err != nil || all.Stages == nil || len(all.Stages.Quarantine) > 0 {
		wrong = append(wrong, fmt.Sprintf("in quarantine, or nobody knows: %+v, %v", all, err))
	}
	return append(wrong, s.holds(t)...)
}

// moves waits until the rollout leaves a stage. A host that could not try it five times has it held: a person goes on.
func (s *stagedSite) moves(t *testing.T, last *string, stage string, held *int) (wrong []string) {
	t.Helper()
	var ro *api.Rollout
	if !within(longest, func() bool {
		if ro = s.running(); ro != nil {
			*last = ro.ID
			return stageOf(ro) > slices.Index(ridden, stage) || stage == "bake"
		}
		ro = s.rollout(*last)
		return ro != nil && ro.Over()
	}) {
		return []string{"it does not go on: " + tellRollout(ro)}
	}
	if ro.State != api.RolloutHeld {
		return nil
	}
	if *held++; *held > 3 || ro.Staged.Verdict == nil || ro.Staged.Verdict.Gate != "taste" || ro.Message == "" {
		wrong = append(wrong, "it is held: "+tellRollout(ro))
	}
	s.MustCLI("rollout", "resume", *last, "--reason", "the fault is over")
	s.reaches(t, *last, ridden[min(slices.Index(ridden, stage)+1, len(ridden)-1)])
	return wrong
}
