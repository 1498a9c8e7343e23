// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/state"
)

// rig is a machine, a disk and a clock, and the agents that come and go on them.
type rig struct {
	t       *testing.T
	dir     string
	pins    string
	machine *machine
	host    *config.Host
	clock   time.Time
	openErr error
	fault   func(op, path string) error // of writes
	unread  func(path string) error     // of reads
	own     []netip.Addr

	bootID string // what the kernel calls this boot; "": starts are not counted

	stepped time.Duration  // by how much the wall clock was set
	devices map[string]int // by name; those not named here have index 2

	*agent
	fake *fake
}

const hostYAML = `version: 1
max_mode: enforce
interfaces: [{name: eth0}]
services:
  - {name: web, port: 443, kind: tls}
  - {name: dns, port: 53, kind: udp}
allowlist: [{prefix: 203.0.113.0/28, note: office}]
guards: {bake: 10m, lease: 5s, ban_rate: 3, rollout: direct}
capacity: {prefixes_v4: 1000, bans: 4}
`

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), pins: noPins(t), clock: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
		own: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	r.machine = newMachine(func() time.Time { return r.clock })
	r.writeHost(hostYAML)
	r.start()
	return r
}

func (r *rig) hostPath() string { return filepath.Join(r.dir, "spillway.yaml") }

func (r *rig) writeHost(yaml string) {
	r.t.Helper()
	yaml += fmt.Sprintf("listen: {socket: %s/spillway.sock, metrics: \"\"}\npaths: {state: %s/state, pins: %s}\n", r.dir,
		r.dir, r.pins)
	if err := os.WriteFile(r.hostPath(), []byte(yaml), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// start runs an agent up to its first tick, without goroutines but the heartbeat's.
func (r *rig) start() {
	r.t.Helper()
	r.startWithoutAdoption()
	r.tick(false)
}

// startWithoutAdoption makes an agent that has not looked at the kernel yet.
func (r *rig) startWithoutAdoption() {
	r.t.Helper()
	h, err := config.LoadHost(r.hostPath())
	if err != nil {
		r.t.Fatal(err)
	}
	r.host = h
	o := Options{Host: h, HostPath: r.hostPath(), Version: "test", Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return r.clock }}
	o.own = func() ([]netip.Addr, error) { return r.own, nil }
	o.network = fakeNetwork{r.machine, &r.devices}
	o.owner = r.machine.own
	o.spawn = func(f func()) { f() }
	o.root = func(string) (plane.Root, error) { return &fake{r.machine, h}, nil }
	o.clock = func() compile.Clock {
		return compile.Clock{Wall: r.clock, MonotonicNS: uint64(r.clock.Add(-r.stepped).Sub(time.Unix(0, 0)))}
	}
	o.open = func(loader.Options) (dataplane, error) {
		if r.openErr != nil {
			return nil, r.openErr
		}
		r.fake = &fake{r.machine, h}
		return r.fake, nil
	}
	o.machine = func() string { return r.bootID }
	o.fault = func(op, path string) error {
		switch {
		case op == "read" && r.unread != nil:
			return r.unread(path)
		case op != "read" && r.fault != nil:
			return r.fault(op, path)
		}
		return nil
	}
	o.setDefaults()
	store, err := openStore(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.agent = newAgent(o, store)
	if r.bootID != "" {
		r.countStart()
	}
	r.t.Cleanup(r.stop)
}

func sameText(a, b *config.Host) bool { return fmt.Sprintf("%+v", *a) == fmt.Sprintf("%+v", *b) }

// stop ends the agent as a kill does: nothing is taken back.
func (r *rig) stop() {
	if r.agent == nil {
		return
	}
	r.plane.Close()
	r.plane.Disown()
	_ = r.store.Close()
	r.agent = nil
}

func (r *rig) restart() { r.stop(); r.start() }

// pass lets time pass, with one tick at its end.
func (r *rig) pass(d time.Duration) {
	r.clock = r.clock.Add(d)
	r.tick(false)
}

// step sets the wall clock. The kernel's clock, and so the rest of each ban, stays.
func (r *rig) step(by time.Duration) {
	r.clock, r.stepped = r.clock.Add(by), r.stepped+by
	for p, until := range r.machine.bans {
		r.machine.bans[p] = until.Add(by)
	}
	r.machine.heartbeat = r.machine.heartbeat.Add(by)
}

var root = api.Caller{UID: 0, User: "root"}

func bundleYAML(name string, entries ...string) api.Files {
	text := "version: 1\nname: " +
		name + "\nrules: [{id: bad, label: denied, score: 100}, {id: scan, label: scanner, score: 90, expires: 2099-01-01T00:00:00Z}]\n" +
		"features:\n  tcp: [{rule: scan, muonfp: \"1024:2:1460:\"}]\n  prefixes:\n" +
		"    - {list: own, rule: bad, file: own.netset}\npolicy: {default: {drop: 80}}\n"
	list := "198.51.100.0/24\n"
	for _, e := range entries {
		list += e + "\n"
	}
	return api.Files{config.BundleFile: []byte(text), "own.netset": []byte(list)}
}

// Apply is a rollout of a bundle, and its change.
func (a *agent) Apply(ctx context.Context, by api.Caller, name string, files api.Files,
	o api.ApplyOptions) (*api.Change, error) {
	req := o.Request(name)
	req.Remove = a.otherPolicy(files)
	ro, err := a.release.StartRollout(ctx, by, req, files)
	if err != nil {
		return nil, err
	}
	return &ro.Change, nil
}

// otherPolicy is the name of the bundle in force that has the policy, where the one that comes has another name and a
// policy too: most tests do not care that a set has one.
func (a *agent) otherPolicy(files api.Files) string {
	text := string(files[config.BundleFile])
	g := a.release.InForce()
	if g == nil || !strings.Contains(text, "policy:") {
		return ""
	}
	name := a.nameOf(g.Digest)
	if set, err := a.store.Set(g.Digest); err == nil {
		if set.Policy() == nil {
			return ""
		}
		name = set.Policy().Name
	}
	if strings.Contains(text, "name: "+name+"\n") {
		return ""
	}
	return name
}

// Confirm confirms the rollout that waits for it, as the command does.
func (a *agent) Confirm(ctx context.Context, by api.Caller, reason string) (*api.Change, error) {
	all, err := a.release.Rollouts(ctx)
	if err != nil {
		return nil, err
	}
	if w := all.Waiting(); w != nil {
		return a.release.ConfirmRollout(ctx, by, w.ID, reason)
	}
	c, err := a.release.ConfirmRollout(ctx, by, "none", reason)
	var e *api.Error
	if errors.As(err, &e) && e.Code == api.CodeNotFound {
		err = api.ErrNoCandidate
	}
	return c, err
}

func (r *rig) apply(name string, o api.ApplyOptions) (*api.Change, error) {
	return r.agent.Apply(context.Background(), root, "bundle.yaml", bundleYAML(name), o)
}

func (r *rig) mustApply(name string, o api.ApplyOptions) *api.Change {
	r.t.Helper()
	c, err := r.apply(name, o)
	if err != nil {
		r.t.Fatalf("apply %s: %v", name, err)
	}
	return c
}

// What most tests ask of the ledger.
func (a *agent) state() *state.Record                 { return a.ledger.Record() }
func (a *agent) nameOf(d config.Digest) string        { return a.ledger.NameOf(d) }
func (a *agent) knows(d config.Digest) *ledger.Bundle { return a.ledger.Knows(d) }
func (a *agent) ensureKnown(d config.Digest)          { a.ledger.EnsureKnown(d) }

// role returns the name of the bundle in a role, "" when there is none.
func (r *rig) role(role string) string {
	r.t.Helper()
	r.plane.Rows.Learn()
	s, err := r.Status(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, g := range s.Generations {
		if g.Role == role {
			return g.Name
		}
	}
	return ""
}

func (r *rig) wantRoles(stable, candidate, previous string) {
	r.t.Helper()
	got := [3]string{r.role("stable"), r.role("candidate"), r.role("previous")}
	if want := [3]string{stable, candidate, previous}; got != want {
		r.t.Errorf("stable, candidate, previous: got %q, want %q", got, want)
	}
}

// knownGood returns the name of last-known-good.
func (r *rig) knownGood() string {
	if k := r.state().LastKnownGood; k != nil {
		return k.Name()
	}
	return ""
}

// lastLine returns verb and outcome of the newest line of the history.
func (r *rig) lastLine() string {
	r.t.Helper()
	entries, skipped, err := r.store.History(1)
	if err != nil || skipped > 0 || len(entries) == 0 {
		r.t.Fatalf("history: %v, skipped %d, %d entries", err, skipped, len(entries))
	}
	return entries[0].Verb + " " + entries[0].Outcome
}

func (r *rig) wantLine(want string) {
	r.t.Helper()
	if got := r.lastLine(); got != want {
		r.t.Errorf("history: got %q, want %q", got, want)
	}
}

func wantCode(t *testing.T, err error, code string) *api.Error {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want code %s", err, code)
	}
	return e
}
