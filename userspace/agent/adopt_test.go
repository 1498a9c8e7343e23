// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

// A kernel that refuses for a moment at a start (no memory, say) must not leave the host open until a person comes by.
func TestAdoptionIsTriedAgain(t *testing.T) {
	for _, call := range []string{"BuildHost", "Build", "Publish", "Ban"} {
		t.Run(call, func(t *testing.T) {
			r := newRig(t)
			r.mustApply("one", api.ApplyOptions{})
			r.pass(10 * time.Minute)
			if _, err := r.bypass.Set(ctx, root, api.BypassRequest{On: true, Service: "web"}); err != nil {
				t.Fatal(err)
			}
			if _, err := r.bans.Ban(ctx, root, api.BanRequest{Prefix: "198.51.100.7/32", ForSeconds: 36000}); err != nil {
				t.Fatal(err)
			}
			r.stop()
			r.machine = newMachine(func() time.Time { return r.clock })
			r.machine.fail[call] = fmt.Errorf("%s: %w", call, unix.ENOMEM)
			r.start()
			r.pass(2 * time.Second)
			if call != "Ban" && r.role("stable") != "" {
				t.Fatal("the failure did not happen")
			}
			if len(r.store.Bans().All()) != 1 || len(r.state().Bypass) != 1 {
				t.Errorf("forgotten while the kernel refused: bans %v, bypass %v", r.store.Bans().All(), r.state().Bypass)
			}
			delete(r.machine.fail, call)
			r.pass(2 * time.Minute)
			r.wantRoles("one", "", "")
			if len(r.machine.bans) != 1 {
				t.Error("the ban did not come back")
			}
			if !r.machine.ServiceBypass(1).Active() {
				t.Error("the bypass of the service did not come back")
			}
			publishes := r.machine.did("Publish")
			r.pass(10 * time.Minute)
			if r.machine.did("Publish") != publishes {
				t.Error("it goes on trying")
			}
			if s, _ := r.Status(ctx); hasProblem(s, ledger.ProblemBans) || hasProblem(s, ledger.ProblemHost) ||
				hasProblem(s, ledger.ProblemLKG) {
				t.Errorf("problems %v", s.Problems)
			}
		})
	}
}

// However many bundles are built and not kept, the stable one can be compared row by row after a restart.
func TestStableIsVerifiableAfterManyCandidates(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	for i := range 12 {
		name := []string{"two", "three"}[i%2]
		r.mustApply(name, api.ApplyOptions{Confirm: time.Minute, Accept: "test"})
		if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: ""}); err != nil {
			t.Fatal(err)
		}
	}
	r.restart()
	v, err := r.plane.Rows.Verify(ctx)
	if err != nil || !v.OK {
		t.Errorf("verification %+v, %v", v, err)
	}
}

// A kernel that refuses for a moment while an agent starts costs no candidate: its lease is renewed once it answers.
func TestAdoptionOfACandidateIsTriedAgain(t *testing.T) {
	r := newRig(t)
	r.writeHost(strings.Replace(hostYAML, "lease: 5s", "lease: 1m", 1))
	r.restart()
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{Confirm: time.Hour})
	r.stop()
	r.machine.lease = loader.In(30 * time.Second)
	r.machine.fail["Generations"] = unix.EAGAIN
	r.start()
	if left := r.machine.Lease().Left(); left > 30*time.Second {
		t.Fatalf("the kernel refused, and the lease was renewed: %s", left)
	}
	delete(r.machine.fail, "Generations")
	r.pass(2 * time.Second)
	if left := r.machine.Lease().Left(); left <= 30*time.Second {
		t.Errorf("nobody renews the lease: %s", left)
	}
	r.wantRoles("one", "two", "")
}
