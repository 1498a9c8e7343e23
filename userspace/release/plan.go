// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	engine "github.com/spillway/spillway/userspace/rollout"
)

// planCapacity warns of a bundle that fits today and not into the host file on disk, which the next start reads.
func (re *reader) planCapacity(p *api.Plan, next *config.Set) {
	f, err := hostfile.Read(re.hostPath)
	if err != nil || f.Host.Capacity == re.host().Capacity {
		return
	}
	for _, small := range loader.TooSmall(f.Host.Capacity.OrDefault(), next.Merge().Counts(), 0) {
		p.Warnings = append(p.Warnings, yaml.Fault{Code: yaml.CodeCapacity, File: re.hostPath,
			Problem: "it does not fit into the host file on disk, which the next start reads: " + small,
			Valid:   "a larger capacity, or a smaller bundle"})
	}
}

// planRows bounds the differences that a plan lists; it counts all of them.
const planRows = 1000

// plan says what a bundle would change. It needs no kernel: without one it compares with the bundle of the record.
func (re *reader) plan(ctx context.Context, r api.PlanRequest, files api.Files) (*api.Plan, error) {
	re.mu.Lock()
	defer re.mu.Unlock()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	w, err := re.wishOf(api.RolloutRequest{Name: r.Name, Remove: r.Remove}, files, re.parse)
	if err != nil {
		return nil, err
	}
	s := &standing{base: config.NewSet()}
	p := &api.Plan{Envelope: api.NewEnvelope(), Name: w.name(), Rows: []api.PlanRow{}}
	if against := re.archive.inForce(); against != nil {
		s.there = true
		s.stable.Digest = against.Digest
		if s.base, err = re.archive.disk.Set(against.Digest); err != nil {
			return nil, fmt.Errorf("compare with the bundle in force: %w", err)
		}
		p.Against = &api.Known{Digest: against.Digest, Name: s.base.Name(), Number: against.Number, Since: against.At}
	}
	if s.next, err = re.guard.onHost(w, s.base); err != nil {
		return nil, err
	}
	p.Set = memberList(s.next)
	old := s.base.Named(w.name())
	if b := w.bundle; b != nil {
		p.Digest, p.Warnings, p.OmittedProtected, p.OmittedReserved = b.Digest, b.Warnings,
			b.OmittedProtected, b.OmittedReserved
		p.Lists = b.Lists
		if was := w.replaces(s.base); was != nil {
			old = was
		}
	}
	planWriter{p, re.host()}.write(old, w.bundle)
	re.planCapacity(p, s.next)
	p.Notes = re.planNotes(w, s.next)
	p.Changes = s.next.Digest != s.base.Digest
	if p.Changes {
		p.Holds = re.guard.holds(w, s)
		p.Notes = append(p.Notes, re.ahead(w, s)...)
	}
	return p, nil
}

// ahead is how the change would come into force, where that is not at once.
func (re *reader) ahead(w wish, s *standing) []string {
	h := re.host()
	if h.Guards.Rollout != config.RolloutStaged {
		return nil
	}
	observes := h.MaxMode == config.ModeObserve
	if d, done, err := re.use(); err == nil {
		observes = d.Control().Mode == bpf.ModeObserve
		done()
	}
	c := engine.Change{Expects: w.expects()}
	c.Kind, c.Delta = kindOf(s, w, re.ledger.Now())
	return re.before(c, observes)
}

// before says how a change in stages comes into force.
func (re *reader) before(c engine.Change, observes bool) []string {
	return engine.GuardsOf(re.host()).Ahead(c, observes, re.traffic())
}

// planWriter turns a config.Diff into rows.
type planWriter struct {
	p    *api.Plan
	host *config.Host
}

func (w planWriter) write(old, b *config.Bundle) {
	d := config.Change(old, b)
	if old == nil {
		old = &config.Bundle{}
	}
	if b == nil {
		b = &config.Bundle{Name: old.Name}
	}
	if d.Name {
		w.row(api.PlanRow{Op: "changed", What: "name", Name: "name", From: old.Name, To: b.Name})
	}
	writeRows(w, "rule", "", d.Rules, func(r config.Rule) (string, string) { return r.ID, describeRule(r) })
	for _, l := range d.Prefixes {
		if l.Origin {
			w.row(api.PlanRow{Op: "changed", What: "list", Name: l.List, To: "third_party changed"})
		}
		writeRows(w, "prefix", l.List, l.Rows, func(r config.PrefixRow) (string, string) { return r.Prefix.String(), r.Rule })
	}
	for _, k := range d.Features {
		writeRows(w, k.Kind, "", k.Rows, func(f config.FeatureRow) (string, string) {
			return f.Name, w.describeFeature(k.Kind, f, scores(f.Rule, b, old))
		})
		if k.Order {
			w.row(api.PlanRow{Op: "changed", What: k.Kind, Name: "signatures", To: "another order: the first that fits counts"})
		}
	}
	writeRows(w, "policy", "", d.Policy, func(s config.ServicePolicy) (string, string) {
		return s.Service, describePolicy(s)
	})
	if d.Intent {
		w.row(api.PlanRow{Op: "changed", What: "intent", Name: "expects", From: describeIntent(old.Intent),
			To: describeIntent(b.Intent)})
	}
}

// scores reports whether the rule of that name has a score, in the first of the bundles that has it.
func scores(rule string, in ...*config.Bundle) bool {
	for _, b := range in {
		for _, r := range b.Rules {
			if r.ID == rule {
				return r.Verdict == config.RuleScores
			}
		}
	}
	return true
}

func writeRows[T any](w planWriter, what, list string, rows config.Rows[T], describe func(T) (name, value string)) {
	for _, r := range rows.Added {
		name, value := describe(r)
		w.row(api.PlanRow{Op: "added", What: what, List: list, Name: name, To: value})
	}
	for _, r := range rows.Removed {
		name, value := describe(r)
		w.row(api.PlanRow{Op: "removed", What: what, List: list, Name: name, From: value})
	}
	for _, r := range rows.Changed {
		name, from := describe(r.Old)
		_, to := describe(r.New)
		w.row(api.PlanRow{Op: "changed", What: what, List: list, Name: name, From: from, To: to})
	}
}

func (w planWriter) row(r api.PlanRow) {
	switch r.Op {
	case "added":
		w.p.Added++
	case "removed":
		w.p.Removed++
	default:
		w.p.Changed++
	}
	if len(w.p.Rows) < planRows {
		w.p.Rows = append(w.p.Rows, r)
	}
}
