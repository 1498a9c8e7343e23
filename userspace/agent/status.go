// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/view"
)

// Status implements api.Backend.
func (a *agent) Status(context.Context) (*api.Status, error) {
	a.lookAtHostFile()
	return a.status(view.WithPackets | view.WithMaps), nil
}

func (a *agent) status(want view.Parts) *api.Status {
	var s *api.Status
	d, done, err := a.plane.Use()
	if err == nil {
		s, _ = view.Status(a.plane.Reading(d))
		view.Fill(d, s, want, ledger.Fix)
		done()
	} else {
		s = view.BlindStatus(a.plane.Blind())
	}
	s.Source = api.SourceAgent
	s.MaxMode = string(a.hostFile().MaxMode)
	a.fillNames(s)
	s.Problems = append(a.ledger.Problems(), s.Problems...)
	if damaged := a.store.Damaged(); len(damaged) > 0 {
		s.Problems = append(s.Problems, api.Problem{Code: "damaged_state", Message: "files are damaged (one that was moved aside has .corrupt in its name): " + strings.Join(damaged, ", "), Fix: "check the disk; remove them when you have looked at them"})
	}
	s.Drift = a.plane.Drift()
	if s.Drift != nil && len(s.Drift.Entries) > 0 {
		s.Problems = append(s.Problems, api.Problem{Code: "drift", Message: fmt.Sprintf("the kernel differs from the bundle in %d places", len(s.Drift.Entries)), Fix: "spillway verify; apply the bundle again", Since: s.Drift.Checked})
	}
	s.Agent = &api.Agent{Version: a.opts.Version, PID: os.Getpid(), Started: a.started.UTC(), HostFile: a.opts.HostPath, State: api.StateRunning}
	if err != nil || !allAttached(s.Interfaces) {
		s.Agent.State = api.StateUnprotected
	}
	return s
}

func allAttached(all []api.Interface) bool {
	for _, i := range all {
		if i.State != loader.StateAttached {
			return false
		}
	}
	return len(all) > 0
}

// fillNames adds what only the record knows: names, deadlines, who and why.
func (a *agent) fillNames(s *api.Status) {
	r := a.ledger.Record()
	a.ledger.NameGenerations(s.Generations)
	a.release.TellQueue(s)
	if c := r.Confirm; c != nil {
		s.Confirm = &api.Confirm{Digest: c.Digest, Name: c.Name(), Number: c.Number, Deadline: c.Deadline}
	}
	if r.Applied != nil && !r.BakeUntil.IsZero() {
		s.Bake = &api.Bake{Digest: r.Applied.Digest, Number: r.Applied.Number, Until: r.BakeUntil}
		if d, done, err := a.plane.Use(); err == nil {
			s.Bake.Waits = a.release.IdleReason(d)
			done()
		}
	}
	if k := r.LastKnownGood; k != nil {
		s.LastKnownGood = &api.Known{Digest: k.Digest, Name: k.Name(), Number: k.Number, Since: k.At}
	}
	s.Stored = a.release.Ways()
	if h := r.Held; h != nil {
		s.Problems = append(s.Problems, api.Problem{Code: "candidate_held", Since: h.Since,
			Message: fmt.Sprintf("generation %d (%s) is held: %s", h.Number, h.Name(), h.Reason), Fix: fmt.Sprintf("try it again: spillway apply --stored %d --confirm 5m", h.Number)})
	}
	explain := func(b *api.Bypass, name string) {
		if known, ok := r.Bypass[name]; ok && b.Active {
			b.Since, b.By, b.Reason = known.Since, known.By, known.Reason
		}
	}
	explain(&s.Bypass, "")
	for i := range s.Services {
		explain(&s.Services[i].Bypass, s.Services[i].Name)
	}
}

// Generations implements api.Backend.
func (a *agent) Generations(context.Context) (*api.GenerationList, error) {
	d, done, err := a.plane.Use()
	if err != nil {
		return nil, err
	}
	defer done()
	all, err := plane.Generations(d)
	if err != nil {
		return nil, err
	}
	a.ledger.NameGenerations(all)
	return &api.GenerationList{Envelope: api.NewEnvelope(), Generations: all}, nil
}

// Rules implements api.Backend.
func (a *agent) Rules(context.Context) (*api.RuleList, error) {
	d, done, err := a.plane.Use()
	if err != nil {
		return nil, err
	}
	defer done()
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	list := &api.RuleList{Envelope: api.NewEnvelope(), Rules: []api.Rule{}}
	g, ok := view.InSlot(all, d.Control().Stable)
	if !ok {
		return list, nil
	}
	list.Generation = g.Number
	hits, err := d.RuleHits(g.Slot)
	if err != nil {
		return nil, err
	}
	for index := range g.Rows["rules"] {
		i := uint16(index)
		rule := api.Rule{Index: i, ID: fmt.Sprintf("index_%d", i), Matches: hits[i]}
		if r, ok := a.ledger.RuleOf(g.Digest, i); ok {
			rule.ID, rule.Label, rule.Score, rule.Expires = r.ID, r.Label, r.Score, r.Expires
		}
		list.Rules = append(list.Rules, rule)
	}
	return list, nil
}

// History implements api.Backend.
func (a *agent) History(_ context.Context, limit int) (*api.History, error) {
	entries, skipped, err := a.store.History(limit)
	if err != nil {
		return nil, err
	}
	return ledger.Reply(entries, skipped), nil
}

// Forbidden implements api.Backend.
func (a *agent) Forbidden(by api.Caller, verb string) {
	e := a.ledger.Entry(by, verb, "")
	e.Outcome, e.Detail = api.OutcomeRefused, []string{"not root, and not in the socket's group"}
	a.ledger.Audit(e)
}

// healthy is the real check behind systemd's watchdog. It does not ask whether the site is protected: a restart would
// not help there.
func (a *agent) healthy() error {
	if a.serve.Listens() { // a socket that cannot be made is a problem that status tells, and no restart mends
		conn, err := net.DialTimeout("unix", a.hostFile().Listen.Socket, time.Second)
		if err != nil {
			return fmt.Errorf("the socket does not answer: %w", err)
		}
		_ = conn.Close()
	}
	d, done, err := a.plane.Use()
	if err != nil {
		return nil
	}
	defer done()
	if age := d.Heartbeat(); age < 0 || age > staleBeat {
		return fmt.Errorf("the heartbeat is %s old", age)
	}
	if c := d.Control(); c.Stable >= bpf.Slots || c.Host >= bpf.Slots {
		return fmt.Errorf("the control word names slot %d", c.Stable)
	}
	return nil
}

// oneLine is the line of `systemctl status`.
func (a *agent) oneLine() string {
	s := a.status(0)
	line := strings.TrimSuffix(s.Says, ".")
	for _, g := range s.Generations {
		if (s.State == api.StateProtected || s.State == api.StatePartly || s.State == api.StateObserving) &&
			(g.Role == loader.RoleStable && !s.CandidateDecides() || g.Role == loader.RoleCandidate && s.CandidateDecides()) {
			line += fmt.Sprintf("; generation %d (%s)", g.Number, g.Digest.Short())
		}
	}
	return line
}
