// SPDX-License-Identifier: Apache-2.0

package bans

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// A ban that was ended in the kernel does not come back with a restart, although the disk never heard of its end: the
// agent was killed in between, or the disk was full.
func TestUnbanThatWasNotRecorded(t *testing.T) {
	e := newEdge(t)
	e.ban(scraper, time.Hour)
	e.ban(scanner, time.Hour)
	e.disk = unix.ENOSPC
	if _, err := e.Unban(ctx, root, scraper.String(), "mistake"); err != nil {
		t.Fatal(err)
	}
	e.restart()
	e.disk = nil
	if _, back := e.kernel.bans[scraper]; back || len(e.kernel.bans) != 1 {
		t.Errorf("after a restart the kernel has %v", e.kernel.bans)
	}
	if left := e.store.Bans().All(); len(left) != 1 || left[0].Prefix != scanner || left[0].Reason != "test" {
		t.Errorf("the record has %+v", left)
	}
}

// An end of all bans that nobody recorded is an end too: maps that once had a ban are not new maps.
func TestLastUnbanThatWasNotRecorded(t *testing.T) {
	e := newEdge(t)
	e.ban(scraper, time.Hour)
	e.disk = unix.ENOSPC
	if _, err := e.Unban(ctx, root, scraper.String(), "mistake"); err != nil {
		t.Fatal(err)
	}
	e.restart()
	if len(e.kernel.bans) != 0 {
		t.Errorf("after a restart the kernel has %v", e.kernel.bans)
	}
}

// A ban whose row is in the kernel, while flows were not told, is told at the next start.
func TestBanThatNoFlowSaw(t *testing.T) {
	e := newEdge(t)
	e.ban(scraper, time.Hour)
	e.kernel.bans[scanner] = e.clock.Add(time.Hour)
	before := e.kernel.epoch
	e.restart()
	if e.kernel.epoch == before {
		t.Error("flows still have the ban epoch of before")
	}
	if len(e.store.Bans().All()) != 2 {
		t.Errorf("the record has %+v", e.store.Bans().All())
	}
}

// A start with nothing new about bans leaves the record on disk alone.
func TestAdoptionOfBansWritesNothing(t *testing.T) {
	e := newEdge(t)
	e.ban(scraper, time.Hour)
	path := filepath.Join(e.dir, "bans.log")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e.clock = e.clock.Add(time.Second)
	e.restart()
	if lines, err := os.ReadFile(path); err != nil || !bytes.Equal(lines, before) {
		t.Errorf("the bans were written again: %v", err)
	}
}

// F18: an unban that somebody made on the pins while the agent hung is one after a reboot, too; and the agent's own
// changes make nobody read all bans again.
func TestF18UnbanBesideAHungAgent(t *testing.T) {
	e := newEdge(t)
	e.ban(scraper, time.Hour)
	e.ban(scanner, time.Hour)
	e.clock = e.clock.Add(time.Second)
	e.Sweep(e.kernel)
	epoch := e.Epoch()
	e.ban(netip.MustParsePrefix("198.51.100.9/32"), time.Hour)
	if e.Epoch() != epoch+1 {
		t.Errorf("the agent takes its own ban for somebody else's: epoch %d, was %d", e.Epoch(), epoch)
	}
	if there, err := e.kernel.Unban(scraper); err != nil || !there { // by the command, on the pins
		t.Fatal(err)
	}
	e.clock = e.clock.Add(time.Second)
	e.Sweep(e.kernel)
	if _, known := e.store.Bans().Get(scraper); known {
		t.Error("the record still has the ban: a reboot brings it back")
	}
	if _, known := e.store.Bans().Get(scanner); !known {
		t.Error("the other ban is forgotten")
	}
}

// Only new maps get what the record has, without what a guard of today refuses; what the kernel refuses now comes
// later.
func TestBansComeBackAfterAReboot(t *testing.T) {
	e := newEdge(t)
	e.ban(scraper, time.Hour)
	e.ban(scanner, time.Minute)
	own := netip.MustParsePrefix("192.0.2.1/32") // it was no address of this host when it was banned
	if err := e.store.Bans().Change([]state.Ban{{Prefix: own, Expires: e.clock.Add(time.Hour)}}, nil); err != nil {
		t.Fatal(err)
	}
	e.clock = e.clock.Add(2 * time.Minute)
	e.kernel = &kernel{now: e.now, bans: map[netip.Prefix]time.Time{}, refuse: unix.ENOMEM}
	_ = e.store.Close()
	store, err := state.Open(e.dir, state.Options{Now: e.now})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	o := e.Options
	o.Record, o.Ledger = store.Bans(), ledger.New(store, ledger.Options{Log: o.Log, Now: e.now, Folder: e.dir})
	again := New(o)
	if err := again.Adopt(e.kernel); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("the kernel refused, and nobody says so: %v", err)
	}
	if _, known := store.Bans().Get(scraper); !known {
		t.Error("what the kernel refused for a moment is forgotten")
	}
	e.kernel.refuse = nil
	if err := again.Adopt(e.kernel); err != nil {
		t.Fatal(err)
	}
	if until, back := e.kernel.bans[scraper]; !back || len(e.kernel.bans) != 1 || until.Sub(e.clock) != 58*time.Minute {
		t.Errorf("the kernel has %v at %v", e.kernel.bans, e.clock)
	}
}

// The ends on disk are wall time: they move with it. Those of the kernel do not.
func TestEndsOnDiskMoveWithTheWallClock(t *testing.T) {
	e := newEdge(t)
	e.ban(scraper, time.Hour)
	e.Shift(3 * time.Hour)
	if b, _ := e.store.Bans().Get(scraper); b.Expires.Sub(e.clock) != 4*time.Hour {
		t.Errorf("it ends at %v, and it is %v", b.Expires, e.clock)
	}
}
