// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/plane"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/release/releasetest"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/stages"
	"github.com/spillway/spillway/userspace/view"
)

const hostText = `version: 1
max_mode: %s
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: http}]
guards: {bake: 20s, lease: 5s, rollout: staged}
allowlist: [%s/32, "%s/128"]
capacity: {prefixes_v4: 1024, prefixes_v6: 1024, tcp_fingerprints: 256, rules: 64, flows: 4096, syns: 4096, hellos: 64,
  shapes: 4096, bans: 64, allowlist: 64, services: 16}
listen: {socket: /run/site/sock, metrics: ""}
paths: {state: /var/lib/site, pins: /sys/fs/bpf/site}
`

// allowed are the groups whose first host is on the allowlist.
var allowed = []int{groups - 1, groups - 2}

func hostFiles(t testing.TB) (files [2]*hostfile.File) {
	t.Helper()
	for i, mode := range []string{"enforce", "observe"} {
		var err error
		files[i], err = hostfile.Parse("host", fmt.Appendf(nil, hostText, mode, source(allowed[1], 0), source(allowed[0], 0)))
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// bundle blocks groups by a rule that it declares, and others by one that it does not.
func bundle(t testing.TB, h *config.Host, name string, declared, undeclared []int) *config.Bundle {
	t.Helper()
	policy := ""
	if name == "base" {
		policy = "policy: {default: {drop: 80}}\n"
	}
	text := fmt.Sprintf("version: 1\nname: %[1]s\nrules: [{id: %[1]s-scan, label: scan, score: 100}, "+
		"{id: %[1]s-oops, label: oops, score: 100}]\nfeatures:\n  prefixes:\n"+
		"    - {list: scan, rule: %[1]s-scan, file: scan.netset}\n    - {list: oops, rule: %[1]s-oops, file: oops.netset}\n"+
		"intent: {expects: {new_blocks: 20%%, by: [scan]}}\n%[2]s", name, policy)
	rows := func(groups []int) []byte {
		list := "203.0.113.1/32\n"
		for _, n := range groups {
			list += row(n).String() + "\n"
		}
		return []byte(list)
	}
	files := api.Files{config.BundleFile: []byte(text), "scan.netset": rows(declared), "oops.netset": rows(undeclared)}
	b, err := config.ParseBundle(config.BundleFile, files[config.BundleFile], files, h,
		config.BundleOptions{Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// row is what a list has of a group: all of it, or of every third but its second host.
func row(n int) netip.Prefix {
	if n%3 == 0 {
		return netip.PrefixFrom(source(n, 1), source(n, 1).BitLen())
	}
	return group(n)
}

func between(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

// trace is one sequence of looks, visitors and people, on both kernels.
type trace struct {
	t     testing.TB
	clock *clock
	sim   fake
	both  [2]*side // the simulation's, and the real one
	files [2]*hostfile.File
	looks int
	log   []string
}

func newTrace(t testing.TB, r *room, p *plane.Plane) *trace {
	t.Helper()
	tr := &trace{t: t, clock: &clock{mono: time.Hour, wall: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)},
		files: hostFiles(t)}
	k := &real{Dataplane: p.Dataplane, t: t, p: p, r: r, clock: tr.clock}
	k.empty()
	above, err := p.NextNumber()
	k.must(err)
	host, err := p.Host()
	k.must(err)
	tr.sim = fake{&releasetest.Kernel{Trouble: &releasetest.Trouble{}, Mono: &tr.clock.mono, Above: above - 1,
		HostFile: host}}
	for i, of := range []kernel{tr.sim, k} {
		tr.both[i] = &side{t: t, name: []string{"fake", "real"}[i], k: of, clock: tr.clock, file: tr.files[0],
			disk: releasetest.NewDisk(&releasetest.Trouble{}), hostDisk: &releasetest.Hosts{Trouble: &releasetest.Trouble{}}}
		tr.both[i].start()
	}
	return tr
}

func (tr *trace) tell(format string, args ...any) {
	tr.log = append(tr.log, fmt.Sprintf("look %d: ", tr.looks)+fmt.Sprintf(format, args...))
}

func (tr *trace) fail(what, diff string) {
	tr.t.Helper()
	tr.t.Fatalf("%s (-fake +real):\n%s\n%s", what, diff, strings.Join(tr.log, "\n"))
}

// each does the same on both sides, and compares what came of it.
func (tr *trace) each(what string, do func(s *side) string) string {
	tr.t.Helper()
	a, b := do(tr.both[0]), do(tr.both[1])
	tr.tell("%s: %s", what, a)
	if a != b {
		tr.fail(what, gocmp.Diff(a, b))
	}
	return a
}

func (tr *trace) apply(b *config.Bundle, r api.RolloutRequest) {
	tr.t.Helper()
	r.Accept = "meant"
	tr.each("apply "+b.Name, func(s *side) string { return s.ask(b, r) })
}

func (tr *trace) command(verb rollout.Verb) {
	tr.t.Helper()
	tr.each(string(verb), func(s *side) string {
		list, err := stages.NewFront(s.mg, s.st).Rollouts(tr.t.Context())
		if err != nil {
			return err.Error()
		}
		c := rollout.Command{Verb: verb, Share: 0.4, By: "root", Reason: "meant"}
		for _, ro := range list.Rollouts {
			if ro.State == api.RolloutRunning {
				c.ID = ro.ID
			}
		}
		_, err = s.st.Do(c)
		return said(err)
	})
}

func (tr *trace) reload(file int) {
	tr.t.Helper()
	tr.each("reload", func(s *side) string {
		k, done, err := s.mg.Begin()
		if err != nil {
			return err.Error()
		}
		defer done()
		s.file = tr.files[file]
		_, err = s.mg.PublishHost(k, s.file, view.ModeOf(s.file.Host.MaxMode))
		return said(err)
	})
}

func (tr *trace) restart() {
	tr.t.Helper()
	tr.each("the agent starts again", func(s *side) string {
		s.k = s.k.restart(tr.t)
		s.start()
		return ""
	})
}

// away passes time in which nobody looks, and then visitors come.
func (tr *trace) away(d time.Duration, groups ...int) {
	tr.t.Helper()
	tr.clock.pass(d)
	tr.tell("nobody looks for %s", d)
	tr.visitors(groups, nil)
}

// visitors come from both hosts of groups; of some the client resets.
func (tr *trace) visitors(groups []int, resets func(group int) bool) {
	tr.t.Helper()
	for _, s := range tr.both {
		s.k.look()
	}
	for _, n := range groups {
		for host := range 2 {
			v := releasetest.Visit{Source: source(n, host), Resets: resets != nil && resets(n)}
			if host == 0 && slices.Contains(allowed, n) {
				v.Class = loader.ClassAllowlist
			}
			v.Verdict = func(number uint32) releasetest.Verdict { return tr.verdict(number, n, v.Source) }
			a, b := tr.both[0].k.visit(v), tr.both[1].k.visit(v)
			if a != b {
				tr.fail(fmt.Sprintf("visit of %s is blocked", v.Source), gocmp.Diff(a, b))
			}
		}
	}
}

// verdict reads the lists of a generation.
func (tr *trace) verdict(number uint32, n int, from netip.Addr) (v releasetest.Verdict) {
	for _, img := range tr.sim.Images {
		if img == nil || img.Number() != number {
			continue
		}
		b := tr.both[0].disk.Sets[img.Digest()].Merge()
		for _, list := range b.Prefixes {
			// Without a policy nothing blocks.
			if len(b.Policy) == 0 || !slices.Contains(list.Entries, row(n)) || !row(n).Contains(from) {
				continue
			}
			v.Blocks = true
			v.Rule = slices.IndexFunc(b.Rules, func(r config.Rule) bool { return r.ID == list.Rule })
			v.Declared = b.Rules[v.Rule].Declared
		}
	}
	return v
}

// look is a second with visitors, and a look of both engines.
func (tr *trace) look(resets func(group int) bool, groups ...int) {
	tr.t.Helper()
	tr.looks++
	tr.clock.pass(time.Second)
	tr.visitors(groups, resets)
	before := tr.seen(tr.both[0])
	if real := tr.seen(tr.both[1]); !gocmp.Equal(before, real, addresses) {
		tr.fail("what was counted", gocmp.Diff(before, real, addresses))
	}
	for _, s := range tr.both {
		s.look()
	}
	a, b := tr.seen(tr.both[0]), tr.seen(tr.both[1])
	for _, line := range a.Decided {
		tr.tell("%s", line)
	}
	if !gocmp.Equal(a, b, addresses) {
		tr.fail("after a look", gocmp.Diff(a, b, addresses))
	}
	for _, s := range tr.both {
		s.told = len(s.disk.Entries)
	}
}

var addresses = cmpopts.EquateComparable(netip.Addr{})

// seen is what is compared of a side.
type seen struct {
	Stable, Candidate, Previous, Beside uint32
	Word                                loader.Control // without slots and epoch
	Leased                              bool
	Trips                               loader.Trips
	Lanes                               [loader.Lanes]counted
	Decided                             []string
	Record                              string
	Rollouts                            string
}

type counted struct {
	Running loader.Comparison
	Runs    bool
	Counts  loader.LaneCounts
}

func (tr *trace) seen(s *side) (out seen) {
	tr.t.Helper()
	all, err := s.k.Generations()
	if err != nil {
		tr.t.Fatal(err)
	}
	number := func(slot uint8) uint32 {
		for _, g := range all {
			if g.Slot == slot && slot != 0 {
				return g.Number
			}
		}
		return 0
	}
	c := s.k.Control()
	out = seen{Stable: number(c.Stable), Candidate: number(c.Candidate), Previous: number(c.Previous),
		Beside: number(s.k.Beside()), Leased: s.k.Lease().Active(), Trips: s.k.Tripped()}
	c.Stable, c.Candidate, c.Previous, c.Host, c.Epoch = 0, 0, 0, 0, 0
	out.Word = c
	for lane := range loader.Lanes {
		l := &out.Lanes[lane]
		l.Running, l.Runs = s.k.Running(lane)
		if l.Counts, err = s.k.Counts(lane); err != nil {
			tr.t.Fatal(err)
		}
		l.Counts.Pairs = slices.DeleteFunc(l.Counts.Pairs, func(p loader.Pair) bool { return p.Votes == 0 })
		slices.SortFunc(l.Counts.Pairs, func(a, b loader.Pair) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		slices.SortFunc(l.Counts.Blame, func(a, b loader.RuleVotes) int { return cmp.Compare(a.Rule, b.Rule) })
		for i := range l.Counts.Hits {
			l.Counts.Hits[i].At = time.Time{}
		}
		if len(l.Counts.Pairs) == 0 {
			l.Counts.Pairs = nil
		}
		if len(l.Counts.Blame) == 0 {
			l.Counts.Blame = nil
		}
		if len(l.Counts.Hits) == 0 {
			l.Counts.Hits = nil
		}
	}
	for _, e := range s.disk.Entries[s.told:] {
		out.Decided = append(out.Decided, e.Verb+" "+e.Outcome+": "+e.Reason+" "+strings.Join(e.Detail, "; "))
	}
	out.Record = textOf(s.disk.Record)
	list, err := stages.NewFront(s.mg, s.st).Rollouts(tr.t.Context())
	if err != nil {
		tr.t.Fatal(err)
	}
	out.Rollouts = textOf(list.Rollouts)
	return out
}

func textOf(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// until looks until a rollout is at a stage, or all is over ("").
func (tr *trace) until(stage string, resets func(group int) bool, groups ...int) {
	tr.t.Helper()
	for range 60 {
		if tr.look(resets, groups...); tr.stage() == stage {
			return
		}
	}
	tr.fail("it never came to "+stage, tr.seen(tr.both[0]).Rollouts)
}

// stage is that of the rollout that runs; "" none does.
func (tr *trace) stage() string {
	list, err := stages.NewFront(tr.both[0].mg, tr.both[0].st).Rollouts(tr.t.Context())
	if err != nil {
		tr.t.Fatal(err)
	}
	at := ""
	for _, ro := range list.Rollouts {
		if ro.State == api.RolloutRunning && ro.Staged != nil {
			at = ro.Staged.Stage
		}
	}
	return at
}
