// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

func TestBypass(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	c, err := r.agent.bypass.Set(ctx, root, api.BypassRequest{On: true, Service: "web", ForSeconds: 1800, Reason: "login"})
	if err != nil || !c.Until.Equal(r.clock.Add(30*time.Minute)) {
		t.Fatalf("%+v, %v", c, err)
	}
	s, _ := r.Status(ctx)
	if !s.Services[0].Bypass.Active || s.Services[0].Bypass.Reason != "login" || s.Bypass.Active ||
		s.State != api.StatePartly || s.Protected {
		t.Errorf("%s: %+v", s.Says, s.Services)
	}
	if _, err := r.agent.bypass.Set(ctx, root, api.BypassRequest{On: true}); err != nil {
		t.Fatal(err)
	}
	r.wantLine("bypass on done")
	r.reboot()
	s, _ = r.Status(ctx)
	if !s.Bypass.Active || !s.Services[0].Bypass.Active || s.Protected {
		t.Errorf("a reboot ends a bypass: %+v %+v", s.Bypass, s.Services)
	}
	if _, err := r.agent.bypass.Set(ctx, root, api.BypassRequest{}); err != nil {
		t.Fatal(err)
	}
	if s, _ = r.Status(ctx); s.Bypass.Active || !s.Services[0].Bypass.Active {
		t.Errorf("%+v %+v", s.Bypass, s.Services)
	}
	_, err = r.agent.bypass.Set(ctx, root, api.BypassRequest{On: true, Service: "wep"})
	if e := wantCode(t, err, api.CodeNotFound); !strings.Contains(e.Fix, "dns, web") {
		t.Errorf("fix %q", e.Fix)
	}
	for _, bad := range []api.BypassRequest{{On: true, ForSeconds: -1}, {On: true, ForSeconds: 1e12}, {ForSeconds: 1}} {
		_, err = r.agent.bypass.Set(ctx, root, bad)
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
		c, err := r.agent.bans.Ban(ctx, root, api.BanRequest{Prefix: row.prefix, ForSeconds: row.secs, Reason: "scraper"})
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
	list, err := r.agent.bans.List(ctx)
	if err != nil || len(list.Bans) != 1 || list.Bans[0].Reason != "scraper" || list.Bans[0].By != "root" {
		t.Errorf("after a minute: %+v, %v", list, err)
	}
	for i := range 3 {
		if _, err := r.agent.bans.Ban(ctx, root, api.BanRequest{Prefix: fmt.Sprintf("198.51.100.%d", 20+i)}); err != nil {
			t.Fatal(err)
		}
	}
	r.clock = r.clock.Add(2 * time.Minute)
	_, err = r.agent.bans.Ban(ctx, root, api.BanRequest{Prefix: "198.51.100.30"})
	wantCode(t, err, api.CodeLimit)
	if _, err := r.agent.bans.Ban(ctx, root, api.BanRequest{Prefix: "198.51.100.20", ForSeconds: 7200}); err != nil {
		t.Errorf("a longer ban of the same at full capacity: %v", err)
	}
	_, err = r.bans.Unban(ctx, root, "198.51.100.99", "")
	wantCode(t, err, api.CodeNotFound)
	if _, err := r.bans.Unban(ctx, root, "198.51.100.21", "mistake"); err != nil {
		t.Fatal(err)
	}
	r.machine.bans[netip.MustParsePrefix("198.51.100.77/32")] = r.clock.Add(time.Hour)
	r.restart()
	r.reboot()
	list, _ = r.agent.bans.List(ctx)
	var got []string
	for _, b := range list.Bans {
		got = append(got, b.Prefix)
	}
	if want := "[198.51.100.7/32 198.51.100.22/32 198.51.100.77/32 198.51.100.20/32]"; fmt.Sprint(got) != want {
		t.Errorf("after a reboot: %v, want %v", got, want)
	}
}

func TestShort(t *testing.T) {
	for in, want := range map[time.Duration]string{30 * time.Minute: "30m", time.Hour: "1h", 90 * time.Minute: "1h30m",
		90 * time.Second: "1m30s", 10 * time.Second: "10s", 0: "0s"} {
		if got := api.Short(in); got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
}
