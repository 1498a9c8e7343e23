// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
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
		{"every row twice", bundleYAML("x", "198.51.100.0/24"), api.CodeRefused, yaml.CodeDuplicate},
		{"over capacity", bundleYAML("x", many...), api.CodeRefused, yaml.CodeCapacity},
		{"own address", bundleYAML("x", "192.0.2.1"), api.CodeRefused, yaml.CodeProtected},
		{"protected", bundleYAML("x", "203.0.113.4"), api.CodeRefused, yaml.CodeProtected},
		{"no file", api.Files{config.BundleFile: bundleYAML("x")[config.BundleFile]}, api.CodeRefused, yaml.CodeFile},
		{"no yaml", api.Files{config.BundleFile: []byte("\x00")}, api.CodeRefused, yaml.CodeSyntax},
	} {
		_, err := r.agent.Apply(ctx, root, "", row.files, api.ApplyOptions{Accept: "a reason accepts no refusal"})
		wantCode(t, err, row.code)
		var faults *yaml.Faults
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
	r.release.Change().Lock()
	calls := map[string]func() error{
		"confirm": func() error { return second(r.agent.Confirm(ctx, root, "")) },
		"reload":  func() error { return second(r.Reload(ctx, root, api.ReloadRequest{})) },
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
	if c := r.mustApply("one", api.ApplyOptions{}); c.Outcome != api.OutcomeQueued {
		t.Errorf("an apply waits: %+v", c)
	}
	for what, err := range got {
		if e := wantCode(t, err, api.CodeBusy); e.Fix == "" {
			t.Errorf("%s: no way out", what)
		}
	}
	if _, err := r.agent.bypass.Set(ctx, root, api.BypassRequest{On: true}); err != nil {
		t.Errorf("who panics must not wait: %v", err)
	}
	if _, err := r.agent.bans.Ban(ctx, root, api.BanRequest{Prefix: "198.51.100.9"}); err != nil {
		t.Errorf("a ban must not wait: %v", err)
	}
	r.tick(false) // must not wait either
	r.release.Change().Unlock()
	r.tick(false)
	r.wantRoles("one", "", "")
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
		if s, _ := r.Status(ctx); hasProblem(s, ledger.ProblemState) || !s.Protected {
			t.Errorf("operation %d: problems %v", n, s.Problems)
		}
		want := r.role("stable")
		r.restart()
		r.wantRoles(want, "", r.role("previous"))
		if r.state().Applied.Name() != want {
			t.Errorf("operation %d: the record has %q, the kernel %q", n, r.state().Applied.Name(), want)
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
	p, err := r.agent.release.Plan(ctx, api.PlanRequest{Name: "b.yaml"}, bundleYAML("one"))
	if err != nil || !p.Changes || p.Against != nil || p.Added == 0 || p.Removed != 0 {
		t.Errorf("against nothing: %+v, %v", p, err)
	}
	r.mustApply("one", api.ApplyOptions{})
	if p, err = r.agent.release.Plan(ctx, api.PlanRequest{Name: "b.yaml"}, bundleYAML("one")); err != nil ||
		p.Changes || len(p.Rows) != 0 {
		t.Errorf("against itself: %+v, %v", p, err)
	}
	p, err = r.agent.release.Plan(ctx, api.PlanRequest{Name: "b.yaml", Remove: "one"}, bundleYAML("two", "198.18.0.0/24"))
	if err != nil || !p.Changes || p.Added != 1 || p.Changed != 1 || p.Against.Name != "one" {
		t.Errorf("%+v, %v", p, err)
	}
	want := api.PlanRow{Op: "added", What: "prefix", List: "own", Name: "198.18.0.0/24", To: "bad"}
	if p.Rows[1] != want {
		t.Errorf("rows %+v", p.Rows)
	}
	if r.machine.did("Build") != 1 {
		t.Error("a plan built something")
	}
	_, err = r.agent.release.Plan(ctx, api.PlanRequest{Name: "b.yaml", Remove: "one"}, bundleYAML("x", "198.51.100.0/24"))
	wantCode(t, err, api.CodeRefused)
	_, err = r.agent.release.Plan(ctx, api.PlanRequest{Name: "b.yaml"}, bundleYAML("x"))
	if e := wantCode(t, err, api.CodeRefused); !strings.Contains(fmt.Sprint(e.Faults.List),
		"one and x both have a policy") {
		t.Errorf("two policies: %v", e.Faults)
	}
}

// A rollback is for an emergency: it waits for no bundle that is being built, and that one is not published afterwards.
func TestRollbackDuringAnApply(t *testing.T) {
	for _, confirm := range []time.Duration{0, time.Minute} {
		r := newRig(t)
		r.mustApply("one", api.ApplyOptions{})
		r.mustApply("two", api.ApplyOptions{})
		r.machine.during = map[string]func(){"Build": func() {
			if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: "login broke"}); err != nil {
				t.Errorf("rollback while a bundle is built: %v", err)
			}
		}}
		_, err := r.apply("three", api.ApplyOptions{Confirm: confirm})
		wantCode(t, err, api.CodeConflict)
		r.machine.during = nil
		r.wantRoles("one", "", "")
		if s := r.state(); s.Applied.Name() != "one" || s.Confirm != nil || r.machine.Lease().Active() {
			t.Errorf("record %+v, lease %v", s.Applied, r.machine.Lease())
		}
		r.mustApply("three", api.ApplyOptions{})
	}
}

// The same while a bundle is still being read: whoever goes back does not want what was sent before.
func TestRollbackBeforeAnApplyHasTheLock(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	own := r.opts.own
	r.opts.own = func() ([]netip.Addr, error) { // asked for while a bundle is parsed, and again when it is built
		r.opts.own = own
		_, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: "login broke"})
		return nil, err
	}
	_, err := r.apply("three", api.ApplyOptions{})
	wantCode(t, err, api.CodeConflict)
	r.wantRoles("one", "", "")
}

// A host file that is being published when somebody goes back is published for what is in force then.
func TestRollbackDuringAReload(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	r.machine.during = map[string]func(){"Build": func() {
		r.machine.during = nil
		if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: ""}); err != nil {
			t.Error(err)
		}
	}}
	_, err := r.Reload(ctx, root, api.ReloadRequest{})
	wantCode(t, err, api.CodeConflict)
	r.wantRoles("one", "", "")
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Error(err)
	}
	r.wantRoles("one", "", "")
}

// A signal has nobody to tell that it came at a bad time: the reload waits for the change that runs.
func TestHangUpDuringAnApply(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.writeHost(strings.ReplaceAll(hostYAML, "enforce", "observe"))
	r.release.Change().Lock()
	r.hungUp.Store(true)
	for range 3 {
		r.hangUp(ctx)
	}
	if r.machine.control.Mode != bpf.ModeEnforce || !r.hungUp.Load() {
		t.Error("it did not wait")
	}
	r.release.Change().Unlock()
	r.hangUp(ctx)
	if r.machine.control.Mode != bpf.ModeObserve || r.hungUp.Load() {
		t.Error("the host file was not read when the change had ended")
	}
	r.wantLine("reload done")
	before := r.machine.did("Publish")
	r.hangUp(ctx)
	if r.machine.did("Publish") != before {
		t.Error("one signal is two reloads")
	}
}

// A change that ran into its agent's end must not wait for it: the end waits for the change.
func TestChangeDuringTheEnd(t *testing.T) {
	for name, change := range map[string]func(*rig) error{
		"apply":    func(r *rig) error { return second(r.apply("one", api.ApplyOptions{})) },
		"reload":   func(r *rig) error { return second(r.Reload(ctx, root, api.ReloadRequest{})) },
		"rollback": func(r *rig) error { return second(r.back(api.ToObserve, "")) },
	} {
		t.Run(name, func(t *testing.T) { changeDuringTheEnd(t, change) })
	}
}

func changeDuringTheEnd(t *testing.T, change func(*rig) error) {
	r := newRig(t)
	ended := make(chan struct{})
	r.machine.during = map[string]func(){"Publish": func() {
		go func() { defer close(ended); r.plane.Close() }()
		eventually(t, "the end waits", func() error {
			if !r.plane.Ending() {
				return errors.New("not yet")
			}
			return nil
		})
	}}
	done := make(chan error, 1)
	go func() { done <- change(r) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
		<-ended
	case <-time.After(20 * time.Second):
		t.Fatal("the change and the end wait for each other")
	}
}

// What its sender has given up is not done: the agent may have hung meanwhile.
func TestLateChanges(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	r.ban(scraper, time.Hour)
	late := api.WithDeadline(ctx, time.Now().Add(-time.Second))
	control, bans := r.machine.control, len(r.machine.bans)
	for what, call := range map[string]func() error{
		"apply": func() error {
			return second(r.agent.Apply(late, root, "", bundleYAML("three"), api.ApplyOptions{}))
		},
		"confirm":  func() error { return second(r.agent.Confirm(late, root, "")) },
		"withdraw": func() error { return second(r.release.EndRollout(late, root, "2", "")) },
		"rollback": func() error { return second(r.release.Rollback(late, root, api.RollbackRequest{Reason: ""})) },
		"reload":   func() error { return second(r.Reload(late, root, api.ReloadRequest{})) },
		"bypass":   func() error { return second(r.bypass.Set(late, root, api.BypassRequest{On: true})) },
		"ban":      func() error { return second(r.agent.bans.Ban(late, root, api.BanRequest{Prefix: "198.51.100.9"})) },
		"unban":    func() error { return second(r.bans.Unban(late, root, scraper.String(), "")) },
	} {
		if e := wantCode(t, call(), api.CodeCancelled); !strings.Contains(e.Message, "too late") {
			t.Errorf("%s: %v", what, e)
		}
	}
	if r.machine.control != control || len(r.machine.bans) != bans || r.machine.Bypass().Active() {
		t.Errorf("control %+v, was %+v; %d bans, bypass %v", r.machine.control, control, len(r.machine.bans),
			r.machine.Bypass().Active())
	}
	in := api.WithDeadline(ctx, time.Now().Add(time.Hour))
	if _, err := r.release.Rollback(in, root, api.RollbackRequest{}); err != nil {
		t.Errorf("in time: %v", err)
	}
}

// An apply that was built too long for its sender is not published.
func TestApplyThatBecomesLate(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	until := time.Now().Add(200 * time.Millisecond)
	r.machine.during = map[string]func(){"Build": func() { time.Sleep(time.Until(until)) }}
	_, err := r.agent.Apply(api.WithDeadline(ctx, until), root, "", bundleYAML("two"), api.ApplyOptions{})
	wantCode(t, err, api.CodeCancelled)
	r.wantRoles("one", "", "")
}

// The agent's own tick holds the lock for a moment: a change waits for it instead of failing.
func TestChangeWaitsForATick(t *testing.T) {
	r := newRig(t)
	r.release.Change().Lock()
	time.AfterFunc(20*time.Millisecond, r.release.Change().Unlock)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	r.release.Change().Lock()
	time.AfterFunc(20*time.Millisecond, r.release.Change().Unlock)
	if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: ""}); err != nil {
		t.Error(err)
	}
}
