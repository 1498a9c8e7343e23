// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

// A disk that comes after the agent is used, and what is on it counts: last-known-good for a kernel that holds nothing.
func TestDiskThatComesLater(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.mustApply("two", api.ApplyOptions{})
	if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: "login broke"}); err != nil {
		t.Fatal(err)
	}
	r.stop()
	folder, away := filepath.Join(r.dir, "state"), filepath.Join(r.dir, "away")
	if err := os.Rename(folder, away); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	r.machine = newMachine(func() time.Time { return r.clock })
	r.start()
	r.wantRoles("", "", "")
	if s, _ := r.Status(ctx); !hasProblem(s, ledger.ProblemState) {
		t.Errorf("problems %v", s.Problems)
	}
	r.pass(time.Minute)
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, folder); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Minute)
	r.pass(time.Minute)
	r.wantRoles("one", "", "")
	if s, _ := r.Status(ctx); hasProblem(s, ledger.ProblemState) || !s.Protected {
		t.Errorf("problems %v", s.Problems)
	}
	if q := r.state().Quarantine; len(q) != 1 || q[0].Reason != "login broke" {
		t.Errorf("quarantine %+v", q)
	}
	r.mustApply("three", api.ApplyOptions{})
	r.restart()
	r.wantRoles("three", "", "one")
}
