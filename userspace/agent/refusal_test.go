// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

func TestRefusalKeepsEverything(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	control, record := r.machine.control, r.state()
	var rows []string
	for i := range 300 {
		rows = append(rows, fmt.Sprintf("203.0.%d.0/24", i%256))
	}
	var many []string
	for i := range 1001 {
		many = append(many, fmt.Sprintf("198.18.%d.%d", i/256, i%256))
	}
	for _, row := range []struct {
		name  string
		files api.Files
		code  string
		want  string
	}{
		{"every row twice", bundleYAML("x", "198.51.100.0/24"), api.CodeRefused, config.CodeDuplicate},
		{"over capacity", bundleYAML("x", many...), api.CodeRefused, config.CodeCapacity},
		{"own address", bundleYAML("x", "192.0.2.1"), api.CodeRefused, config.CodeProtected},
		{"protected", bundleYAML("x", "203.0.113.4"), api.CodeRefused, config.CodeProtected},
		{"no file", api.Files{config.BundleFile: bundleYAML("x")[config.BundleFile]}, api.CodeRefused, config.CodeFile},
		{"no yaml", api.Files{config.BundleFile: []byte("\x00")}, api.CodeRefused, config.CodeSyntax},
	} {
		_, err := r.agent.Apply(ctx, root, "", row.files, api.ApplyOptions{Accept: "a reason accepts no refusal"})
		wantCode(t, err, row.code)
		var faults *config.Faults
		if !errors.As(err, &faults) || !faults.Has(row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
		r.wantLine("apply refused")
	}
	_, err := r.agent.Apply(ctx, root, "", bundleYAML("grown", rows[:100]...), api.ApplyOptions{})
	if e := wantCode(t, err, api.CodeHeld); e.Holds[0].Code != config.HoldGrowth {
		t.Errorf("holds %+v", e.Holds)
	}
	for _, call := range []string{"Generations", "Build", "Publish"} {
		r.machine.fail[call] = errors.New("kernel says no")
		if _, err := r.apply("two", api.ApplyOptions{}); err == nil {
			t.Errorf("apply with a failing %s", call)
		}
		if _, err := r.apply("two", api.ApplyOptions{Confirm: time.Minute}); err == nil {
			t.Errorf("apply --confirm with a failing %s", call)
		}
		delete(r.machine.fail, call)
	}
	r.machine.fail["Build"] = fmt.Errorf("rules: %w", loader.ErrCapacity)
	_, err = r.apply("two", api.ApplyOptions{})
	wantCode(t, err, api.CodeRefused)
	if r.machine.control != control {
		t.Errorf("control %+v, was %+v", r.machine.control, control)
	}
	if now := r.state(); now.Applied.Digest != record.Applied.Digest || now.Confirm != nil || r.machine.Lease().Active() {
		t.Errorf("record %+v, lease %v", now, r.machine.Lease())
	}
}

func TestOneChangeAtATime(t *testing.T) {
	r := newRig(t)
	r.change.Lock()
	calls := map[string]func() error{
		"apply":    func() error { return second(r.apply("one", api.ApplyOptions{})) },
		"rollback": func() error { return second(r.Rollback(ctx, root, "")) },
		"confirm":  func() error { return second(r.agent.Confirm(ctx, root, "")) },
		"reload":   func() error { return second(r.Reload(ctx, root, "")) },
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	got := map[string]error{}
	for what, call := range calls { // beside each other: each waits as long as a tick may take
		all.Go(func() {
			err := call()
			mu.Lock()
			defer mu.Unlock()
			got[what] = err
		})
	}
	all.Wait()
	for what, err := range got {
		if e := wantCode(t, err, api.CodeBusy); e.Fix == "" {
			t.Errorf("%s: no way out", what)
		}
	}
	if _, err := r.agent.Bypass(ctx, root, api.BypassRequest{On: true}); err != nil {
		t.Errorf("who panics must not wait: %v", err)
	}
	if _, err := r.agent.Ban(ctx, root, api.BanRequest{Prefix: "198.51.100.9"}); err != nil {
		t.Errorf("a ban must not wait: %v", err)
	}
	r.tick(false) // must not wait either
	r.change.Unlock()
	r.mustApply("one", api.ApplyOptions{})
}

func second[T any](_ T, err error) error { return err }

// A disk that is full at the Nth operation, for every N: an apply happens whole or not at all, and the kernel and the
// record agree as soon as the disk has room again.
func TestDiskFullDuringApply(t *testing.T) {
	for n := 1; ; n++ {
		r := newRig(t)
		r.mustApply("one", api.ApplyOptions{})
		count := 0
		r.fault = func(string, string) error {
			if count++; count >= n {
				return syscall.ENOSPC
			}
			return nil
		}
		c, err := r.apply("two", api.ApplyOptions{})
		reached := count >= n
		r.fault = nil
		switch {
		case err != nil:
			r.wantRoles("one", "", "")
		default:
			r.wantRoles("two", "", "one")
		}
		r.pass(saveInterval)
		if s, _ := r.status(withPackets | withMaps); hasProblem(s, problemState) || !s.Protected {
			t.Errorf("operation %d: problems %v", n, s.Problems)
		}
		want := r.role("stable")
		r.restart()
		r.wantRoles(want, "", r.role("previous"))
		if r.state().Applied.Name != want {
			t.Errorf("operation %d: the record has %q, the kernel %q", n, r.state().Applied.Name, want)
		}
		r.stop()
		if !reached {
			if n < 8 || err != nil || len(c.Details) > 0 {
				t.Errorf("only %d operations could fail; %+v, %v", n-1, c, err)
			}
			return
		}
	}
}

func TestPlan(t *testing.T) {
	r := newRig(t)
	p, err := r.agent.Plan(ctx, "b.yaml", bundleYAML("one"))
	if err != nil || !p.Changes || p.Against != nil || p.Added == 0 || p.Removed != 0 {
		t.Errorf("against nothing: %+v, %v", p, err)
	}
	r.mustApply("one", api.ApplyOptions{})
	if p, err = r.agent.Plan(ctx, "b.yaml", bundleYAML("one")); err != nil || p.Changes || len(p.Rows) != 0 {
		t.Errorf("against itself: %+v, %v", p, err)
	}
	p, err = r.agent.Plan(ctx, "b.yaml", bundleYAML("two", "198.18.0.0/24"))
	if err != nil || !p.Changes || p.Added != 1 || p.Changed != 1 || p.Against.Name != "one" {
		t.Errorf("%+v, %v", p, err)
	}
	if want := (api.PlanRow{Op: "added", What: "prefix", List: "own", Name: "198.18.0.0/24", To: "bad"}); p.Rows[1] != want {
		t.Errorf("rows %+v", p.Rows)
	}
	if r.machine.did("Build") != 1 {
		t.Error("a plan built something")
	}
	_, err = r.agent.Plan(ctx, "b.yaml", bundleYAML("x", "198.51.100.0/24"))
	wantCode(t, err, api.CodeRefused)
}

// The agent's own tick holds the lock for a moment: a change waits for it instead of failing.
func TestChangeWaitsForATick(t *testing.T) {
	r := newRig(t)
	r.change.Lock()
	time.AfterFunc(20*time.Millisecond, r.change.Unlock)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	r.change.Lock()
	time.AfterFunc(20*time.Millisecond, r.change.Unlock)
	if _, err := r.Rollback(ctx, root, ""); err != nil {
		t.Error(err)
	}
}
