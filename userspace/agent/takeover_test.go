// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/migrate"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

// upgrade empties the kernel's maps, as those of another layout are, beside a dataplane that decides.
func (r *rig) upgrade(p *migrate.Predecessor) {
	r.t.Helper()
	r.stop()
	links := r.machine.links
	r.machine = newMachine(func() time.Time { return r.clock })
	r.machine.links, r.machine.before = links, p
	r.start()
}

// F2: host file and bundles are built from disk beside what decides, what it knows is carried over, and then one store.
func TestF2UpgradeTakesOver(t *testing.T) {
	for _, row := range []struct {
		name             string
		before           func(one, two migrate.Resident) *migrate.Predecessor
		stable, previous string
	}{
		{"its slots can be read", func(one, two migrate.Resident) *migrate.Predecessor {
			return &migrate.Predecessor{Layout: 3, Known: true, Stable: &two, Previous: &one}
		}, "two", "one"},
		{"it was rolled back while no agent ran", func(one, _ migrate.Resident) *migrate.Predecessor {
			return &migrate.Predecessor{Layout: 3, Known: true, Stable: &one}
		}, "one", ""},
		{"only the record knows", func(_, _ migrate.Resident) *migrate.Predecessor {
			return &migrate.Predecessor{Layout: 2, Links: []string{"eth0"}}
		}, "two", "one"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			one, two := r.mustApply("one", api.ApplyOptions{}), r.mustApply("two", api.ApplyOptions{})
			r.upgrade(row.before(migrate.Resident{Digest: one.Digest, Number: one.Number},
				migrate.Resident{Digest: two.Digest, Number: two.Number}))
			if row.stable != "" {
				r.wantRoles(row.stable, "", row.previous)
			}
			if r.machine.did("TakeOver") != 1 || r.machine.did("CarryOver") != 1 {
				t.Errorf("calls %v", r.machine.calls)
			}
			s, err := r.Status(ctx)
			if err != nil || s.Mode != "enforce" || len(s.Services) == 0 || hasProblem(s, ledger.ProblemKernel) {
				t.Errorf("status %+v, %v", s, err)
			}
			entries, _, _ := r.store.History(10)
			found := false
			for _, e := range entries {
				found = found || e.Verb == "upgrade" && e.Outcome == api.OutcomeDone &&
					strings.Contains(strings.Join(e.Detail, " "), "layout")
			}
			if !found {
				t.Errorf("no line of the upgrade: %+v", entries)
			}
		})
	}
}

// F2: where the stable bundle cannot be built from disk the dataplane before goes on, does not take the agent for dead,
// and status says so. When the bundle is back, the agent takes over.
func TestF2UpgradeIsHeldWithoutTheBundle(t *testing.T) {
	r := newRig(t)
	one := r.mustApply("one", api.ApplyOptions{})
	path := filepath.Join(r.dir, "state", "bundles", strings.TrimPrefix(one.Digest.String(), "sha256:"))
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	r.upgrade(&migrate.Predecessor{Layout: 2, Known: true, Stable: &migrate.Resident{Digest: one.Digest}})
	if r.machine.did("TakeOver") != 0 {
		t.Error("it took over without the bundle")
	}
	s, err := r.Status(ctx)
	if err != nil || s.Protected || !hasProblem(s, ledger.ProblemKernel) ||
		!strings.Contains(s.Problems[0].Message, "layout 2 goes on") {
		t.Errorf("status %+v, %v", s, err)
	}
	if s.State != api.StateUnknown || !strings.Contains(s.Says, "another layout") || len(s.Interfaces) != 1 ||
		s.Interfaces[0].State != loader.StateAttached || s.Interfaces[0].Decides {
		t.Errorf("state %s, %q, interfaces %+v", s.State, s.Says, s.Interfaces)
	}
	if r.machine.Heartbeat() != 0 {
		t.Error("the agent looks dead to what decides")
	}
	if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{}); err == nil {
		t.Error("a rollback of what cannot be read")
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	r.pass(2 * time.Minute)
	r.wantRoles("one", "", "")
	if s, _ := r.Status(ctx); !s.Protected || hasProblem(s, ledger.ProblemKernel) {
		t.Errorf("problems %v", s.Problems)
	}
}

// F2: a candidate does not come along: it is held, as one whose agent was gone.
func TestF2UpgradeHoldsACandidate(t *testing.T) {
	r := newRig(t)
	one := r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{Confirm: 5 * time.Minute})
	r.upgrade(&migrate.Predecessor{Layout: 3, Known: true, Stable: &migrate.Resident{Digest: one.Digest}})
	r.wantRoles("one", "", "")
	if held := r.state().Held; held == nil || held.Name() != "two" {
		t.Errorf("held %+v", held)
	}
	if q := r.state().Quarantine; len(q) != 0 {
		t.Errorf("an upgrade condemned a bundle: %+v", q)
	}
}
