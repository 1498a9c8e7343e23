// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
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
	pins := fmt.Sprintf("/sys/fs/bpf/spillway-test-%d-%s", os.Getpid(), strings.ReplaceAll(strings.ToLower(t.Name()), "/", "-"))
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
	image, err := loader.CompileHost(host, nil, 1)
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
		generation, err := loader.CompileBundle(b, image, uint32(number+1), loader.Now())
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
	if st.Source != api.SourcePins || len(st.Generations) != 2 || len(st.Services) != 2 || st.BanCapacity != 4 || st.HostNumber != 1 {
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
	s.wantOut("bypass is on for another 30m")
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
	// A14: a rollback beside it is one compare-and-swap; it writes it down when it goes on.
	s.want(exitOK, "rollback", "--to", "observe", "--reason", "it hangs")
	s.wantOut("it writes this down when it goes on")
	if left, _ := holder.Notes(); d.Control().Mode != bpf.DataplaneModeMODE_OBSERVE || len(left) != 1 || left[0].Reason != "it hangs" {
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

func TestRollbackWithoutAgent(t *testing.T) {
	s, d := pinnedShell(t)
	before := d.Control()
	s.want(exitOK, "rollback", "--reason", "drill")
	s.wantOut("generation #1")
	if after := d.Control(); after.Stable != before.Previous || after.Previous != 0 {
		t.Errorf("control word was %+v, is %+v", before, after)
	}
	s.want(exitError, "rollback")
	s.wantErr("spillway bypass on")
	entries, _, err := state.ReadHistory(s.dir+"/state", 0)
	if err != nil || len(entries) != 1 || entries[0].Verb != "rollback" || entries[0].Reason != "drill" || entries[0].Number != 1 {
		t.Errorf("history is %+v, %v", entries, err)
	}
}

// A candidate that waits is what a rollback ends, with an agent and without one.
func TestRollbackOfACandidateWithoutAgent(t *testing.T) {
	for _, lease := range []loader.Deadline{loader.In(time.Hour), 0} {
		t.Run(fmt.Sprintf("lease_%v", lease.Active()), func(t *testing.T) {
			s, d := pinnedShell(t)
			candidate(t, s, d, "third")
			d.SetLease(lease)
			store, err := state.Open(s.dir+"/state", state.Options{})
			if err != nil {
				t.Fatal(err)
			}
			all, err := d.Generations()
			if err != nil {
				t.Fatal(err)
			}
			digests := map[string]config.Digest{}
			for _, g := range all {
				digests[g.Role] = g.Digest
			}
			stable := state.Generation{Digest: digests["stable"], Number: 2}
			if err := store.Save(&state.Record{Applied: &stable, LastKnownGood: &stable, Confirm: &state.Confirm{Generation: state.Generation{Digest: digests["candidate"], Number: 3}}}); err != nil {
				t.Fatal(err)
			}
			store.Close()
			before := d.Control()
			s.want(exitOK, "rollback", "--reason", "drill")
			s.wantOut("the candidate, generation 3, is ended")
			if after := d.Control(); after.Stable != before.Stable || after.Previous != before.Previous || after.Candidate != 0 || d.Lease() != 0 {
				t.Errorf("control word was %+v, is %+v, lease %v", before, after, d.Lease())
			}
			if store, err = state.Open(s.dir+"/state", state.Options{}); err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			r, err := store.Load()
			if err != nil {
				t.Fatal(err)
			}
			if r.Applied.Number != 2 || r.LastKnownGood.Number != 2 || r.Confirm != nil || len(r.Quarantine) != 1 || r.Quarantine[0].Digest != digests["candidate"] {
				t.Errorf("record %+v, quarantine %+v", r, r.Quarantine)
			}
		})
	}
}

// candidate publishes a third bundle for all sources.
func candidate(t *testing.T, s *shell, d *loader.Dataplane, name string) {
	t.Helper()
	host, err := config.LoadHost(s.hostFile)
	if err != nil {
		t.Fatal(err)
	}
	info, err := d.Host()
	if err != nil {
		t.Fatal(err)
	}
	image, err := loader.CompileHost(host, info, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := config.LoadBundle(s.write("bundle.yaml", strings.Replace(soundBundle, "name: edge", "name: "+name, 1)), host, config.BundleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	generation, err := loader.CompileBundle(b, image, 3, loader.Now())
	if err != nil {
		t.Fatal(err)
	}
	slot, err := d.Build(generation)
	if err != nil {
		t.Fatal(err)
	}
	all := uint16(1000)
	if _, err := d.Publish(loader.Change{Candidate: &slot, Canary: &all}); err != nil {
		t.Fatal(err)
	}
}

// What is done without an agent is in the record: a reboot must not bring back what was left, nor end a bypass.
func TestRecordFollowsWithoutAgent(t *testing.T) {
	s, d := pinnedShell(t)
	all, err := d.Generations()
	if err != nil {
		t.Fatal(err)
	}
	digests := map[uint32]config.Digest{}
	for _, g := range all {
		digests[g.Number] = g.Digest
	}
	load := func(edit func(*state.Record)) *state.Record {
		t.Helper()
		store, err := state.Open(s.dir+"/state", state.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		r, err := store.Load()
		if err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			edit(r)
			if err := store.Save(r); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	load(func(r *state.Record) {
		bad := state.Generation{Digest: digests[2], Number: 2}
		r.Applied, r.LastKnownGood, r.Confirm = &bad, &bad, &state.Confirm{Generation: bad}
	})
	s.want(exitOK, "rollback", "--reason", "drill")
	r := load(nil)
	if r.Applied.Digest != digests[1] || r.LastKnownGood.Digest != digests[1] || r.Confirm != nil || !r.BakeUntil.IsZero() {
		t.Errorf("a reboot would bring back %+v (applied %+v, candidate %+v)", r.LastKnownGood, r.Applied, r.Confirm)
	}
	if len(r.Quarantine) != 1 || r.Quarantine[0].Digest != digests[2] || r.Quarantine[0].Reason != "drill" {
		t.Errorf("quarantine is %+v", r.Quarantine)
	}
	s.want(exitOK, "bypass", "on", "--for", "30m", "--reason", "drill")
	s.want(exitOK, "bypass", "on", "--service", "shop")
	r = load(nil)
	if b, ok := r.Bypass[""]; !ok || b.Until.IsZero() || b.Reason != "drill" {
		t.Errorf("bypasses are %+v", r.Bypass)
	}
	if b, ok := r.Bypass["shop"]; !ok || !b.Until.IsZero() {
		t.Errorf("bypasses are %+v", r.Bypass)
	}
	s.want(exitOK, "bypass", "off")
	if _, ok := load(nil).Bypass[""]; ok {
		t.Error("a reboot would turn the bypass on again")
	}
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

// A18: a ban is ended on the pins when nobody answers, and beside an agent that hangs, as bypass and rollback are.
func TestA18UnbanWithoutAgent(t *testing.T) {
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

// hangingAgent takes connections and does nothing with them.
func hangingAgent(s *shell) {
	s.t.Helper()
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
}

// A18: every command ends in time beside an agent that hangs, says which process that is, and what to do.
func TestA18NoCommandHangs(t *testing.T) {
	s := newShell(t)
	bundle := s.write("bundle.yaml", soundBundle)
	hangingAgent(s)
	var wg sync.WaitGroup
	for _, args := range [][]string{{"status"}, {"verify"}, {"history"}, {"events"}, {"events", "--follow"}, {"bans"}, {"plan", bundle}, {"apply", bundle, "--yes"}, {"confirm"},
		{"rollback"}, {"reload"}, {"bypass", "on"}, {"bypass", "off"}, {"ban", "203.0.113.7"}, {"unban", "203.0.113.7"}} {
		wg.Go(func() { // all at once: each of them waits
			s := *s // its own output
			s.out, s.err = &bytes.Buffer{}, &bytes.Buffer{}
			s.env.stdout, s.env.stderr = s.out, s.err
			begun := time.Now()
			code := s.run(args...)
			if took := time.Since(begun); took > 30*time.Second { // hangPatience, and what a busy machine adds
				t.Errorf("%v took %s", args, took)
			}
			if args[0] == "history" { // from its file
				if code != exitOK {
					t.Errorf("%v: exit code %d", args, code)
				}
			} else if code != exitNoAgent {
				t.Errorf("%v: exit code %d, want %d", args, code, exitNoAgent)
			}
			s.wantErr(fmt.Sprintf("process %d", os.Getpid()))
			s.wantErr("systemctl restart spillway")
		})
	}
	wg.Wait()
}
