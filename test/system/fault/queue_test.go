// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
	"github.com/spillway/spillway/userspace/api"
)

// Beside the bundle that blocks the bots, the queue's operations have three of other names:
//
//	feed   in force, and taken out or made narrower
//	trial  the candidate that waits for its confirmation
//	next   what waits for its turn
const list = `version: 1
name: %s
rules: [{id: listed, label: reputation, score: 90}]
features:
  prefixes:
    - {list: daily, rule: listed, entries: [%s]}
`

const (
	feedWide   = "198.18.31.0/24, 198.18.32.0/24"
	feedNarrow = "198.18.31.0/24"
)

// lost is what an agent says of a change that waited, and that it will not carry out.
var lost = []string{"what waits would be lost", "it waited, and is lost", "was not put into force", "it cannot wait",
	"what waited for the agent before cannot be read"}

// queueSite is a site whose generations are compiled from several bundles.
type queueSite struct {
	*site
	sets map[config.Digest]*config.Set
	file map[string]string
}

func newQueueSite(t *testing.T) *queueSite {
	t.Helper()
	q := &queueSite{newSite(t), map[config.Digest]*config.Set{}, map[string]string{}}
	// A busy machine must not be what ends a candidate.
	q.limits = strings.Replace(q.limits, "bake: 1s", "bake: 1s, lease: 1m", 1)
	for i := range q.hosts {
		q.writeHost(i)
		h, err := config.LoadHost(q.HostFile())
		world.Must(t, err)
		q.hosts[i] = h
	}
	q.writeHost(0)
	var bases []*config.Set
	for _, b := range q.parsed {
		bases = append(bases, config.NewSet(b))
	}
	for _, one := range []struct{ file, name, entries string }{{"feed", "feed", feedWide}, {"narrow", "feed", feedNarrow},
		{"trial", "trial", "198.18.33.0/24"}, {"next", "next", "198.18.34.0/24"}} {
		path := filepath.Join(q.Folder, one.file+".yaml")
		world.Must(t, os.WriteFile(path, fmt.Appendf(nil, list, one.name, one.entries), 0o644))
		b, err := config.LoadBundle(path, q.hosts[0], config.BundleOptions{})
		world.Must(t, err)
		q.file[one.file] = path
		for _, s := range slices.Clone(bases) {
			bases = append(bases, s.With(b))
		}
	}
	for _, s := range bases {
		q.sets[s.Digest], q.parsed[s.Digest] = s, s.Merge()
	}
	return q
}

// has returns a bundle of the set that a place was compiled from; nil when it has none of the name.
func (q *queueSite) has(p place, name string) *config.Bundle {
	if s := q.sets[p.Digest]; s != nil {
		return s.Named(name)
	}
	return nil
}

// queued is an operation that meets the queue.
type queued struct {
	operation
	about   string // the name of what waits, or passes by
	waits   bool   // it waits already when the operation begins
	fast    bool   // it waits for no candidate
	carried func(q *queueSite, before, after picture) bool
}

// ran reports whether what waited was carried out: it is in force, and what was in force before can be gone back to.
func (o queued) ran(q *queueSite, before, after picture) bool {
	if next := q.has(after.Stable, "next"); o.about == "next" &&
		(next == nil || q.sets[before.Stable.Digest].With(next).Digest != after.Stable.Digest) {
		return false
	}
	return o.carried(q, before, after) && after.Stable.Number > before.Stable.Number && after.Previous == before.Stable
}

func nextCame(q *queueSite, before, after picture) bool {
	return q.has(before.Stable, "next") == nil && q.has(after.Stable, "next") != nil
}

// confirmed reports whether the candidate became stable, and nothing else happened.
func confirmed(before, after picture) bool {
	return after.Control.Stable == before.Control.Candidate && after.Stable == before.Candidate &&
		after.Previous == before.Stable
}

// passedBy reports whether what is asked for is in force, and the candidate was built again on it: two slots at once.
func (o queued) passedBy(q *queueSite, before, after picture) bool {
	return o.ran(q, before, after) && after.Control.Canary == before.Control.Canary &&
		after.Candidate.Number > after.Stable.Number &&
		q.has(after.Candidate, "trial") != nil &&
		after.Candidate.Digest == q.sets[after.Stable.Digest].With(q.has(after.Candidate, "trial")).Digest
}

func (q *queueSite) operations() []queued {
	confirm := queued{about: "next", waits: true, carried: nextCame}
	confirm.operation = operation{
		name:    "confirm, and what waited comes",
		prepare: func(t *testing.T, _ *site, _ *inject.Listener) { q.candidate(t); q.enqueueNext() },
		run: func(_ *testing.T, s *site, _ *inject.Listener) int {
			code := s.command("confirm")
			q.settles("next", false)
			return code
		},
		changed: func(_ *site, before, after picture) bool {
			if confirmed(before, after) {
				return true
			}
			middle := before
			middle.Stable = before.Candidate
			return after.Candidate == place{} && confirm.ran(q, middle, after)
		},
	}
	enqueue := queued{about: "next", carried: nextCame}
	enqueue.operation = operation{
		name:    "apply beside a candidate",
		prepare: func(t *testing.T, _ *site, _ *inject.Listener) { q.candidate(t) },
		run: func(_ *testing.T, s *site, _ *inject.Listener) int {
			return s.command("apply", q.file["next"], "--yes", "--accept", "fault", "--no-wait")
		},
	}
	return []queued{confirm, enqueue,
		q.fastTrack("a removal beside a candidate", func(q *queueSite, before, after picture) bool {
			return q.has(before.Stable, "feed") != nil && q.has(after.Stable, "feed") == nil
		}, "--remove", "feed"),
		q.fastTrack("a relaxation beside a candidate", func(q *queueSite, before, after picture) bool {
			was, is := q.has(before.Stable, "feed"), q.has(after.Stable, "feed")
			return was != nil && is != nil && is.Digest != was.Digest
		}, q.file["narrow"]),
	}
}

func (q *queueSite) fastTrack(name string, carried func(*queueSite, picture, picture) bool, args ...string) queued {
	o := queued{about: "feed", fast: true, carried: carried}
	o.operation = operation{
		name: name,
		prepare: func(t *testing.T, s *site, _ *inject.Listener) {
			if f := q.has(s.glance(t).Stable, "feed"); f == nil || f.Digest != q.digest(t, "feed") {
				s.MustCLI("apply", q.file["feed"], "--yes", "--accept", "fault")
			}
			q.candidate(t)
		},
		run: func(_ *testing.T, s *site, _ *inject.Listener) int {
			code := s.command(append([]string{"apply", "--yes", "--accept", "fault", "--no-wait"}, args...)...)
			if q.accepted() { // it waits, and this command does not know what comes of it
				q.settles("feed", true)
				return unknown
			}
			return code
		},
		changed: func(_ *site, before, after picture) bool { return o.passedBy(q, before, after) },
	}
	return o
}

func (q *queueSite) digest(t *testing.T, file string) config.Digest {
	t.Helper()
	b, err := config.LoadBundle(q.file[file], q.hosts[0], config.BundleOptions{})
	world.Must(t, err)
	return b.Digest
}

func (q *queueSite) candidate(t *testing.T) {
	t.Helper()
	q.MustCLI("apply", q.file["trial"], "--yes", "--accept", "fault", "--confirm", "10m")
}

func (q *queueSite) enqueueNext() {
	q.MustCLI("apply", q.file["next"], "--yes", "--accept", "fault", "--no-wait")
}

// accepted reports whether the last command left its change in the queue.
func (q *queueSite) accepted() bool { return strings.Contains(q.said, "waits for its turn") }

// waiting returns the queue by the names of what waits.
func (q *queueSite) waiting() (names []string, ids []string, candidate bool, err error) {
	st, err := q.status()
	if err != nil {
		return nil, nil, false, err
	}
	for _, w := range st.Queue {
		names, ids = append(names, w.Name), append(ids, w.ID)
	}
	return names, ids, st.Confirm != nil, nil
}

// settles waits until what may run has run: what waits for a candidate may go on waiting, unless it is fast. It asks
// what makes no call to the kernel, so that faults meet the operation.
func (q *queueSite) settles(name string, fast bool) bool {
	return within(patience/2, func() bool {
		if q.Ended() {
			return true
		}
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		c := api.NewClient(q.Socket())
		defer c.Close()
		all, err := c.Rollouts(ctx)
		if err != nil {
			return false
		}
		for _, ro := range all.Rollouts {
			if ro.State == api.RolloutBuilding || ro.State == api.RolloutQueued &&
				(fast && ro.Name == name || all.Waiting() == nil) {
				return false
			}
		}
		return true
	})
}

// reset ends what a point left: what waits, the candidate, and the bundles that came.
func (q *queueSite) reset(t *testing.T) {
	t.Helper()
	_, ids, _, err := q.waiting()
	world.Must(t, err)
	for _, id := range ids {
		q.MustCLI("cancel", id)
	}
	q.settle(t)
	at := q.glance(t)
	for _, name := range []string{"trial", "next"} {
		if q.has(at.Stable, name) != nil {
			q.MustCLI("apply", "--remove", name, "--yes", "--accept", "fault")
		}
	}
}

// point does an operation with a fault at one call, and judges it, the queue, and the next start.
func (q *queueSite) point(t *testing.T, o queued, in *inject.Listener, at int, f inject.Fault) (report inject.Report) {
	t.Helper()
	q.reset(t)
	o.prepare(t, q.site, in)
	before, logged := q.glance(t), len(q.Log())
	q.said = ""
	in.Arm(at, f)
	code := o.run(t, q.site, in)
	report, err := in.Disarm()
	world.Must(t, err)
	name := fmt.Sprintf("%s, call %d of %d (%s), %s", o.name, at, report.Seen, report.Hit, f)
	if at == 0 && (code > 0 || !o.waits && o.changed != nil && code != 0) {
		t.Fatalf("%s, undisturbed: %d calls, %s", o.name, report.Seen, q.said)
	}
	accepted, failed := o.waits || q.accepted(), code > 0
	if f.Kill && report.Hit != "" && code != 0 {
		code, failed = unknown, false
	}
	found := q.look(t)
	q.wrong(t, name, o.judge(q.site, before, found, code)...)
	if at == 0 {
		return report
	}
	if in.Kind() == inject.Disk && !f.Kill {
		q.forgot[found.Stable.Number], q.forgot[found.Previous.Number], q.forgot[found.Candidate.Number] = true, true, true
	}
	if report.Hit != "" && !f.Kill {
		if q.Ended() {
			q.wrong(t, name, "the agent ended")
		}
		if told := q.Log()[logged:] + q.said; in.Kind() == inject.Disk && !strings.Contains(told, f.Errno.Error()) {
			q.wrong(t, name, "nobody was told: "+told)
		}
		if found.Candidate == (place{}) && q.has(found.Stable, "trial") == nil {
			q.wrong(t, name, "the candidate is gone, and the agent lives")
		}
	}
	q.start(t, in)
	if !q.settles(o.about, o.fast) {
		q.wrong(t, name, "what waits does not run after the next start")
	}
	next := q.look(t)
	told := q.Log()[logged:] + q.said
	q.wrong(t, name+", next start", o.judgeAfter(q, before, found, next, told, accepted, failed)...)
	if leak := q.tr.Leaked(); leak != "" {
		q.wrong(t, name, leak)
	}
	return report
}

// judgeAfter says what is wrong after the next start: what is in force is kept, or what waited came on top of it; the
// candidate goes on, or is held, and that is told; what was accepted came, waits, or is told as lost.
func (o queued) judgeAfter(q *queueSite, before, found, next picture, told string, accepted,
	failed bool) (wrong []string) {
	wrong = append(q.healthy(), next.Wrong...)
	came := o.ran(q, found, next)
	if !came && (next.Stable != found.Stable || next.Previous != found.Previous) || next.Host != found.Host ||
		next.Bypass || !next.Attached {
		wrong = append(wrong, fmt.Sprintf("the next start did not keep what it found: found %s, then %s", found, next))
	}
	names, _, candidate, err := q.waiting()
	if err != nil {
		return append(wrong, "status: "+err.Error())
	}
	if candidate != (next.Candidate != place{}) {
		wrong = append(wrong, fmt.Sprintf("status has a candidate: %t; the kernel: %+v", candidate, next.Candidate))
	}
	if next.Candidate == (place{}) && q.has(next.Stable, "trial") == nil && !strings.Contains(told, `"outcome":"held"`) {
		wrong = append(wrong, "the candidate is gone, and nobody was told")
	}
	waits := slices.Contains(names, o.about)
	is := came || o.carried(q, before, next)
	if isLost := slices.ContainsFunc(lost, func(l string) bool { return strings.Contains(told, l) }); accepted &&
		!is && !waits && !isLost {
		wrong = append(wrong,
			fmt.Sprintf("what waited did not come, waits no more, and nobody was told: %s, queue %v", next, names))
	}
	if waits && (is || !candidate || o.fast) {
		wrong = append(wrong,
			fmt.Sprintf("it waits and need not: in force %t, a candidate %t, queue %v", is, candidate, names))
	}
	if failed && !accepted && (waits || is) {
		wrong = append(wrong, fmt.Sprintf("it reported failure, and waits %t, is in force %t", waits, is))
	}
	return wrong
}

// sweepQueue does the queue's operations with faults: of make test one of them, few faults at few points.
func sweepQueue(t *testing.T, kind inject.Kind, faults []inject.Fault) {
	t.Helper()
	r := dice(t)
	q := newQueueSite(t)
	in := listen(t, q.site, kind)
	q.protect(t, in)
	all := q.operations()
	long := everything || atLeast > 0
	if !long {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:1]
	}
	for _, o := range all {
		begun := time.Now()
		q.point(t, o, in, 0, inject.Fault{}) // the first one finds no bundle on disk, and makes more calls
		calls, hits, met := q.point(t, o, in, 0, inject.Fault{}).Seen, 0, map[string]int{}
		if calls == 0 {
			t.Fatalf("%s makes no call", o.name)
		}
		drawn := draw(r, faults)
		if !long {
			drawn = drawn[:min(4, len(drawn))] // those that kill come first
		}
		for _, f := range drawn {
			for _, at := range some(r, calls, 1) {
				if hit := q.point(t, o, in, at, f).Hit; hit != "" {
					hits++
					met[hit]++
				}
			}
			for at := calls + 1; everything; at++ {
				hit := q.point(t, o, in, at, f).Hit
				if hit == "" {
					break
				}
				hits++
				met[hit]++
			}
		}
		t.Logf("%s: %d calls, %d faults met in %s: %s", o.name, calls, hits, time.Since(begun).Round(time.Second), tell(met))
	}
	q.tr.VisitorsNeverNoticed(t)
}

func TestBPFCallsOfQueue(t *testing.T)  { sweepQueue(t, inject.BPF, bpfFaults) }
func TestDiskCallsOfQueue(t *testing.T) { sweepQueue(t, inject.Disk, diskFaults) }
