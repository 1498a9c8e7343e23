// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/api"
)

// stop stops the agent with SIGSTOP; the returned function lets it go on.
func (s *site) stop(t *testing.T) (goOn func()) {
	t.Helper()
	pid := s.Pid()
	world.Must(t, unix.Kill(pid, unix.SIGSTOP))
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGCONT) })
	return func() {
		t.Helper()
		world.Must(t, unix.Kill(pid, unix.SIGCONT))
	}
}

// banned returns what the kernel bans.
func (s *site) banned(t *testing.T) map[netip.Prefix]bool {
	t.Helper()
	bans, err := s.Adopt().Bans()
	world.Must(t, err)
	out := map[netip.Prefix]bool{}
	for _, b := range bans {
		out[b.Prefix] = true
	}
	return out
}

// F18: beside a stopped agent every command of the shipped program ends within seconds and names the process; what it
// asked for is cancelled, and the agent does none of it when it goes on. What must work without an agent does, once.
func TestF18StoppedAgent(t *testing.T) {
	s := newSite(t)
	s.protect(t, nil)
	s.MustCLI("ban", "203.0.113.9", "--for", "1h")
	first := s.look(t)
	s.writeHost(1)

	goOn := s.stop(t)
	begun := time.Now()
	var wg sync.WaitGroup
	for _, args := range [][]string{{"apply", s.other(first.Stable.Digest), "--yes"},
		{"apply", s.other(first.Stable.Digest), "--yes", "--confirm", "1m"}, {"plan", s.other(config.Digest{})},
		{"confirm"}, {"reload", "--yes"}, {"ban", "203.0.113.10"}, {"status"}, {"verify"}, {"history"},
		{"bans"}, {"events"}} {
		wg.Go(func() {
			out, code := s.CLI(args...)
			if took := time.Since(begun); took > 30*time.Second { // 5 s, and what a busy machine adds
				t.Errorf("%v took %s", args, took)
			}
			if !strings.Contains(out, fmt.Sprintf("process %d", s.Pid())) || !strings.Contains(out, "hang") {
				t.Errorf("%v does not name the process that hangs: exit %d: %s", args, code, out)
			}
		})
	}
	wg.Wait()
	goOn()
	s.answers(t, "goes on", false)
	time.Sleep(2 * time.Second) // what was sent is long in its buffers
	if now := s.look(t); now.Control != first.Control || now.Stable != first.Stable || now.Host != first.Host {
		t.Errorf("what was cancelled was carried out: %s, was %s", now, first)
	}
	if b := s.banned(t); len(b) != 1 || !b[netip.MustParsePrefix("203.0.113.9/32")] {
		t.Errorf("bans are %v", b)
	}
	c := api.NewClient(s.Socket())
	defer c.Close()
	all, err := c.Rollouts(context.Background())
	world.Must(t, err)
	for _, ro := range all.Rollouts[:max(0, len(all.Rollouts)-1)] { // the first is that of protect
		if ro.State != api.RolloutWithdrawn {
			t.Errorf("rollout %s is %s: %s", ro.ID, ro.State, ro.Message)
		}
	}

	s.writeHost(0)
	s.MustCLI("apply", s.other(first.Stable.Digest), "--yes")
	second := s.look(t)
	goOn = s.stop(t)
	for _, args := range [][]string{{"rollback"}, {"unban", "203.0.113.9"}, {"bypass", "on"}, {"bypass", "off"}} {
		if out, code := s.CLI(args...); code != 0 || !strings.Contains(out, fmt.Sprintf("process %d", s.Pid())) {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
	}
	check := func(when string) {
		t.Helper()
		now := s.look(t)
		if now.Stable != second.Previous || now.Bypass || len(s.banned(t)) != 0 {
			t.Errorf("%s: %s, was %s, bans %v", when, now, second, s.banned(t))
		}
	}
	check("without the agent")
	goOn()
	s.answers(t, "goes on", false)
	time.Sleep(2 * time.Second)
	check("when it goes on")
}
