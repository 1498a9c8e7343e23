// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/sdnotify"
)

// F11: a reload of a large bundle took 37 s in the goroutine that ticks, and systemd's watchdog killed the agent after
// 15. While a bundle is built the ticks go on, and feed the watchdog.
func TestF11WatchdogIsFedDuringALongReload(t *testing.T) {
	dir := t.TempDir()
	h, path := writeHost(t, dir, hostYAML, noPins(t), "")
	m := newMachine(time.Now)
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	hup := make(chan struct{})
	o := Options{Host: h, HostPath: path, Version: "v0", Reload: hup,
		Notify: sdnotify.New(func(name string) string {
			return map[string]string{"NOTIFY_SOCKET": filepath.Join(dir, "notify"), "WATCHDOG_USEC": "3000000"}[name]
		})}
	o.owner = m.own
	o.open = func(loader.Options) (dataplane, error) { return &fake{m, h}, nil }
	o.links = func(context.Context) <-chan struct{} { return nil }
	o.network = fakeNetwork{machine: m}
	o.own = func() ([]netip.Addr, error) { return nil, nil }
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	defer func() { stop(); <-done }()
	wantDatagram(t, systemd, "READY=1", "STATUS=")
	c := api.NewClient(h.Listen.Socket)
	defer c.Close()
	u, err := api.Pack(writeBundle(t, "one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(ctx, u, api.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	building, built := make(chan struct{}), make(chan struct{})
	m.mu.Lock()
	m.during = map[string]func(){"Build": func() { close(building); <-built }}
	m.mu.Unlock()
	hup <- struct{}{}
	<-building
	for range 3 {
		wantDatagram(t, systemd, "WATCHDOG=1", "STATUS=")
	}
	if _, err := c.Rollback(ctx, "meanwhile"); err != nil && !strings.Contains(err.Error(), "previous") {
		t.Errorf("a rollback waits for it: %v", err)
	}
	m.mu.Lock()
	m.during = nil
	m.mu.Unlock()
	close(built)
}

// What killed a process is left by the next one, for longer each time.
func TestF11WorkThatKilledIsLeft(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	dies := func() { r.store.Attempt(ledger.WorkNames) } // and never says that it ended
	reads := func() bool {
		read := false
		_ = r.ledger.Optional(ledger.WorkNames, func() error { read = true; return nil })
		return read
	}
	if !reads() {
		t.Fatal("nobody died of it")
	}
	dies()
	r.restart()
	if reads() {
		t.Error("read again at once")
	}
	r.clock = r.clock.Add(time.Hour)
	dies()
	r.restart()
	r.clock = r.clock.Add(time.Hour)
	if reads() {
		t.Error("two deaths, and read after an hour")
	}
	r.clock = r.clock.Add(time.Hour)
	if !reads() {
		t.Error("never read again")
	}
	if !reads() {
		t.Error("it went well, and is left all the same")
	}
}

// The names of a resident bundle come from a small file; the bundle itself is not read for them.
func TestF11NamesWithoutTheBundle(t *testing.T) {
	r := newRig(t)
	c := r.mustApply("one", api.ApplyOptions{})
	r.restart()
	r.ensureKnown(c.Digest)
	rules, err := r.agent.plane.Rows.Rules(ctx)
	if err != nil || rules.Rules[0].ID != "bad" || r.knows(c.Digest).Name != "one" {
		t.Errorf("%+v, %v", rules, err)
	}
}

// A comparison in the background needs no bundle, and sees a table that holds something else.
func TestF11DriftBySums(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.restart()
	r.plane.Rows.VerifyInBackground()
	if r.plane.Rows.Drift() == nil || len(r.plane.Rows.Drift().Entries) != 0 || r.machine.did("VerifyGeneration") != 0 {
		t.Errorf("%+v", r.plane.Rows.Drift())
	}
	r.machine.drift = []compile.Drift{{Where: "slot 1", Want: "a", Got: "b"}}
	r.plane.Rows.VerifyInBackground()
	if s, err := r.Status(ctx); err != nil || !hasProblem(s, "drift") {
		t.Errorf("%+v, %v", s.Problems, err)
	}
}

// A host file that changed while no agent ran, and a bundle whose compilation killed three agents: the host file
// counts, and the bundle goes on as it is.
func TestF11RebuildThatKills(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	for range ledger.NeededCrashes {
		r.store.Attempt(ledger.WorkRebuild)
	}
	r.stop()
	r.writeHost(strings.Replace(hostYAML, "note: office", "note: the office", 1))
	builds := r.machine.did("Build")
	r.start()
	if s, err := r.Status(ctx); err != nil || !s.Protected || r.machine.did("Build") != builds ||
		r.machine.published.Allowlist[0].Note != "the office" {
		t.Errorf("%+v, %v, %d builds", s.Problems, err, r.machine.did("Build")-builds)
	}
}

// Background work yields to the rest of the agent, and never so far that a stopped world waits for it.
func TestBackgroundWorkIsALittleNicer(t *testing.T) {
	done := make(chan [2]int)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		nice := func() int {
			raw, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
			if err != nil {
				t.Error(err)
			}
			return 20 - raw
		}
		before := nice()
		beGentle()
		done <- [2]int{before, nice()}
	}()
	if n := <-done; n[1] != min(n[0]+gentler, 19) {
		t.Errorf("nice %d became %d, want %d more", n[0], n[1], gentler)
	}
}

// Rows are compared each minute, those that take long less often, and never so seldom that an alarm begins.
func TestPaceOfComparisons(t *testing.T) {
	for cost, want := range map[time.Duration]time.Duration{0: time.Minute, 10 * time.Millisecond: time.Minute,
		-time.Second: time.Minute, 70 * time.Millisecond: 350 * time.Second, time.Hour: time.Hour} {
		now, p := time.Now(), &pace{}
		if !p.due(now, 1) || p.due(now, 1) {
			t.Errorf("%v: the first is due once", cost)
		}
		p.cost(cost)
		if p.due(now.Add(want-time.Millisecond), 1) || !p.due(now.Add(want), 1) {
			t.Errorf("after a comparison of %v the next is not due after %v", cost, want)
		}
		if now = now.Add(want); p.due(now.Add(time.Minute-time.Millisecond), 2) || !p.due(now.Add(time.Minute), 2) {
			t.Errorf("after a comparison of %v another generation is not due within a minute", cost)
		}
	}
}
