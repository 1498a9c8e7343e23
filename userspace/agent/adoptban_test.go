// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

var (
	scraper = netip.MustParsePrefix("198.51.100.7/32")
	scanner = netip.MustParsePrefix("198.51.100.8/32")
)

func (r *rig) ban(prefix netip.Prefix, length time.Duration) {
	r.t.Helper()
	if _, err := r.agent.bans.Ban(ctx, root,
		api.BanRequest{Prefix: prefix.String(), ForSeconds: length.Seconds(), Reason: "test"}); err != nil {
		r.t.Fatal(err)
	}
}

// A ban that was ended in the kernel does not come back with a restart, although the disk never heard of its end: the
// agent was killed in between, or the disk was full.
func TestUnbanThatWasNotRecorded(t *testing.T) {
	r := newRig(t)
	r.ban(scraper, time.Hour)
	r.ban(scanner, time.Hour)
	r.fault = func(string, string) error { return syscall.ENOSPC }
	if _, err := r.bans.Unban(ctx, root, scraper.String(), "mistake"); err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.fault = nil
	if _, back := r.machine.bans[scraper]; back || len(r.machine.bans) != 1 {
		t.Errorf("after a restart the kernel has %v", r.machine.bans)
	}
	if left := r.store.Bans().All(); len(left) != 1 || left[0].Prefix != scanner || left[0].Reason != "test" {
		t.Errorf("the record has %+v", left)
	}
}

// An end of all bans that nobody recorded is an end too: maps that once had a ban are not new maps.
func TestLastUnbanThatWasNotRecorded(t *testing.T) {
	r := newRig(t)
	r.ban(scraper, time.Hour)
	r.fault = func(string, string) error { return syscall.ENOSPC }
	if _, err := r.bans.Unban(ctx, root, scraper.String(), "mistake"); err != nil {
		t.Fatal(err)
	}
	r.restart()
	if len(r.machine.bans) != 0 {
		t.Errorf("after a restart the kernel has %v", r.machine.bans)
	}
}

// A ban whose row is in the kernel, while flows were not told, is told at the next start.
func TestBanThatNoFlowSaw(t *testing.T) {
	r := newRig(t)
	r.ban(scraper, time.Hour)
	r.stop()
	r.machine.bans[scanner] = r.clock.Add(time.Hour)
	before := r.machine.banEpoch
	r.start()
	if r.machine.banEpoch == before {
		t.Error("flows still have the ban epoch of before")
	}
	if len(r.store.Bans().All()) != 2 {
		t.Errorf("the record has %+v", r.store.Bans().All())
	}
}

// A start with nothing new about bans leaves the record on disk alone.
func TestAdoptionOfBansWritesNothing(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.ban(scraper, time.Hour)
	r.stop()
	record, bans := filepath.Join(r.dir, "state", "record.json"), filepath.Join(r.dir, "state", "bans.log")
	before, err := os.Stat(record)
	if err != nil {
		t.Fatal(err)
	}
	linesBefore, err := os.ReadFile(bans)
	if err != nil {
		t.Fatal(err)
	}
	r.machine.Beat()
	r.clock = r.clock.Add(time.Second)
	d := &fake{r.machine, r.host}
	r.startWithoutAdoption()
	if err := r.bans.Adopt(d); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(record)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the record was written again: %v", err)
	}
	if lines, err := os.ReadFile(bans); err != nil || !bytes.Equal(lines, linesBefore) {
		t.Errorf("the bans were written again: %v", err)
	}
}

// A18: an unban that somebody made on the pins while the agent hung is one after a reboot, too; and the agent's own
// changes make nobody read all bans again.
func TestA18UnbanBesideAHungAgent(t *testing.T) {
	r := newRig(t)
	r.ban(scraper, time.Hour)
	r.ban(scanner, time.Hour)
	r.pass(time.Second)
	epoch := r.bans.Epoch()
	r.ban(netip.MustParsePrefix("198.51.100.9/32"), time.Hour)
	if r.bans.Epoch() != epoch+1 {
		t.Errorf("the agent takes its own ban for somebody else's: epoch %d, was %d", r.bans.Epoch(), epoch)
	}
	if there, err := r.fake.Unban(scraper); err != nil || !there { // by the command, on the pins
		t.Fatal(err)
	}
	r.pass(time.Second)
	if _, known := r.store.Bans().Get(scraper); known {
		t.Error("the record still has the ban: a reboot brings it back")
	}
	if _, known := r.store.Bans().Get(scanner); !known {
		t.Error("the other ban is forgotten")
	}
}
