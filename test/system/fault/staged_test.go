// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/lab"
	"github.com/spillway/spillway/userspace/state"
)

// A whole rollout, with the shortest times that a host file may have.
const stagedGuards = `guards:
  {rollout: staged, evidence: small, lease: %s, bake: 5s, agent_timeout: 1h, shadow: 10s,
    canary: [{share: 50%%, for: 10s}, {share: 100%%, for: 10s}]}
golden: [{name: shop, service: web, ja4: t13d1516h2_8daaf6152771_02713d6af862}]
`

// Votes are source prefixes: visitors come from many, and so does who is blocked, as the plans declare.
var (
	guestsFrom = netip.MustParsePrefix("2001:db8:8000::/36")
	listedFrom = netip.MustParsePrefix("2001:db8:b000::/36")
)

// plan is the bundle that rolls out: it blocks the bots, as what is in force does, and who is listed. Two of it differ.
const plan = `intent: {expects: {new_blocks: 50%%, by: [listed-%[1]d]}}
rules:
  - {id: net, label: denied-network, score: 100}
  - {id: scan, label: scanner, score: 90}
  - {id: listed-%[1]d, label: listed-%[1]d, score: 100}
features:
  prefixes:
    - {list: own, rule: net, entries: [198.18.66.0/24, "2001:db8:66::/64"]}
    - {list: more, rule: listed-%[1]d, entries: ["2001:db8:b000::/36", 203.0.113.%[1]d/32]}
  tcp:
    - {rule: scan, muonfp: "1024:2:1460:"}
policy:
  default: {drop: 80}
`

// feed is a list of the name of its own, long enough that a row more is a small change.
func feed(rows int) string {
	var entries []string
	for i := range rows {
		entries = append(entries, fmt.Sprintf("198.18.31.%d/32", i))
	}
	return fmt.Sprintf(list, "feed", strings.Join(entries, ", "))
}

// The rows of the feed in force, with one more, and with one less.
const feedRows = 100

// stagedSite is a site on which changes go in stages.
type stagedSite struct {
	*site
	plans  [2]string
	feeds  map[int]string // by their rows
	all    []*config.Set  // that can be in force
	guests *lab.Visitors
	listed *lab.Visitors
	in     *inject.Listener
}

// newStagedSite brings a first bundle and a feed into force, makes them last-known-good, and lets changes go in stages
// from then on. in (nil: none) is what its agents run below.
func newStagedSite(t *testing.T, lease string, listened bool) *stagedSite {
	t.Helper()
	s := &stagedSite{site: newSite(t), feeds: map[int]string{}}
	direct := s.limits
	sizes, _, _ := strings.Cut(s.limits, "guards:")
	s.limits = sizes + fmt.Sprintf(stagedGuards, lease)
	for i := range s.hosts {
		s.writeHost(i)
		h, err := config.LoadHost(s.HostFile())
		world.Must(t, err)
		s.hosts[i] = h
	}
	s.sets(t)
	if listened {
		s.in = listen(t, s.site, inject.All)
	}
	world.Must(t, s.Widen())
	s.guests = s.crowd(t, guestsFrom, 32, 30*time.Second)
	s.listed = s.crowd(t, listedFrom, 8, 2*time.Second)

	s.limits, direct = direct, s.limits
	s.writeHost(0)
	s.protect(t, s.in)
	s.MustCLI("apply", s.feeds[feedRows], "--yes", "--accept", "fault")
	s.known(t)
	s.limits = direct
	s.writeHost(0)
	s.MustCLI("reload", "--yes")
	s.tr.Count()
	return s
}

// sets are all that can be in force: a bundle that blocks bots, a feed.
func (s *stagedSite) sets(t *testing.T) {
	t.Helper()
	var bases []*config.Set
	for _, b := range s.parsed {
		bases = append(bases, config.NewSet(b))
	}
	for i := range s.plans {
		s.plans[i] = s.WriteBundle(fmt.Sprintf("plan-%d", i), fmt.Sprintf(plan, i))
		bases = append(bases, config.NewSet(s.load(t, s.plans[i])))
	}
	s.knows(bases...)
	for _, rows := range []int{feedRows, feedRows + 1, feedRows - 1} {
		s.feeds[rows] = filepath.Join(s.Folder, fmt.Sprintf("feed-%d.yaml", rows))
		world.Must(t, os.WriteFile(s.feeds[rows], []byte(feed(rows)), 0o644))
		b := s.load(t, s.feeds[rows])
		for _, base := range bases {
			s.knows(base.With(b))
		}
	}
}

// knows has sets among those that can be in force.
func (s *stagedSite) knows(sets ...*config.Set) {
	for _, set := range sets {
		s.all = append(s.all, set)
		s.parsed[set.Digest] = set.Merge()
	}
}

func (s *stagedSite) load(t *testing.T, path string) *config.Bundle {
	t.Helper()
	b, err := config.LoadBundle(path, s.hosts[0], config.BundleOptions{})
	world.Must(t, err)
	return b
}

func (s *stagedSite) crowd(t *testing.T, from netip.Prefix, rate float64, timeout time.Duration) *lab.Visitors {
	t.Helper()
	v, err := s.StartVisitors(t.Context(), lab.VisitorOptions{Rate: rate, Timeout: timeout,
		From: lab.WideSources(from, 4096)})
	world.Must(t, err)
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// rollouts asks the agent; nothing of it needs the kernel.
func (s *stagedSite) rollouts() (*api.RolloutList, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	c := api.NewClient(s.Socket())
	defer c.Close()
	return c.Rollouts(ctx)
}

// rollout returns the one of this id; nil when there is none, or nobody answers.
func (s *stagedSite) rollout(id string) *api.Rollout {
	all, err := s.rollouts()
	if err != nil {
		return nil
	}
	for i := range all.Rollouts {
		if all.Rollouts[i].ID == id {
			return &all.Rollouts[i]
		}
	}
	return nil
}

// begin applies a file and returns the id of its rollout.
func (s *stagedSite) begin(t *testing.T, file string, args ...string) (id string) {
	t.Helper()
	out := s.MustCLI(append([]string{"apply", file, "--yes", "-o", "json"}, args...)...)
	_, tail, _ := strings.Cut(out, `"id": "`)
	if id, _, _ = strings.Cut(tail, `"`); id == "" {
		t.Fatalf("apply %s: no id in %s", file, out)
	}
	return id
}

// stage names where a rollout is: taste, shadow, canary 1, canary 2, bake, or how it ended.
func stage(ro *api.Rollout) string {
	switch {
	case ro == nil:
		return ""
	case ro.Staged == nil:
		return ro.State
	case ro.Staged.Stage == api.StageCanary:
		return fmt.Sprintf("canary %d", ro.Staged.Step)
	}
	return ro.Staged.Stage
}

// longest is how long a rollout may need from one stage to the next, on a machine that does other work.
const longest = 4 * time.Minute

// reaches waits until a rollout is in a stage, and fails when it ends elsewhere.
func (s *stagedSite) reaches(t *testing.T, id, where string) *api.Rollout {
	t.Helper()
	var ro *api.Rollout
	if !within(longest, func() bool {
		ro = s.rollout(id)
		return ro != nil && (stage(ro) == where || ro.Over())
	}) {
		t.Fatalf("rollout %s is not in %s: %s", id, where, tellRollout(ro))
	}
	if stage(ro) != where {
		t.Fatalf("rollout %s ended before %s: %s", id, where, tellRollout(ro))
	}
	return ro
}

func (s *stagedSite) ends(t *testing.T, id string) *api.Rollout {
	t.Helper()
	var ro *api.Rollout
	if !within(longest, func() bool { ro = s.rollout(id); return ro != nil && ro.Over() }) {
		t.Fatalf("rollout %s does not end: %s", id, tellRollout(ro))
	}
	return ro
}

// goesOn waits for the next stage. A person ends those before it whose time is not over: all but shadow, which must
// last.
func (s *stagedSite) goesOn(t *testing.T, id, to string) {
	t.Helper()
	before := ridden[slices.Index(ridden, to)-1]
	for deadline := time.Now().Add(longest); stage(s.rollout(id)) == before && before != "shadow"; {
		if _, code := s.CLI("rollout", "promote", id, "--reason", "a test of what comes next"); code == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a person cannot end %s: %s", before, tellRollout(s.rollout(id)))
		}
	}
	s.reaches(t, id, to)
}

func tellRollout(ro *api.Rollout) string {
	if ro == nil {
		return "nobody knows it"
	}
	out := fmt.Sprintf("%s, %s: %s", ro.State, stage(ro), ro.Message)
	if ro.Staged == nil {
		return out
	}
	out += fmt.Sprintf("; waits for %q, paused %q", ro.Staged.Waits, ro.Staged.Paused)
	for _, d := range ro.Staged.Decisions {
		out += fmt.Sprintf("\n  %s %s > %s, %s: %s", d.At.Format("15:04:05"), d.From, d.To, d.Gate, d.Sentence)
	}
	return out
}

// orderly ends the agent as systemd does, which settles its start, and starts it again.
func (s *stagedSite) orderly(t *testing.T) {
	t.Helper()
	world.Must(t, unix.Kill(s.Pid(), unix.SIGTERM))
	if !s.Wait(answerTime) {
		t.Fatal("the agent does not end when it is asked to")
	}
	s.start(t, s.in)
}

// holds says what is wrong with what always holds, whatever just failed: the word names filled slots, each row is one
// of a bundle, and nobody but a bot noticed anything.
func (s *stagedSite) holds(t *testing.T) (wrong []string) {
	t.Helper()
	at := s.look(t)
	wrong = at.Wrong
	for role, named := range map[string]struct {
		slot uint8
		at   place
	}{"stable": {at.Control.Stable, at.Stable}, "candidate": {at.Control.Candidate, at.Candidate},
		"previous": {at.Control.Previous, at.Previous}} {
		if named.slot != 0 && named.at.Number == 0 {
			wrong = append(wrong, fmt.Sprintf("the word names slot %d as %s, and it is empty: %s", named.slot, role, at))
		}
	}
	if at.Stable.Number == 0 || at.Bypass || !at.Attached {
		wrong = append(wrong, "nothing is in force: "+at.String())
	}
	if leak := s.tr.Leaked(); leak != "" {
		wrong = append(wrong, leak)
	}
	for who, v := range map[string]*lab.Visitors{"visitors": s.tr.Visitors, "guests": s.guests} {
		if total := v.Total(); total.Failures > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %d of %d requests failed: %v", who, total.Failures, total.Requests,
				total.Errors))
		}
	}
	return wrong
}

// sound says what is wrong when the fault is over and no rollout runs: record and kernel agree, nothing is condemned,
// and no taste left anything.
func (s *stagedSite) sound(t *testing.T) (wrong []string) {
	t.Helper()
	if !within(patience, func() bool { wrong = s.healthy(); return len(wrong) == 0 }) {
		wrong = append(wrong, "the agent does not recover")
	}
	wrong = append(wrong, s.holds(t)...)
	all, err := s.rollouts()
	if err != nil {
		return append(wrong, err.Error())
	}
	if all.Stages == nil || len(all.Stages.Quarantine) > 0 || all.Stages.Frozen != nil {
		wrong = append(wrong, fmt.Sprintf("in quarantine, or frozen: %+v", all.Stages))
	}
	at, recorded := s.glance(t), s.recorded(t)
	if recorded != at.Stable {
		wrong = append(wrong, fmt.Sprintf("the record says that %v is in force, and the kernel has %s", recorded, at))
	}
	if at.Candidate != (place{}) || at.Control.Canary != 0 {
		wrong = append(wrong, "a candidate stays that is no rollout's: "+at.String())
	}
	if left, _ := os.ReadDir(filepath.Join(s.Pins, "taste")); len(left) > 0 {
		wrong = append(wrong, fmt.Sprintf("a taste left %v", left))
	}
	return wrong
}

// recorded is what the record on disk says is in force.
func (s *stagedSite) recorded(t *testing.T) place {
	t.Helper()
	var file struct{ Content state.Record }
	data, err := os.ReadFile(filepath.Join(s.State(), "record.json"))
	world.Must(t, err)
	world.Must(t, json.Unmarshal(data, &file))
	if file.Content.Applied == nil {
		return place{}
	}
	return place{file.Content.Applied.Number, file.Content.Applied.Digest}
}

// nobodyNoticed stops who visits and asks for a spotless record.
func (s *stagedSite) nobodyNoticed(t *testing.T) {
	t.Helper()
	s.tr.VisitorsNeverNoticed(t)
	if total := s.guests.Stop(); total.Failures != 0 || total.Requests == 0 {
		t.Errorf("guests: %d of %d requests failed: %v", total.Failures, total.Requests, total.Errors)
	}
}

// next is the plan that is not in force.
func (s *stagedSite) next(t *testing.T) string {
	t.Helper()
	in := s.glance(t).Stable.Digest
	b := s.parsed[in]
	for i, path := range s.plans {
		label := fmt.Sprintf("listed-%d", i)
		if b == nil || !slices.ContainsFunc(b.Rules, func(r config.Rule) bool { return r.Label == label }) {
			return path
		}
	}
	t.Fatal("both plans are in force")
	return ""
}
