// SPDX-License-Identifier: Apache-2.0

package bans

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

func TestBan(t *testing.T) {
	e := newEdge(t)
	for _, row := range []struct {
		prefix string
		secs   float64
		want   string // the prefix, or the code of the refusal
	}{
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
		{"198.51.100.7", 0, "198.51.100.7/32"},
		{"::ffff:198.51.100.8", 60, "198.51.100.8/32"},
		{"2001:db8:1:2:3::4", 60, "2001:db8:1:2::/64"},
		{"198.51.100.9", 60, api.CodeLimit}, // the fourth within a minute
	} {
		c, err := e.Ban(ctx, root, api.BanRequest{Prefix: row.prefix, ForSeconds: row.secs, Reason: "scraper"})
		var refused *api.Error
		switch {
		case err == nil && c.Name != row.want:
			t.Errorf("%s: banned %s, want %s", row.prefix, c.Name, row.want)
		case err != nil && (!errors.As(err, &refused) || refused.Code != row.want || refused.Fix == ""):
			t.Errorf("%s: %v, want %s", row.prefix, err, row.want)
		}
	}
	e.clock = e.clock.Add(time.Minute)
	e.Sweep(e.kernel)
	list, err := e.List(ctx)
	if err != nil || len(list.Bans) != 1 || list.Bans[0].Reason != "scraper" ||
		list.Bans[0].By != "root" || list.Capacity != 4 {
		t.Errorf("after a minute: %+v, %v", list, err)
	}
}

// A full map is a limit, and whoever is in it already may stay longer.
func TestBanAtCapacity(t *testing.T) {
	e := newEdge(t)
	for i := range 4 {
		e.clock = e.clock.Add(30 * time.Second)
		if _, err := e.Ban(ctx, root, api.BanRequest{Prefix: fmt.Sprintf("198.51.100.%d", 20+i)}); err != nil {
			t.Fatal(err)
		}
	}
	e.clock = e.clock.Add(2 * time.Minute)
	_, err := e.Ban(ctx, root, api.BanRequest{Prefix: "198.51.100.30"})
	wantCode(t, err, api.CodeLimit)
	if _, err := e.Ban(ctx, root, api.BanRequest{Prefix: "198.51.100.20", ForSeconds: 7200}); err != nil {
		t.Errorf("a longer ban of the same: %v", err)
	}
	_, err = e.Unban(ctx, root, "198.51.100.99", "")
	wantCode(t, err, api.CodeNotFound)
	if _, err := e.Unban(ctx, root, "198.51.100.21", "mistake"); err != nil {
		t.Fatal(err)
	}
	list, err := e.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range list.Bans {
		got = append(got, b.Prefix)
	}
	if want := "[198.51.100.22/32 198.51.100.23/32 198.51.100.20/32]"; fmt.Sprint(got) != want { // by their ends
		t.Errorf("in force are %v, want %v", got, want)
	}
}

// What the disk refuses is in force, and its sender is told; the disk has it once it takes it.
func TestBanWithoutADisk(t *testing.T) {
	e := newEdge(t)
	e.disk = unix.ENOSPC
	c, err := e.Ban(ctx, root, api.BanRequest{Prefix: scraper.String()})
	if err != nil || len(e.kernel.bans) != 1 || !strings.Contains(fmt.Sprint(c.Details), "the disk refused the record") {
		t.Errorf("%+v, %v, the kernel has %v", c, err, e.kernel.bans)
	}
	if _, told := e.Ledger.Problem(ledger.ProblemBanDisk); !told {
		t.Error("nobody says that a reboot forgets it")
	}
	e.disk = nil
	e.Flush()
	if _, told := e.Ledger.Problem(ledger.ProblemBanDisk); told {
		t.Error("the problem stays")
	}
	e.reboot()
	if len(e.kernel.bans) != 1 {
		t.Error("a reboot forgets it")
	}
}

// What the kernel refuses is not remembered.
func TestBanThatTheKernelRefuses(t *testing.T) {
	e := newEdge(t)
	e.kernel.refuse = unix.EPERM
	if _, err := e.Ban(ctx, root, api.BanRequest{Prefix: scraper.String()}); !errors.Is(err, unix.EPERM) {
		t.Errorf("got %v", err)
	}
	if all := e.store.Bans().All(); len(all) != 0 {
		t.Errorf("the record has %+v", all)
	}
	h, err := e.Ledger.History(ctx, 1)
	if err != nil || len(h.Entries) != 1 || h.Entries[0].Outcome != api.OutcomeRefused || h.Entries[0].Verb != "ban" {
		t.Errorf("the history has %+v, %v", h, err)
	}
}
