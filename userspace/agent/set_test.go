// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// listYAML is a bundle without a policy.
func listYAML(name string, entries ...string) api.Files {
	text := "version: 1\nname: " + name + "\nrules: [{id: listed, label: reputation, score: 90}]\n" +
		"features:\n  prefixes:\n    - {list: daily, rule: listed, third_party: true, file: daily.netset}\n"
	return api.Files{config.BundleFile: []byte(text), "daily.netset": []byte(strings.Join(entries, "\n") + "\n")}
}

func (r *rig) ask(req api.RolloutRequest, files api.Files) (*api.Rollout, error) {
	return r.release.StartRollout(ctx, root, req, files)
}

func (r *rig) mustAsk(req api.RolloutRequest, files api.Files, want string) *api.Rollout {
	r.t.Helper()
	ro, err := r.ask(req, files)
	if err != nil {
		r.t.Fatalf("%+v: %v", req, err)
	}
	if ro.State != want {
		r.t.Fatalf("%+v is %s (%s), want %s", req, ro.State, ro.Message, want)
	}
	return ro
}

func (r *rig) wantSet(want string) {
	r.t.Helper()
	list, err := r.release.Bundles(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	var got []string
	for _, b := range list.Bundles {
		name := b.Name
		if b.Policy {
			name += "*"
		}
		got = append(got, name)
	}
	if text := strings.Join(got, " "); text != want {
		r.t.Errorf("in force are %q, want %q", text, want)
	}
}

func TestSetIsAppliedByName(t *testing.T) {
	r := newRig(t)
	r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone)
	r.wantSet("edge*")
	c := r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24"), api.RolloutDone)
	if len(c.Set) != 2 || c.Name != "feed" || c.Set[1].Digest != c.Digest {
		t.Errorf("%+v", c.Change)
	}
	r.wantSet("edge* feed")
	r.wantRoles("edge, feed", "", "edge")
	r.plane.Rows.Learn()
	rules, err := r.plane.Rows.Rules(ctx)
	if err != nil || rules.Rules[0].ID != "edge/bad" {
		t.Errorf("rules of the set: %+v, %v", rules, err)
	}
	// Replaced by name, and taken up after a restart.
	r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24", "198.18.8.0/24"), api.RolloutDone)
	r.wantSet("edge* feed")
	r.restart()
	r.wantSet("edge* feed")
	v, err := r.plane.Rows.Verify(ctx)
	if err != nil || !v.OK {
		t.Errorf("verify: %+v, %v", v, err)
	}
	if un := r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone); un.Outcome != api.OutcomeUnchanged {
		t.Errorf("a member again: %+v", un.Change)
	}
	// A reload compiles the set again.
	r.writeHost(strings.Replace(hostYAML, "allowlist: [", "allowlist: [{prefix: 198.18.8.0/24}, ", 1))
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	r.wantSet("edge* feed")
	// A rollback restores the set before.
	if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	r.wantRoles("edge, feed", "", "")
	r.mustAsk(api.RolloutRequest{Remove: "feed"}, nil, api.RolloutDone)
	r.wantSet("edge*")
	r.wantLine("remove applied")
	r.wantRoles("edge", "", "edge, feed")
	if s, _ := r.Status(ctx); s.Generations[0].Members != nil && s.Generations[0].Role == "stable" {
		t.Error("a set of one looks like more")
	}
	r.plane.Rows.Learn()
	if rules, err := r.plane.Rows.Rules(ctx); err != nil || rules.Rules[0].ID != "bad" {
		t.Errorf("rules of a set of one: %+v, %v", rules, err)
	}
}

func TestSetRefusals(t *testing.T) {
	r := newRig(t)
	r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone)
	_, err := r.ask(api.RolloutRequest{}, bundleYAML("other"))
	if e := wantCode(t, err, api.CodeRefused); !strings.Contains(fmt.Sprint(e.Faults.List),
		"edge and other both have a policy") {
		t.Errorf("%+v", e)
	}
	_, err = r.ask(api.RolloutRequest{Remove: "edge"}, nil)
	wantCode(t, err, api.CodeRefused) // the only one
	r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24"), api.RolloutDone)
	_, err = r.ask(api.RolloutRequest{Remove: "edge"}, nil)
	if e := wantCode(t, err, api.CodeRefused); !strings.Contains(e.Message, "edge has the policy, and feed would stay") {
		t.Errorf("%+v", e)
	}
	_, err = r.ask(api.RolloutRequest{Remove: "none"}, nil)
	wantCode(t, err, api.CodeNotFound)
	r.wantSet("edge* feed")
	// The bundle with the policy changes its name in one step.
	r.mustAsk(api.RolloutRequest{Remove: "edge"}, bundleYAML("front"), api.RolloutDone)
	r.wantSet("feed front*")
}

func TestSetWithoutPolicy(t *testing.T) {
	r := newRig(t)
	c := r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24"), api.RolloutDone)
	if !strings.Contains(strings.Join(c.Details, " "), "feed has no policy: it counts, and blocks nobody") {
		t.Errorf("nobody says that it never blocks: %+v", c.Change)
	}
	r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone)
	r.wantSet("edge* feed")
}

// Quarantine is of the bundle that was added, whatever stands beside it.
func TestSetQuarantine(t *testing.T) {
	r := newRig(t)
	r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone)
	r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24"), api.RolloutDone)
	if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: "it blocked us"}); err != nil {
		t.Fatal(err)
	}
	_, err := r.ask(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24"))
	wantCode(t, err, api.CodeHeld)
	r.mustAsk(api.RolloutRequest{}, listYAML("other", "198.18.7.0/24"), api.RolloutDone)
	if un := r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone); un.Outcome != api.OutcomeUnchanged {
		t.Errorf("what stayed is in quarantine: %+v", un)
	}
	// The same after a candidate that nobody confirmed.
	r.mustAsk(api.RolloutRequest{ConfirmSeconds: 60}, listYAML("third", "198.18.9.0/24"), api.RolloutWaiting)
	r.pass(time.Minute)
	_, err = r.ask(api.RolloutRequest{}, listYAML("third", "198.18.9.0/24"))
	wantCode(t, err, api.CodeHeld)
	r.wantSet("edge* other")
}

// A set bakes, and comes back from disk with an empty kernel.
func TestSetIsLastKnownGood(t *testing.T) {
	r := newRig(t)
	r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone)
	r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24"), api.RolloutDone)
	r.pass(10 * time.Minute)
	if got := r.knownGood(); got != "edge, feed" {
		t.Fatalf("last-known-good is %q", got)
	}
	for i := range 30 { // what is pruned is not of the set
		r.mustAsk(api.RolloutRequest{}, listYAML("feed", fmt.Sprintf("198.18.%d.0/24", i)), api.RolloutDone)
	}
	r.stop()
	r.machine = newMachine(func() time.Time { return r.clock })
	r.start()
	r.wantSet("edge* feed")
	if got := r.state().Applied; got.Name() != "edge, feed" || len(got.Members) != 2 {
		t.Errorf("from disk came %+v", got)
	}
}

// Without a bundle of the set on disk the next apply would lose it, and is refused; that bundle itself is not.
func TestSetWithALostBundle(t *testing.T) {
	r := newRig(t)
	edge := r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone)
	r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24"), api.RolloutDone)
	r.loseBundle(edge.Digest)
	_, err := r.ask(api.RolloutRequest{}, listYAML("feed", "198.18.8.0/24"))
	if e := wantCode(t, err, api.CodeConflict); !strings.Contains(e.Message, "edge of the set in force is not on disk") {
		t.Errorf("%+v", e)
	}
	r.mustAsk(api.RolloutRequest{}, bundleYAML("edge", "198.18.1.0/24"), api.RolloutDone)
	r.wantSet("edge* feed")
}

// One member goes back to its version before, and the others stay; a candidate that is about it is ended instead.
func TestRollbackOfOneBundle(t *testing.T) {
	r := newRig(t)
	back := func(name string) (*api.Change, error) {
		return r.release.Rollback(ctx, root, api.RollbackRequest{Bundle: name, Reason: "bad rows"})
	}
	r.mustAsk(api.RolloutRequest{}, bundleYAML("edge"), api.RolloutDone)
	first := r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24"), api.RolloutDone)
	second := r.mustAsk(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24", "198.18.8.0/24"), api.RolloutDone)
	edge := r.mustAsk(api.RolloutRequest{}, bundleYAML("edge", "198.18.1.0/24"), api.RolloutDone)
	c, err := back("feed")
	if err != nil || c.Name != "feed" || c.Digest != first.Digest {
		t.Fatalf("%+v, %v", c, err)
	}
	r.wantLine("rollback applied")
	list, err := r.release.Bundles(ctx)
	if err != nil || list.Bundles[0].Digest != edge.Digest || list.Bundles[1].Digest != first.Digest {
		t.Errorf("in force are %+v, %v", list.Bundles, err)
	}
	_, err = r.ask(api.RolloutRequest{}, listYAML("feed", "198.18.7.0/24", "198.18.8.0/24"))
	if e := wantCode(t, err, api.CodeHeld); e.Holds[0].Code != "quarantined" {
		t.Errorf("%+v, of %s", e.Holds, second.Digest)
	}
	r.mustAsk(api.RolloutRequest{ConfirmSeconds: 300}, listYAML("feed", "198.18.9.0/24"), api.RolloutWaiting)
	if _, err := back("feed"); err != nil {
		t.Fatal(err)
	}
	r.wantRoles("edge, feed", "", "edge, feed")
	_, err = back("none")
	wantCode(t, err, api.CodeNotFound)
	r.mustAsk(api.RolloutRequest{}, listYAML("new", "198.18.40.0/24"), api.RolloutDone)
	_, err = back("new")
	wantCode(t, err, api.CodeNoPrevious)
}
