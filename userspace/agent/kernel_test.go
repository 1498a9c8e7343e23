// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
	"github.com/spillway/spillway/userspace/plane"
)

func TestKernelKillAndAdopt(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	s.wantStable("one", false)
	k := s.kernel()
	before := k.Control()
	s.kill()
	if a, err := k.Attachments(); err != nil || len(a) != 1 || a[0].State != loader.StateAttached {
		t.Fatalf("after SIGKILL: %+v, %v", a, err)
	}
	s.start()
	s.wantStable("one", false)
	if now := k.Control(); now != before {
		t.Errorf("the restart touched the control word: %+v, was %+v", now, before)
	}
	s.apply("two", api.ApplyOptions{}, "2001:db8:bad::/48", "198.18.7.0/24")
	s.wantStable("two", false)
	if _, err := s.client.Rollback(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
	s.wantStable("one", false)
	if err := s.child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.child.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if a, err := k.Attachments(); err != nil || len(a) != 1 || a[0].State != loader.StateAttached ||
		k.Control().Stable == 0 {
		t.Errorf("after SIGTERM: %+v, %+v, %v", a, k.Control(), err)
	}
}

func TestKernelCandidateFallsBackWhenTheAgentDies(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	s.apply("two", api.ApplyOptions{Confirm: time.Hour})
	s.wantStable("one", true)
	k := s.kernel()
	first := k.Lease()
	eventually(t, "the lease is renewed beyond its first end", func() error {
		if now := k.Lease(); now < first+loader.Deadline(s.host.Guards.Lease) {
			return fmt.Errorf("from %d to %d", first, now)
		}
		return nil
	})
	s.kill()
	eventually(t, "the lease ends", func() error {
		if k.Lease().Active() {
			return fmt.Errorf("%v left", k.Lease().Left())
		}
		return nil
	})
	s.start()
	s.wantStable("one", false)
	h, err := s.client.History(context.Background(), 1)
	if err != nil || h.Entries[0].Outcome != api.OutcomeHeld || h.Entries[0].Name != "two" {
		t.Errorf("history %+v, %v", h, err)
	}
	s.apply("two", api.ApplyOptions{Confirm: time.Hour})
	if c, err := s.client.Confirm(context.Background(), ""); err != nil || c.Name != "two" {
		t.Fatalf("%+v, %v", c, err)
	}
	s.wantStable("two", false)
}

func TestKernelBansAndBypass(t *testing.T) {
	s := newSite(t)
	s.start()
	ctx := context.Background()
	if _, err := s.client.Ban(ctx, api.BanRequest{Prefix: "2001:db8::7", ForSeconds: 600}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Bypass(ctx, api.BypassRequest{On: true, Service: "web", ForSeconds: 600}); err != nil {
		t.Fatal(err)
	}
	s.kill()
	if err := loader.DetachPins(s.host.Paths.Pins); err != nil { // as a reboot does
		t.Fatal(err)
	}
	s.start()
	list, err := s.client.Bans(ctx)
	if err != nil || len(list.Bans) != 1 || list.Bans[0].Prefix != "2001:db8::/64" {
		t.Errorf("bans after a reboot: %+v, %v", list, err)
	}
	k := s.kernel()
	host, err := k.Host()
	if err != nil {
		t.Fatal(err)
	}
	if web, _ := host.Service("web"); !k.ServiceBypass(web.ID).Active() || k.Bypass().Active() {
		t.Error("the bypass of the service did not survive a reboot")
	}
	if k.Control().Stable != bpf.SlotEmpty {
		t.Errorf("control %+v", k.Control())
	}
	if _, err := s.client.Rollback(ctx, ""); !strings.Contains(fmt.Sprint(err), "no previous") {
		t.Errorf("rollback without previous: %v", err)
	}
	var e *api.Error
	if _, err := s.client.Confirm(ctx, ""); !errors.As(err, &e) || e.Code != api.CodeNoCandidate {
		t.Errorf("confirm without candidate: %v", err)
	}
}

// F7: a stopped agent's candidate goes back when its lease ends, and does not come back when the agent goes on. It is
// held.
func TestKernelF7StoppedAgent(t *testing.T) {
	s := newSite(t)
	s.start()
	s.apply("one", api.ApplyOptions{})
	s.apply("two", api.ApplyOptions{Confirm: time.Hour})
	k := s.kernel()
	revived := func() bool {
		return k.Control().Candidate != bpf.SlotEmpty && k.Lease().Active() && k.Tripped().Ended == 0
	}
	if !revived() {
		t.Fatal("the candidate does not decide")
	}
	if err := s.child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lease ends", func() error {
		if k.Lease().Active() {
			return fmt.Errorf("%v left", k.Lease().Left())
		}
		return nil
	})
	if err := s.child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		if revived() {
			t.Fatal("the candidate came back")
		}
	}
	s.wantStable("one", false)
	h, err := s.client.History(context.Background(), 1)
	if err != nil || h.Entries[0].Outcome != api.OutcomeHeld || h.Entries[0].Name != "two" {
		t.Errorf("history %+v, %v", h, err)
	}
	s.apply("two", api.ApplyOptions{}) // without a reason
}

// F14: the time for which an agent is stopped is no part of a bake.
func TestKernelF14BakeOfAStoppedAgent(t *testing.T) {
	const bake = 3 * time.Second
	s := newSite(t)
	s.editHost("bake: 1h", fmt.Sprintf("bake: %s", bake))
	s.start()
	begun := time.Now()
	s.apply("one", api.ApplyOptions{})
	if err := s.child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ran := time.Since(begun)
	time.Sleep(bake + time.Second)
	begun = time.Now()
	if err := s.child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it bakes at last", func() error {
		st, err := s.client.Status(context.Background())
		if err == nil && st.LastKnownGood == nil {
			err = errors.New("not yet")
		}
		return err
	})
	if ran += time.Since(begun); ran < bake-plane.BeatInterval { // a stop is known to a beat
		t.Errorf("it ran for %v and has baked", ran)
	}
}

// F14: a rollback beside a stopped agent, in the middle of an apply too, is one compare-and-swap on the pins. When the
// agent goes on it publishes nothing of what it built, and writes the rollback down.
func TestKernelF14RollbackBesideAStoppedAgent(t *testing.T) {
	const buildRows = 200_000 // it takes a while
	s := newSite(t)
	s.editHost("prefixes_v4: 1000,", fmt.Sprintf("prefixes_v4: %d,", buildRows))
	s.start()
	s.apply("one", api.ApplyOptions{})
	s.apply("two", api.ApplyOptions{})
	k := s.kernel()
	places := offline.Places{State: s.host.Paths.State, Pins: s.host.Paths.Pins, Host: s.host}
	back := func(to string) {
		t.Helper()
		beside, err := offline.Open(places, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		defer beside.Close()
		c, err := beside.Rollback(api.RollbackRequest{To: to, Reason: "it hangs"})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(c.Details, " "), "writes this down when it goes on") {
			t.Errorf("%+v", c)
		}
	}
	stop := func() {
		t.Helper()
		if err := s.child.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	rolledBack := 0
	goOn := func() {
		t.Helper()
		if err := s.child.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		rolledBack++
		// What was being built may be written down before it or after it.
		eventually(t, "it is written down", func() error {
			h, err := s.client.History(context.Background(), 100)
			if err != nil {
				return err
			}
			n := 0
			for _, e := range h.Entries {
				if e.Verb == "rollback" && e.Reason == "it hangs" {
					n++
				}
			}
			if n != rolledBack {
				return fmt.Errorf("%d of %d: %+v", n, rolledBack, h.Entries)
			}
			return nil
		})
	}
	stop()
	back("")
	goOn()
	s.wantStable("one", false)

	// Again, in the middle of an apply.
	u, err := api.Pack(large(t, buildRows))
	if err != nil {
		t.Fatal(err)
	}
	s.apply("two", api.ApplyOptions{Accept: "again"})
	answer := make(chan error, 1)
	go func() {
		_, err := s.client.Apply(context.Background(), u, api.ApplyOptions{Accept: "a test", Remove: "two"})
		answer <- err
	}()
	eventually(t, "it is being built", func() error {
		all, err := s.client.Rollouts(context.Background())
		if err == nil && all.Rollouts[0].State != api.RolloutBuilding {
			err = fmt.Errorf("%+v", all.Rollouts[0])
		}
		return err
	})
	stop()
	back("")
	if err := s.child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	err = <-answer
	var e *api.Error
	if !errors.As(err, &e) { // a conflict; or, of what it found when it went on, that "two" is not in force
		t.Errorf("what was being built: %v", err)
	}
	goOn()
	s.wantStable("one", false)

	// A candidate does not come back.
	s.apply("two", api.ApplyOptions{Accept: "again", Confirm: time.Hour})
	stop()
	back("")
	goOn()
	if c := k.Control(); c.Candidate != bpf.SlotEmpty || k.Lease().Active() {
		t.Errorf("%+v, lease %v", c, k.Lease().Left())
	}
	eventually(t, "the record knows of no candidate", func() error {
		st, err := s.client.Status(context.Background())
		if err == nil && st.Confirm != nil {
			err = fmt.Errorf("%+v", st.Confirm)
		}
		return err
	})
}
