// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// requireRoot skips, and in CI fails, without the privilege that BPF maps need.
func requireRoot(t *testing.T) {
	t.Helper()
	var st unix.Statfs_t
	missing := ""
	if os.Geteuid() != 0 {
		missing = "pinned maps need root"
	} else if unix.Statfs("/sys/fs/bpf", &st) != nil || st.Type != unix.BPF_FS_MAGIC {
		missing = "no BPF file system: mount -t bpf -o mode=0700 bpf /sys/fs/bpf"
	}
	switch {
	case missing != "" && os.Getenv("CI") != "":
		t.Fatal(missing)
	case missing != "":
		t.Skip(missing)
	}
}

// pinnedShell is a shell on a host whose agent has died: two generations are resident, nothing listens.
func pinnedShell(t *testing.T) (*shell, *loader.Dataplane) {
	t.Helper()
	requireRoot(t)
	s := newShell(t)
	pins := fmt.Sprintf("/sys/fs/bpf/spillway-test-%d-%s", os.Getpid(),
		strings.ReplaceAll(strings.ToLower(t.Name()), "/", "-"))
	text, err := os.ReadFile(s.hostFile)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), s.dir+"/pins", pins, 1) +
		"capacity: {prefixes_v4: 16, prefixes_v6: 16, tcp_fingerprints: 16, rules: 16, flows: 64, syns: 64, bans: 4, allowlist: 4}\n")
	s.write("host.yaml", string(text))
	host, err := config.LoadHost(s.hostFile)
	if err != nil {
		t.Fatal(err)
	}
	d, err := loader.Open(loader.Options{Pins: pins, Capacity: host.Capacity})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Close()
		if err := loader.DetachPins(pins); err != nil {
			t.Error(err)
		}
	})
	publish(t, s, d, host)
	return s, d
}

// publish puts a host file and two bundles into the kernel, as an agent does.
func publish(t *testing.T, s *shell, d *loader.Dataplane, host *config.Host) {
	t.Helper()
	image, err := compile.HostFile(host, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := d.BuildHost(image)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Publish(loader.Change{Host: &slot}); err != nil {
		t.Fatal(err)
	}
	for number, name := range []string{"first", "second"} {
		path := s.write("bundle.yaml", strings.Replace(soundBundle, "name: edge", "name: "+name, 1))
		b, err := config.LoadBundle(path, host, config.BundleOptions{})
		if err != nil {
			t.Fatal(err)
		}
		generation, err := compile.Bundle(b, image, uint32(number+1), loader.Now())
		if err != nil {
			t.Fatal(err)
		}
		slot, err := d.Build(generation)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Publish(loader.Change{Stable: &slot}); err != nil {
			t.Fatal(err)
		}
	}
	d.Beat()
}

func TestStatusWithoutAgent(t *testing.T) {
	s, _ := pinnedShell(t)
	s.want(exitDegraded, "status")
	if !strings.HasPrefix(s.stdout, "No agent answers.") {
		t.Errorf("the first line does not say that no agent answers:\n%s", s.stdout)
	}
	s.wantOut("#2")
	s.wantOut("previous")
	s.wantOut("shop")
	s.want(exitDegraded, "status", "-o", "json")
	var st api.Status
	if err := json.Unmarshal([]byte(s.stdout), &st); err != nil {
		t.Fatal(err)
	}
	if st.Source != api.SourcePins || len(st.Generations) != 2 || len(st.Services) != 2 ||
		st.BanCapacity != 4 || st.HostNumber != 1 {
		t.Errorf("status is %+v", st)
	}
	s.want(exitDegraded, "verify")
	s.wantOut("not checked: the rows")
	s.want(exitOK, "bans")
	s.wantOut("No bans")
}

func TestBypassWithoutAgent(t *testing.T) {
	s, d := pinnedShell(t)
	s.want(exitOK, "bypass", "on", "--for", "30m", "--reason", "drill")
	if left := d.Bypass().Left(); left < 29*time.Minute || left > 30*time.Minute {
		t.Errorf("the bypass lasts %v, want 30m", left)
	}
	s.want(exitDegraded, "status")
	if !strings.Contains(s.stdout, "bypass is on for another 30m") {
		s.wantOut("bypass is on for another 29m") // on a busy machine
	}
	s.want(exitOK, "bypass", "off")
	if d.Bypass().Active() {
		t.Error("the bypass is still on")
	}
	s.want(exitOK, "bypass", "on", "--service", "shop")
	host, err := d.Host()
	if err != nil {
		t.Fatal(err)
	}
	shop, _ := host.Service("shop")
	web, _ := host.Service("web")
	if !d.ServiceBypass(shop.ID).Active() || d.ServiceBypass(web.ID).Active() || d.Bypass().Active() {
		t.Error("a bypass of shop is not one of shop alone")
	}
	s.want(exitError, "bypass", "on", "--service", "shopp")
	s.wantErr("did you mean shop?")
	s.want(exitOK, "history")
	s.wantOut("drill")
	s.wantOut("bypass on")
}

// The kill switch works with everything around it broken: the host file, the disk, and an agent that hangs.
func TestBypassWorksWhateverIsBroken(t *testing.T) {
	s, d := pinnedShell(t)
	check := func(what string) {
		t.Helper()
		d.SetBypass(0)
		s.want(exitOK, "bypass", "on")
		if !d.Bypass().Active() {
			t.Errorf("%s: the bypass is off", what)
		}
	}
	text, err := os.ReadFile(s.hostFile)
	if err != nil {
		t.Fatal(err)
	}
	s.write("host.yaml", string(text)+"nonsense: 7\n")
	check("a faulty host file")
	s.wantErr("spillway config check")
	s.write("host.yaml", string(text))

	holder, err := state.Open(s.dir+"/state", state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	check("an agent that hangs")
	s.wantOut("the history has no line of this, and a reboot forgets it")
	// F14: a rollback beside it is one compare-and-swap; it writes it down when it goes on.
	s.want(exitOK, "rollback", "--to", "observe", "--reason", "it hangs")
	s.wantOut("it writes this down when it goes on")
	if left, _ := holder.Notes(); d.Control().Mode != bpf.ModeObserve || len(left) != 1 || left[0].Reason != "it hangs" {
		t.Errorf("control %+v, notes %+v", d.Control(), left)
	}
	holder.Close()

	if err := os.RemoveAll(s.dir + "/state"); err != nil {
		t.Fatal(err)
	}
	s.write("state", "no folder can be made here")
	check("a disk that refuses")
	s.wantOut("the history has no line of this")
	s.want(exitOK, "rollback")
	s.wantOut("the history has no line of this")
}

func TestDetach(t *testing.T) {
	s, _ := pinnedShell(t)
	s.want(exitError, "detach") // nobody can be asked
	s.wantErr("--yes")
	s.env.stdinTTY, s.env.stdin = true, strings.NewReader("n\n")
	s.want(exitError, "detach")
	s.wantErr("nothing was changed")
	s.want(exitDegraded, "status")

	a := startAgent(s)
	a.answer("GET /v1/status", healthy())
	s.want(exitError, "detach", "--yes")
	s.wantErr("systemctl stop spillway")
	a.answer("GET /v1/status", &api.Error{Status: 500, Code: api.CodeInternal, Message: "out of order"})
	s.want(exitError, "detach", "--yes") // it answered, so it runs
	if err := os.Remove(s.socket); err != nil {
		t.Fatal(err)
	}
	s.env.stdin = strings.NewReader("y\n")
	s.want(exitOK, "detach")
	s.wantOut("everything passes")
	s.want(exitNoAgent, "detach", "--yes")
	s.want(exitNoAgent, "status")
	s.wantErr("nothing of Spillway runs here")
}

// F18: a ban is ended on the pins when nobody answers, and beside an agent that hangs, as bypass and rollback are.
func TestF18UnbanWithoutAgent(t *testing.T) {
	s, d := pinnedShell(t)
	one, wide := netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("198.51.100.0/24")
	banned := func() map[netip.Prefix]bool {
		t.Helper()
		all, err := d.Bans()
		if err != nil {
			t.Fatal(err)
		}
		out := map[netip.Prefix]bool{}
		for _, b := range all {
			out[b.Prefix] = true
		}
		return out
	}
	for _, p := range []netip.Prefix{one, wide} {
		if err := d.Ban(p, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	s.want(exitOK, "unban", "203.0.113.7", "--reason", "drill")
	s.wantOut("the ban of 203.0.113.7/32 is ended")
	if b := banned(); b[one] || !b[wide] {
		t.Errorf("banned: %v", b)
	}
	s.want(exitOK, "history")
	s.wantOut("drill")
	s.want(exitError, "unban", "203.0.113.7")
	s.wantErr("there is no ban of")
	s.want(exitError, "unban", "198.51.100.9")
	s.wantErr("spillway unban 198.51.100.0/24")
	s.want(exitError, "unban", "nonsense")

	hangingAgent(s)
	holder, err := state.Open(s.dir+"/state", state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	s.want(exitOK, "unban", "198.51.100.0/24")
	s.wantErr(fmt.Sprintf("process %d", os.Getpid()))
	s.wantOut("the history has no line of this")
	if len(banned()) != 0 {
		t.Errorf("banned: %v", banned())
	}
}
