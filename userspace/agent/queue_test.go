// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

func (r *rig) loseBundle(d config.Digest) {
	r.t.Helper()
	if err := os.Remove(filepath.Join(r.dir, "state", "bundles", strings.TrimPrefix(d.String(), "sha256:"))); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) rollout(id string) api.Rollout {
	r.t.Helper()
	all, err := r.release.Rollouts(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, ro := range all.Rollouts {
		if ro.ID == id {
			return ro
		}
	}
	r.t.Fatalf("no rollout %s in %+v", id, all.Rollouts)
	return api.Rollout{}
}

// waiting is a rig with a set of edge and feed, and a candidate of list three.
func waiting(t *testing.T) (*rig, *api.Rollout) {
	r := newRig(t)
	r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone)
	r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24", "198.18.8.0/24"), api.RolloutDone)
	candidate := r.mustAsk(api.RolloutRequest{ConfirmSeconds: 300},
		listYAML("three", "198.18.30.0/24"), api.RolloutWaiting)
	r.wantRoles("edge, feed", "edge, feed, three", "edge")
	return r, candidate
}

// Changes wait in a queue that status shows, one a name, and come in their order.
func TestQueueShowsAndRuns(t *testing.T) {
	r, candidate := waiting(t)
	first := r.mustAsk(api.RolloutRequest{Reason: "daily"}, listYAML("four", "198.18.40.0/24"), api.RolloutQueued)
	r.wantLine("apply queued")
	second := r.mustAsk(api.RolloutRequest{}, listYAML("five", "198.18.50.0/24"), api.RolloutQueued)
	newer := r.mustAsk(api.RolloutRequest{}, listYAML("four", "198.18.41.0/24"), api.RolloutQueued)
	s, err := r.Status(ctx)
	if err != nil || len(s.Queue) != 2 || s.Queue[0].ID != second.ID || s.Queue[1].ID != newer.ID ||
		!strings.Contains(s.Queue[0].Waits, "waits for its confirmation") {
		t.Errorf("queue %+v, %v", s.Queue, err)
	}
	if old := r.rollout(first.ID); old.State != api.RolloutWithdrawn ||
		!strings.Contains(old.Message, "rollout "+newer.ID+" of root took its place") {
		t.Errorf("the sender of the older one is told %+v", old)
	}
	r.pass(time.Second)
	r.wantRoles("edge, feed", "edge, feed, three", "edge")
	if _, err := r.release.ConfirmRollout(ctx, root, candidate.ID, ""); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Second)
	r.wantSet("edge* feed five four three")
	for _, id := range []string{second.ID, newer.ID} {
		if ro := r.rollout(id); ro.State != api.RolloutDone || ro.Outcome != api.OutcomeApplied {
			t.Errorf("rollout %s: %+v", id, ro)
		}
	}
	if s, _ := r.Status(ctx); len(s.Queue) != 0 {
		t.Errorf("left in the queue: %+v", s.Queue)
	}
}

func TestQueueIsCancelled(t *testing.T) {
	r, candidate := waiting(t)
	four := r.mustAsk(api.RolloutRequest{}, listYAML("four", "198.18.40.0/24"), api.RolloutQueued)
	if _, err := r.release.EndRollout(ctx, root, four.ID, "changed my mind"); err != nil {
		t.Fatal(err)
	}
	if ro := r.rollout(four.ID); ro.State != api.RolloutWithdrawn {
		t.Errorf("cancelled: %+v", ro)
	}
	if _, err := r.release.ConfirmRollout(ctx, root, candidate.ID, ""); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Second)
	r.wantSet("edge* feed three")
	r.restart()
	r.pass(time.Second)
	r.wantSet("edge* feed three")
}

// What waits is on disk: who left it there expects it to come, also after an update of the agent.
func TestQueueOutlivesTheAgent(t *testing.T) {
	r, candidate := waiting(t)
	four := r.mustAsk(api.RolloutRequest{Accept: "seen", Reason: "daily"},
		listYAML("four", "198.18.40.0/24"), api.RolloutQueued)
	r.restart()
	if ro := r.rollout(four.ID); ro.State != api.RolloutQueued || ro.Accept != "seen" ||
		ro.Reason != "daily" || ro.By != "root" {
		t.Errorf("after a restart: %+v", ro)
	}
	if _, err := r.release.ConfirmRollout(ctx, root, candidate.ID, ""); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Second)
	r.wantSet("edge* feed four three")
	if ro := r.rollout(four.ID); ro.State != api.RolloutDone {
		t.Errorf("it came, and its rollout is %+v", ro)
	}
	lost := r.mustAsk(api.RolloutRequest{ConfirmSeconds: 300}, listYAML("five", "198.18.50.0/24"), api.RolloutWaiting)
	six := r.mustAsk(api.RolloutRequest{}, listYAML("six", "198.18.60.0/24"), api.RolloutQueued)
	r.loseBundle(six.Digest)
	r.restart()
	if ro := r.rollout(six.ID); ro.State != api.RolloutFailed || !strings.Contains(ro.Message, "it waited, and is lost") {
		t.Errorf("its bundle is gone: %+v", ro)
	}
	if ro := r.rollout(lost.ID); ro.State != api.RolloutWaiting {
		t.Errorf("the candidate: %+v", ro)
	}
}

// A refusal of a change that waited is its rollout's, and the others go on.
func TestQueueRefusesAtItsTurn(t *testing.T) {
	r, candidate := waiting(t)
	bad := r.mustAsk(api.RolloutRequest{}, bundleYAML("second"), api.RolloutQueued)
	good := r.mustAsk(api.RolloutRequest{}, listYAML("four", "198.18.40.0/24"), api.RolloutQueued)
	if _, err := r.release.ConfirmRollout(ctx, root, candidate.ID, ""); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Second)
	if ro := r.rollout(bad.ID); ro.State != api.RolloutRefused || ro.Refusal == nil {
		t.Errorf("two policies: %+v", ro)
	}
	if ro := r.rollout(good.ID); ro.State != api.RolloutDone {
		t.Errorf("the next one: %+v", ro)
	}
}

// A removal and a relaxation pass the candidate by; it goes on on the new set, with its deadline and its id.
func TestFastTrack(t *testing.T) {
	for name, ask := range map[string]func(*rig) *api.Rollout{
		"removal": func(r *rig) *api.Rollout { return r.mustAsk(api.RolloutRequest{Remove: "feed"}, nil, api.RolloutDone) },
		"relaxation": func(r *rig) *api.Rollout {
			return r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24"), api.RolloutDone)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, candidate := waiting(t)
			left := r.machine.control
			r.clock = r.clock.Add(time.Minute)
			c := ask(r)
			members := "edge, feed"
			if name == "removal" {
				members = "edge"
			}
			r.wantRoles(members, members+", three", "edge, feed")
			if r.machine.control.Canary != left.Canary || !r.machine.Lease().Active() {
				t.Errorf("canary %d, lease %v", r.machine.control.Canary, r.machine.Lease().Left())
			}
			ro, confirm := r.rollout(candidate.ID), r.state().Confirm
			if ro.State != api.RolloutWaiting || confirm == nil || confirm.Rollout != candidate.ID ||
				!confirm.Deadline.Equal(candidate.Deadline) || ro.Number != confirm.Number || confirm.Number <= c.Number {
				t.Errorf("the candidate is %+v, record %+v", ro, confirm)
			}
			if r.machine.did("Publish") == 0 || len(r.state().Quarantine) != 0 {
				t.Errorf("quarantine %+v", r.state().Quarantine)
			}
			if _, err := r.release.ConfirmRollout(ctx, root, candidate.ID, ""); err != nil {
				t.Fatal(err)
			}
			r.wantRoles(members+", three", "", members)
		})
	}
}

// What blocks more waits, also when it comes as a small change; and so does what is about the candidate's bundle.
func TestNoFastTrack(t *testing.T) {
	r, _ := waiting(t)
	r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24", "198.18.8.0/24", "198.18.9.0/24"), api.RolloutQueued)
	r.mustAsk(api.RolloutRequest{ConfirmSeconds: 60}, listYAML("feed", "198.18.7.0/24"), api.RolloutQueued)
	r.wantRoles("edge, feed", "edge, feed, three", "edge")
}

// Who takes out the bundle that the candidate is about means both.
func TestRemovalEndsACandidateOfItsName(t *testing.T) {
	r := newRig(t)
	r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone)
	r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24"), api.RolloutDone)
	candidate := r.mustAsk(api.RolloutRequest{ConfirmSeconds: 300},
		listYAML("feed", "198.18.7.0/24", "198.18.8.0/24"), api.RolloutWaiting)
	r.mustAsk(api.RolloutRequest{Remove: "feed"}, nil, api.RolloutDone)
	r.wantRoles("edge", "", "edge, feed")
	if ro := r.rollout(candidate.ID); ro.State != api.RolloutWithdrawn {
		t.Errorf("the candidate is %+v", ro)
	}
	if r.state().Confirm != nil || len(r.state().Quarantine) != 0 {
		t.Errorf("record %+v", r.state())
	}
}

// A waiting candidate stops no reload and no new service: both generations are built for it, and swapped in one store.
func TestReloadBesideACandidate(t *testing.T) {
	r, candidate := waiting(t)
	r.writeHost(strings.Replace(hostYAML, "services:\n", "services:\n  - {name: shop, port: 8443, kind: tls}\n", 1))
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	r.wantRoles("edge, feed", "edge, feed, three", "edge")
	ro, confirm := r.rollout(candidate.ID), r.state().Confirm
	if ro.State != api.RolloutWaiting || confirm == nil || ro.Number != confirm.Number ||
		confirm.Number == candidate.Number || !confirm.Deadline.Equal(candidate.Deadline) || !r.machine.Lease().Active() {
		t.Errorf("the candidate is %+v, record %+v", ro, confirm)
	}
	if _, err := r.release.ConfirmRollout(ctx, root, candidate.ID, ""); err != nil {
		t.Fatal(err)
	}
	r.wantRoles("edge, feed, three", "", "edge, feed")
}

// Expiries that were computed by a wrong clock are computed again beside a candidate, in both.
func TestExpiriesBesideACandidate(t *testing.T) {
	r := newRig(t)
	r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone) // it has a rule that ends
	candidate := r.mustAsk(api.RolloutRequest{ConfirmSeconds: 86400},
		listYAML("three", "198.18.30.0/24"), api.RolloutWaiting)
	before := r.machine.did("Build")
	r.plane.Rows.Learn()
	r.step(time.Hour)
	r.tick(false)
	r.tick(false)
	if n := r.machine.did("Build") - before; n != 2 {
		t.Errorf("%d generations were built again, want both", n)
	}
	r.wantRoles("edge", "edge, three", "")
	if ro := r.rollout(candidate.ID); ro.State != api.RolloutWaiting {
		t.Errorf("the candidate is %+v", ro)
	}
}
