// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

var ctx = context.Background()

func TestApplyBakesIntoLastKnownGood(t *testing.T) {
	r := newRig(t)
	if s, _ := r.status(); s.Protected || s.Mode != "observe" || len(s.Services) != 2 {
		t.Errorf("before the first bundle: %+v", s)
	}
	c := r.mustApply("one", api.ApplyOptions{Reason: "first"})
	if c.Outcome != api.OutcomeApplied || c.Number != 1 || !c.BakeUntil.Equal(r.clock.Add(10*time.Minute)) {
		t.Errorf("change %+v", c)
	}
	r.wantLine("apply applied")
	if s, _ := r.status(); !s.Protected || s.Bake == nil {
		t.Errorf("after it: protected %v, bake %v, problems %v", s.Protected, s.Bake, s.Problems)
	}
	r.pass(10*time.Minute - time.Second)
	if r.knownGood() != "" {
		t.Error("last-known-good before the bake is over")
	}
	r.pass(time.Second)
	if r.knownGood() != "one" {
		t.Error("not last-known-good after the bake")
	}
	r.wantLine("bake done")
	again := r.mustApply("one", api.ApplyOptions{})
	if again.Outcome != api.OutcomeUnchanged || r.machine.did("Publish") != 2 {
		t.Errorf("the same again: %+v, %d publishes", again, r.machine.did("Publish"))
	}
	r.mustApply("two", api.ApplyOptions{})
	r.wantRoles("two", "", "one")
	if r.knownGood() != "one" {
		t.Error("a bundle is last-known-good at once")
	}
}

func TestRollbackBeforeBakeKeepsLastKnownGood(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.mustApply("two", api.ApplyOptions{})
	c, err := r.Rollback(ctx, root, "login broke")
	if err != nil || c.Name != "one" {
		t.Fatalf("%+v, %v", c, err)
	}
	r.wantLine("rollback done")
	r.wantRoles("one", "", "")
	r.pass(time.Hour)
	if r.knownGood() != "one" || r.state().Applied.Name != "one" {
		t.Errorf("last-known-good %q, applied %q", r.knownGood(), r.state().Applied.Name)
	}
	_, err = r.apply("two", api.ApplyOptions{})
	e := wantCode(t, err, api.CodeHeld)
	if len(e.Holds) != 1 || e.Holds[0].Code != "quarantined" || !strings.Contains(e.Holds[0].Text, "login broke") {
		t.Errorf("holds %+v", e.Holds)
	}
	r.wantLine("apply held")
	r.mustApply("two", api.ApplyOptions{Accept: "fixed the login"})
	r.mustApply("three", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	_, err = r.Rollback(ctx, root, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Rollback(ctx, root, "")
	wantCode(t, err, api.CodeNoPrevious)
}

// What was left must not come back with a reboot, although it had baked.
func TestRollbackAfterBakeMovesLastKnownGood(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.mustApply("two", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	if r.knownGood() != "two" {
		t.Fatal("two has not baked")
	}
	if _, err := r.Rollback(ctx, root, ""); err != nil {
		t.Fatal(err)
	}
	if r.knownGood() != "one" {
		t.Errorf("last-known-good is %q", r.knownGood())
	}
	r.reboot()
	r.wantRoles("one", "", "")
}

// reboot empties the kernel.
func (r *rig) reboot() {
	r.t.Helper()
	r.stop()
	r.machine = newMachine(func() time.Time { return r.clock })
	r.start()
}

func TestConfirm(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	c := r.mustApply("two", api.ApplyOptions{Confirm: 5 * time.Minute})
	if c.Outcome != api.OutcomeCandidate || !c.Deadline.Equal(r.clock.Add(5*time.Minute)) {
		t.Errorf("%+v", c)
	}
	r.wantRoles("one", "two", "")
	if r.machine.control.Canary != 1000 || !r.machine.Lease().Active() || r.machine.Lease().Left() > 5*time.Second {
		t.Errorf("canary %d, lease %v", r.machine.control.Canary, r.machine.Lease().Left())
	}
	if again := r.mustApply("two", api.ApplyOptions{}); again.Outcome != api.OutcomeUnchanged || again.Deadline.IsZero() {
		t.Errorf("the candidate again: %+v", again)
	}
	_, err := r.apply("three", api.ApplyOptions{})
	wantCode(t, err, api.CodeConflict)
	_, err = r.Reload(ctx, root, "")
	wantCode(t, err, api.CodeConflict)
	r.pass(5*time.Minute - time.Second)
	if _, err := r.agent.Confirm(ctx, root, "looks good"); err != nil {
		t.Fatal(err)
	}
	r.wantLine("confirm done")
	r.wantRoles("two", "", "one")
	if r.machine.Lease().Active() {
		t.Error("the lease of a candidate that is stable now")
	}
	r.pass(10 * time.Minute)
	if r.knownGood() != "two" {
		t.Error("a confirmed bundle does not bake")
	}
	_, err = r.agent.Confirm(ctx, root, "")
	wantCode(t, err, api.CodeNoCandidate)
}

func TestConfirmDeadline(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{Confirm: 5 * time.Minute})
	r.pass(5 * time.Minute)
	r.wantLine("confirm rolled_back")
	r.wantRoles("one", "", "")
	if r.state().Confirm != nil {
		t.Error("the record still waits")
	}
	_, err := r.agent.Confirm(ctx, root, "too late")
	wantCode(t, err, api.CodeNoCandidate)
	r.mustApply("two", api.ApplyOptions{Confirm: time.Minute})
	if _, err := r.Rollback(ctx, root, "no"); err != nil {
		t.Fatal(err)
	}
	r.wantRoles("one", "", "")
	_, err = r.apply("two", api.ApplyOptions{})
	wantCode(t, err, api.CodeHeld)
}

// The lease must never reach beyond the candidate's own deadline, even if nothing but the heartbeat lives.
func TestLeaseEndsWithTheDeadline(t *testing.T) {
	r := newRig(t)
	h := startHeartbeat(r.fake)
	h.hold(time.Hour, loader.In(time.Minute))
	if left := r.machine.Lease().Left(); left > time.Minute {
		t.Errorf("lease of %v beyond a deadline in a minute", left)
	}
	h.until.Store(uint64(loader.In(0)))
	r.machine.SetLease(0)
	h.beat()
	if r.machine.Lease() != 0 {
		t.Error("a lease after the deadline")
	}
	h.close()
}

func TestHeartbeatAllocatesNothing(t *testing.T) {
	r := newRig(t)
	h := startHeartbeat(r.fake)
	h.close()
	h.hold(time.Second, loader.In(time.Hour))
	if n := testing.AllocsPerRun(100, h.beat); n != 0 {
		t.Errorf("%v allocations a beat", n)
	}
}

// A heartbeat must keep up with the shortest lease that the host file allows.
func TestHeartbeatKeepsAShortLease(t *testing.T) {
	r := newRig(t)
	h := startHeartbeat(r.fake)
	defer h.close()
	h.hold(500*time.Millisecond, loader.In(time.Hour))
	if h.interval() > 125*time.Millisecond {
		t.Errorf("beats every %v", h.interval())
	}
	first := h.beats.Load()
	deadline := time.Now().Add(30 * time.Second)
	for h.beats.Load() < first+8 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if h.beats.Load() < first+8 {
		t.Error("the heartbeat does not beat")
	}
}

func TestRestartAdoptsWithoutTouchingTraffic(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	before, publishes := r.machine.control, r.machine.did("Publish")
	r.restart()
	if r.machine.control != before || r.machine.did("Publish") != publishes || r.machine.did("BuildHost") != 1 {
		t.Errorf("control %+v, was %+v; calls %v", r.machine.control, before, r.machine.calls)
	}
	r.wantRoles("one", "", "")
	if s, _ := r.status(); !s.Protected {
		t.Errorf("problems %v", s.Problems)
	}
}

// Time that no agent watched is no bake.
func TestBakeDoesNotCountTheTimeWithoutAgent(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(4 * time.Minute)
	r.machine.Beat()
	r.stop()
	r.clock = r.clock.Add(time.Hour)
	r.start()
	if r.knownGood() != "" {
		t.Error("an hour without an agent was a bake")
	}
	r.pass(6 * time.Minute)
	if r.knownGood() != "one" {
		t.Error("the rest of the bake was forgotten")
	}
}

func TestRestartWithACandidate(t *testing.T) {
	for _, row := range []struct {
		name      string
		lease     loader.Deadline
		away      time.Duration
		candidate string
	}{
		{"lease dead", 0, time.Second, ""},
		{"lease alive", loader.In(time.Hour), time.Second, "two"},
		{"lease alive, deadline over", loader.In(time.Hour), time.Hour, ""},
	} {
		r := newRig(t)
		r.mustApply("one", api.ApplyOptions{})
		r.mustApply("two", api.ApplyOptions{Confirm: 5 * time.Minute})
		r.stop()
		r.machine.SetLease(row.lease)
		r.clock = r.clock.Add(row.away)
		r.start()
		r.wantRoles("one", row.candidate, "")
		if row.candidate == "" {
			r.wantLine("confirm rolled_back")
		} else if _, err := r.agent.Confirm(ctx, root, ""); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		r.stop()
	}
}

func TestRebootComesBackWithLastKnownGood(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.mustApply("two", api.ApplyOptions{})
	r.reboot()
	r.wantRoles("one", "", "")
	r.wantLine("start done")
	if g, _ := r.machine.Generations(); g[0].Number != 3 {
		t.Errorf("number %d was used before", g[0].Number)
	}
	if s, _ := r.status(); !s.Protected || s.Bake != nil {
		t.Errorf("protected %v, bake %v", s.Protected, s.Bake)
	}
}

// state.json and the bundle, changed in every seventh byte (the tests of state do each one): never a crash, and the right
// outcome.
func TestDamagedDisk(t *testing.T) {
	r := newRig(t)
	c := r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.stop()
	record := filepath.Join(r.dir, "state", "state.json")
	bundle := filepath.Join(r.dir, "state", "bundles", strings.TrimPrefix(c.Digest.String(), "sha256:"))
	kernel := r.machine
	for _, path := range []string{record, bundle} {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(whole); i += 7 {
			data := bytes.Clone(whole)
			data[i] ^= 0x41
			for _, reboot := range []bool{false, true} {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				r.machine = kernel
				if reboot {
					r.machine = newMachine(func() time.Time { return r.clock })
				}
				before := kernel.control
				r.start()
				stable := r.machine.Control().Stable != 0
				if stable == reboot {
					t.Fatalf("%s byte %d, reboot %v: stable %v", filepath.Base(path), i, reboot, stable)
				}
				if !reboot && kernel.control != before {
					t.Fatalf("%s byte %d: the kernel was touched: %+v", filepath.Base(path), i, kernel.control)
				}
				if path == record && !reboot && r.state().Applied.Number != 1 {
					t.Fatalf("byte %d: the record does not follow the kernel", i)
				}
				s, err := r.status()
				if err != nil || (path == record || reboot) && !hasProblem(s, "damaged_state") {
					t.Fatalf("%s byte %d, reboot %v: nobody says so: %v, %v", filepath.Base(path), i, reboot, s.Problems, err)
				}
				r.stop()
				restore(t, r.dir, path, whole)
			}
		}
	}
}

// restore puts the damaged file back and removes what was moved aside.
func restore(t *testing.T, dir, path string, whole []byte) {
	t.Helper()
	for _, pattern := range []string{"state/*.corrupt-*", "state/bundles/*.corrupt-*"} {
		aside, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, a := range aside {
			if err := os.Remove(a); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}

func hasProblem(s *api.Status, code string) bool {
	for _, p := range s.Problems {
		if p.Code == code {
			return true
		}
	}
	return false
}

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
	for what, err := range map[string]error{
		"apply":    second(r.apply("one", api.ApplyOptions{})),
		"rollback": second(r.Rollback(ctx, root, "")),
		"confirm":  second(r.agent.Confirm(ctx, root, "")),
		"reload":   second(r.Reload(ctx, root, "")),
	} {
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
		if s, _ := r.status(); hasProblem(s, problemState) || !s.Protected {
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

func TestKernelThatCannotBeOpened(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.stop()
	control := r.machine.control
	r.openErr = fmt.Errorf("load: %w", loader.ErrForeignABI)
	r.start()
	s, err := r.status()
	if err != nil || s.Protected || s.Agent.State != api.StateUnprotected || s.Problems[0].Code != problemKernel || s.Problems[0].Fix == "" {
		t.Fatalf("%+v, %v", s, err)
	}
	_, err = r.apply("two", api.ApplyOptions{})
	if e := wantCode(t, err, api.CodeUnavailable); !strings.Contains(e.Message, "ABI") {
		t.Errorf("%v", e)
	}
	if _, err := r.agent.Plan(ctx, "", bundleYAML("two")); err != nil {
		t.Errorf("a plan needs no kernel: %v", err)
	}
	if err := r.healthy(); err == nil || !strings.Contains(err.Error(), "socket") {
		t.Errorf("healthy: %v", err) // no socket in this rig; the kernel is no reason for a restart
	}
	r.openErr = nil
	r.pass(2 * lastRetry)
	if s, _ := r.status(); !s.Protected || r.machine.control != control {
		t.Errorf("after the repair: %v", s.Problems)
	}
}

func TestRetryHasJitterAndACeiling(t *testing.T) {
	var r retry
	now := time.Unix(0, 0)
	seen := map[time.Time]bool{}
	for range 20 {
		r.failed(now)
		if wait := r.next.Sub(now); wait <= 0 || wait > lastRetry {
			t.Fatalf("waits %v", wait)
		}
		seen[r.next] = true
	}
	if r.ceiling != lastRetry || len(seen) < 10 {
		t.Errorf("ceiling %v, %d different waits", r.ceiling, len(seen))
	}
	if r.due(now) || !r.due(now.Add(lastRetry)) {
		t.Error("due at the wrong time")
	}
}

func TestInterfacesAreAttachedWhenTheyCan(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.machine.links["eth0"] = loader.StateSevered
	r.machine.fail["Attach eth0"] = fmt.Errorf("attach: %w", loader.ErrNoDevice)
	r.tick(false)
	s, _ := r.status()
	if s.Protected || s.Interfaces[0].State != "failed" || s.Interfaces[0].Fix == "" || s.Agent.State != api.StateUnprotected {
		t.Errorf("%+v", s.Interfaces)
	}
	tried := r.machine.did("Attach")
	r.tick(false)
	if r.machine.did("Attach") != tried {
		t.Error("tries again without a pause")
	}
	r.tick(true)
	if r.machine.did("Attach") != tried+1 {
		t.Error("a link event does not hurry")
	}
	delete(r.machine.fail, "Attach eth0")
	r.pass(2 * lastRetry)
	if s, _ := r.status(); !s.Protected || s.Interfaces[0].State != "attached" {
		t.Errorf("%+v", s.Interfaces)
	}
	if r.repairs["link"] != 1 {
		t.Errorf("repairs %v", r.repairs)
	}
}

func TestEmptiedProgramArrayIsFilled(t *testing.T) {
	r := newRig(t)
	r.machine.wiring = []loader.Drift{{Where: "PROG_ARRAY behind the root program", Want: "the dataplane", Got: "nothing"}}
	r.tick(false)
	if r.machine.did("RefillPrograms") != 1 || r.repairs["program"] != 1 {
		t.Errorf("calls %v, repairs %v", r.machine.calls, r.repairs)
	}
	r.machine.wiring = []loader.Drift{{Where: "stable, slot 1", Want: "a generation", Got: "nothing"}}
	r.tick(false)
	if s, _ := r.status(); !hasProblem(s, problemVerify) || s.Protected {
		t.Errorf("problems %v", s.Problems)
	}
}

func TestReload(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	publishes := r.machine.did("Publish")
	next := strings.ReplaceAll(hostYAML, "observe", "enforce")
	next = strings.ReplaceAll(next, "[{name: eth0}]", "[{name: eth1}]")
	next = strings.ReplaceAll(next, "  - {name: dns, port: 53, kind: udp}\n", "  - {name: api, port: 8443, kind: tls}\n")
	r.writeHost(next)
	h, err := config.LoadHost(r.hostPath())
	if err != nil {
		t.Fatal(err)
	}
	r.fake.next = h
	c, err := r.Reload(ctx, root, "new mode")
	if err != nil {
		t.Fatal(err)
	}
	r.wantLine("reload done")
	if r.machine.did("Publish") != publishes+1 || r.machine.control.Mode != bpf.DataplaneModeMODE_ENFORCE {
		t.Errorf("%d publishes, mode %v", r.machine.did("Publish")-publishes, r.machine.control.Mode)
	}
	r.wantRoles("two", "", "one")
	if len(r.machine.links) != 1 || r.machine.links["eth1"] == "" || len(c.Details) < 2 {
		t.Errorf("links %v, details %v", r.machine.links, c.Details)
	}
	s, _ := r.status()
	if !s.Protected || s.Services[1].Name != "api" || s.MaxMode != "enforce" {
		t.Errorf("%+v", s)
	}
	r.pass(10 * time.Minute)
	if r.knownGood() != "two" {
		t.Error("a reload ends the bake")
	}
}

// A reload that fails anywhere changes nothing.
func TestReloadIsAllOrNothing(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	control := r.machine.control
	two := strings.ReplaceAll(hostYAML, "[{name: eth0}]", "[{name: eth0}, {name: eth1}, {name: eth2}]")
	two = strings.ReplaceAll(two, "observe", "enforce")
	for _, row := range []struct {
		name, yaml, call, code string
		err                    error
	}{
		{"faults", "version: 1\nports: 3\n", "", api.CodeRefused, nil},
		{"capacity", strings.ReplaceAll(hostYAML, "prefixes_v4: 1000", "prefixes_v4: 2000"), "", api.CodeRefused, nil},
		{"attach mode", strings.ReplaceAll(hostYAML, "{name: eth0}", "{name: eth0, attach: generic}"), "", api.CodeRefused, nil},
		{"second interface", two, "Attach eth2", api.CodeRefused, loader.ErrForeignProgram},
		{"host", two, "BuildHost", "", errors.New("no memory")},
		{"bundle", two, "Build", api.CodeRefused, loader.ErrCapacity},
		{"publish", two, "Publish", "", errors.New("conflict")},
	} {
		r.writeHost(row.yaml)
		r.machine.fail = map[string]error{row.call: row.err}
		_, err := r.Reload(ctx, root, "")
		if err == nil {
			t.Fatalf("%s: no error", row.name)
		}
		if row.code != "" {
			wantCode(t, err, row.code)
		}
		r.machine.fail = map[string]error{}
		if r.machine.control != control || len(r.machine.links) != 1 || r.hostFile() != r.host {
			t.Errorf("%s: control %+v, links %v, another host file %v", row.name, r.machine.control, r.machine.links, r.hostFile() != r.host)
		}
	}
	r.writeHost(two)
	r.machine.fail["Attach eth2"] = loader.ErrNoDevice
	if _, err := r.Reload(ctx, root, ""); err != nil {
		t.Errorf("an interface that comes later: %v", err)
	}
}

func TestHostFileEditedWithoutAgent(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.stop()
	r.writeHost(strings.ReplaceAll(hostYAML, "observe", "enforce"))
	r.start()
	if r.machine.control.Mode != bpf.DataplaneModeMODE_ENFORCE {
		t.Error("the mode of the host file is not in force")
	}
	r.wantLine("reload done")
	r.wantRoles("one", "", "")
}

// The command line may act while no agent runs. The kernel is right.
func TestAdoptsWhatWasDoneWithoutAgent(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.mustApply("two", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.stop()
	if _, err := (&fake{r.machine, nil}).Rollback(); err != nil {
		t.Fatal(err)
	}
	r.machine.SetBypass(loader.DeadlineForever)
	r.start()
	r.wantRoles("one", "", "")
	if r.state().Applied.Name != "one" || r.knownGood() != "one" {
		t.Errorf("applied %q, last-known-good %q", r.state().Applied.Name, r.knownGood())
	}
	entries, _, _ := r.store.History(3)
	found := 0
	for _, e := range entries {
		if e.Outcome == api.OutcomeFound {
			found++
		}
	}
	if found != 2 {
		t.Errorf("history %+v", entries)
	}
	s, _ := r.status()
	if s.Protected || !s.Bypass.Active || s.Bypass.By != "found" {
		t.Errorf("bypass %+v", s.Bypass)
	}
	r.machine.SetBypass(0)
	r.tick(false)
	if len(r.state().Bypass) != 0 {
		t.Error("the record still has a bypass")
	}
}

func TestBypass(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	c, err := r.agent.Bypass(ctx, root, api.BypassRequest{On: true, Service: "web", ForSeconds: 1800, Reason: "login"})
	if err != nil || !c.Deadline.Equal(r.clock.Add(30*time.Minute)) {
		t.Fatalf("%+v, %v", c, err)
	}
	s, _ := r.status()
	if !s.Services[0].Bypass.Active || s.Services[0].Bypass.Reason != "login" || s.Bypass.Active || !s.Protected {
		t.Errorf("%+v", s.Services)
	}
	if _, err := r.agent.Bypass(ctx, root, api.BypassRequest{On: true}); err != nil {
		t.Fatal(err)
	}
	r.wantLine("bypass on done")
	r.reboot()
	s, _ = r.status()
	if !s.Bypass.Active || !s.Services[0].Bypass.Active || s.Protected {
		t.Errorf("a reboot ends a bypass: %+v %+v", s.Bypass, s.Services)
	}
	if _, err := r.agent.Bypass(ctx, root, api.BypassRequest{}); err != nil {
		t.Fatal(err)
	}
	if s, _ = r.status(); s.Bypass.Active || !s.Services[0].Bypass.Active {
		t.Errorf("%+v %+v", s.Bypass, s.Services)
	}
	_, err = r.agent.Bypass(ctx, root, api.BypassRequest{On: true, Service: "wep"})
	if e := wantCode(t, err, api.CodeNotFound); !strings.Contains(e.Fix, "dns, web") {
		t.Errorf("fix %q", e.Fix)
	}
	for _, bad := range []api.BypassRequest{{On: true, ForSeconds: -1}, {On: true, ForSeconds: 1e12}, {ForSeconds: 1}} {
		_, err = r.agent.Bypass(ctx, root, bad)
		wantCode(t, err, api.CodeInvalid)
	}
}

func TestBans(t *testing.T) {
	r := newRig(t)
	for _, row := range []struct {
		prefix string
		secs   float64
		want   string // the prefix, or the code of the refusal
	}{
		{"198.51.100.7", 0, "198.51.100.7/32"},
		{"::ffff:198.51.100.8", 60, "198.51.100.8/32"},
		{"2001:db8:1:2:3::4", 60, "2001:db8:1:2::/64"},
		{"198.51.100.0/23", 60, api.CodeLimit},
		{"2001:db8::/47", 60, api.CodeLimit},
		{"198.51.100.7", 25 * 3600, api.CodeLimit},
		{"198.51.100.7", -1, api.CodeLimit},
		{"203.0.113.5", 60, api.CodeProtected},
		{"203.0.113.0/24", 60, api.CodeProtected},
		{"192.0.2.1", 60, api.CodeProtected},
		{"0.0.0.0", 60, api.CodeInvalid},
		{"127.0.0.1", 60, api.CodeInvalid},
		{"224.0.0.1", 60, api.CodeInvalid},
		{"::ffff:0:0/90", 60, api.CodeInvalid},
		{"everybody", 60, api.CodeInvalid},
		{"198.51.100.9", 60, api.CodeLimit}, // the fourth within a minute
	} {
		c, err := r.agent.Ban(ctx, root, api.BanRequest{Prefix: row.prefix, ForSeconds: row.secs, Reason: "scraper"})
		var e *api.Error
		switch {
		case err == nil && c.Name != row.want:
			t.Errorf("%s: banned %s, want %s", row.prefix, c.Name, row.want)
		case err != nil && (!errors.As(err, &e) || e.Code != row.want || e.Fix == ""):
			t.Errorf("%s: %v, want %s", row.prefix, err, row.want)
		}
	}
	r.clock = r.clock.Add(time.Minute - time.Second)
	r.tick(false)
	r.clock = r.clock.Add(time.Second)
	r.tick(false)
	list, err := r.agent.Bans(ctx)
	if err != nil || len(list.Bans) != 1 || list.Bans[0].Reason != "scraper" || list.Bans[0].By != "root" {
		t.Errorf("after a minute: %+v, %v", list, err)
	}
	for i := range 3 {
		if _, err := r.agent.Ban(ctx, root, api.BanRequest{Prefix: fmt.Sprintf("198.51.100.%d", 20+i)}); err != nil {
			t.Fatal(err)
		}
	}
	r.clock = r.clock.Add(2 * time.Minute)
	_, err = r.agent.Ban(ctx, root, api.BanRequest{Prefix: "198.51.100.30"})
	wantCode(t, err, api.CodeLimit)
	if _, err := r.agent.Ban(ctx, root, api.BanRequest{Prefix: "198.51.100.20", ForSeconds: 7200}); err != nil {
		t.Errorf("a longer ban of the same at full capacity: %v", err)
	}
	_, err = r.Unban(ctx, root, "198.51.100.99", "")
	wantCode(t, err, api.CodeNotFound)
	if _, err := r.Unban(ctx, root, "198.51.100.21", "mistake"); err != nil {
		t.Fatal(err)
	}
	r.machine.bans[netip.MustParsePrefix("198.51.100.77/32")] = r.clock.Add(time.Hour)
	r.restart()
	r.reboot()
	list, _ = r.agent.Bans(ctx)
	var got []string
	for _, b := range list.Bans {
		got = append(got, b.Prefix)
	}
	if want := "[198.51.100.7/32 198.51.100.22/32 198.51.100.77/32 198.51.100.20/32]"; fmt.Sprint(got) != want {
		t.Errorf("after a reboot: %v, want %v", got, want)
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

func TestVerify(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	v, err := r.agent.Verify(ctx)
	if err != nil || !v.OK || r.machine.did("VerifyGeneration") != 2 {
		t.Errorf("%+v, %v, %d generations", v, err, r.machine.did("VerifyGeneration"))
	}
	r.restart()
	r.machine.drift = []loader.Drift{{Where: "slot 1", Want: "a", Got: "b"}}
	v, err = r.agent.Verify(ctx)
	if err != nil || v.OK || len(v.Entries) != 2 || len(v.Left) != 0 {
		t.Errorf("after a restart, with drift: %+v, %v", v, err)
	}
	if s, _ := r.status(); !hasProblem(s, "drift") {
		t.Errorf("problems %v", s.Problems)
	}
	r.stop()
	if err := os.RemoveAll(filepath.Join(r.dir, "state")); err != nil {
		t.Fatal(err)
	}
	r.machine.drift = nil
	r.start()
	v, err = r.agent.Verify(ctx)
	if err != nil || v.OK || len(v.Left) != 2 {
		t.Errorf("what cannot be compared must not be ok: %+v, %v", v, err)
	}
}
