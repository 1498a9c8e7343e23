// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// Lengths of time stay what they were when the wall clock is set, forwards or backwards.
func TestA41DeadlinesMoveWithTheWallClock(t *testing.T) {
	for _, step := range []time.Duration{3 * time.Hour, -3 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			r := newRig(t)
			r.mustApply("one", api.ApplyOptions{})
			r.ban(scraper, time.Hour)
			if _, err := r.bypass.Set(ctx, root, api.BypassRequest{On: true, Service: "dns", ForSeconds: 3600}); err != nil {
				t.Fatal(err)
			}
			r.step(step)
			r.tick(false)
			s := r.state()
			bans := r.store.Bans().All()
			if left := bans[0].Expires.Sub(r.clock); len(bans) != 1 || left != time.Hour || bans[0].Reason != "test" {
				t.Errorf("a ban of an hour has %v left: %+v", left, bans)
			}
			if left := s.Bypass["dns"].Until.Sub(r.clock); left != time.Hour {
				t.Errorf("a bypass of an hour has %v left", left)
			}
			if _, err := r.bypass.Set(ctx, root, api.BypassRequest{Service: "dns"}); err != nil {
				t.Fatal(err)
			}
			r.tick(false)
			r.pass(10*time.Minute - time.Second)
			if r.knownGood() != "" {
				t.Error("a bake ended early")
			}
			r.pass(time.Second)
			if r.knownGood() != "one" {
				t.Error("a bake did not end in time")
			}
			r.mustApply("two", api.ApplyOptions{Confirm: 5 * time.Minute})
			r.step(step)
			r.pass(5*time.Minute - time.Second)
			r.wantRoles("one", "two", "")
			r.pass(time.Second)
			r.wantRoles("one", "", "")
		})
	}
}

// The expiry of a rule is wall time: with the wall clock set it is another moment of the kernel's clock.
func TestExpiriesAreRenewed(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	builds, number := r.machine.did("Build"), r.state().Applied.Number
	r.pass(time.Hour)
	r.step(time.Second)
	r.tick(false)
	if r.machine.did("Build") != builds {
		t.Error("built again for nothing")
	}
	r.step(-24 * time.Hour)
	r.tick(false)
	r.tick(false)
	if r.machine.did("Build") != builds+1 || r.state().Applied.Number <= number {
		t.Errorf("%d builds, applied %+v", r.machine.did("Build")-builds, r.state().Applied)
	}
	r.wantRoles("two", "", "one")
	r.wantLine("reload done")
	for _, c := range r.state().Compiled {
		if c.Number == r.state().Applied.Number && !c.Wall.Equal(r.clock) {
			t.Errorf("compiled at %v, it is %v", c.Wall, r.clock)
		}
	}
	// to a bundle that was compiled before the clock was set
	if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: ""}); err != nil {
		t.Fatal(err)
	}
	r.tick(false)
	if r.machine.did("Build") != builds+2 {
		t.Error("what was gone back to keeps expiries of the old clock")
	}
	r.wantRoles("one", "", "")
}

// A bundle whose rules do not end is left alone.
func TestClockDoesNotMatterWithoutExpiries(t *testing.T) {
	r := newRig(t)
	files := bundleYAML("one")
	text := strings.ReplaceAll(string(files[config.BundleFile]), ", expires: 2099-01-01T00:00:00Z", "")
	files[config.BundleFile] = []byte(text)
	if _, err := r.agent.Apply(ctx, root, "", files, api.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	r.step(time.Hour)
	r.tick(false)
	if r.machine.did("Build") != 1 {
		t.Error("built again for nothing")
	}
}
