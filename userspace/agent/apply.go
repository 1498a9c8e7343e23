// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

const (
	// canaryAll: until there is a rollout, a candidate decides for everybody.
	canaryAll = 1000
	// quarantineFor is how long a bundle that was rolled back needs a reason to come again.
	quarantineFor = 24 * time.Hour
)

var errBusy = &api.Error{Code: api.CodeBusy, Message: "another change is running", Fix: "wait until it is done; `spillway status` shows it"}

// begin takes the change lock and the dataplane.
func (a *agent) begin() (dataplane, func(), error) {
	if !a.change.TryLock() {
		return nil, nil, errBusy
	}
	d, done, err := a.use()
	if err != nil {
		a.change.Unlock()
		return nil, nil, err
	}
	return d, func() { done(); a.change.Unlock() }, nil
}

// parse validates a bundle as this host must see it.
func (a *agent) parse(name string, files api.Files) (*config.Bundle, error) {
	own, err := a.opts.own()
	if err != nil {
		return nil, err // without them a bundle could block this host
	}
	if name == "" {
		name = config.BundleFile
	}
	b, err := config.ParseBundle(name, files[config.BundleFile], files, a.hostFile(), config.BundleOptions{Own: own, Now: a.now()})
	if err != nil {
		return nil, api.Refuse("the bundle is refused; what is in force goes on", err)
	}
	return b, nil
}

// Apply implements api.Backend.
func (a *agent) Apply(_ context.Context, by api.Caller, name string, files api.Files, o api.ApplyOptions) (*api.Change, error) {
	e := a.entry(by, "apply", o.Reason)
	if o.Accept != "" {
		e.Detail = append(e.Detail, "accepted: "+o.Accept)
	}
	c, err := a.apply(&e, name, files, o)
	if err != nil {
		e.Outcome = outcomeOf(err)
		e.Detail = append(e.Detail, detailsOf(err)...)
	} else {
		e.Outcome = c.Outcome
	}
	a.mu.Lock()
	a.applies[e.Outcome]++
	a.mu.Unlock()
	a.audit(e)
	return c, err
}

func (a *agent) apply(e *state.Entry, name string, files api.Files, o api.ApplyOptions) (*api.Change, error) {
	b, err := a.parse(name, files)
	if err != nil {
		return nil, err
	}
	e.Digest, e.Name = b.Digest, b.Name
	d, done, err := a.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	change := &api.Change{Envelope: api.NewEnvelope(), Digest: b.Digest, Name: b.Name, Warnings: b.Warnings}
	stable, unchanged, err := a.standing(d, b, change)
	if err != nil || unchanged {
		return change, err
	}
	if err := a.held(b, stable, o.Accept); err != nil {
		return nil, err
	}
	if err := a.store.SaveBundle(b); err != nil {
		return nil, fmt.Errorf("nothing changed: %w", err)
	}
	host, err := compileHost(d, a.hostFile(), 0)
	if err != nil {
		return nil, fmt.Errorf("nothing changed: compile host file: %w", err)
	}
	epoch := d.Control().Epoch
	slot, number, err := a.build(d, b, host)
	if err != nil {
		return nil, a.buildError(err)
	}
	if d.Control().Epoch != epoch {
		return nil, &api.Error{Code: api.CodeConflict, Message: "somebody else changed the control word meanwhile; nothing changed", Fix: "look at `spillway status`, then apply again"}
	}
	e.Number, change.Number = number, number
	if o.Confirm > 0 {
		return a.publishCandidate(d, b, slot, change, e, o.Confirm)
	}
	return a.publishStable(d, b, slot, change, e)
}

// standing compares the bundle with what is in force. unchanged says that there is nothing to do, and change says so.
func (a *agent) standing(d dataplane, b *config.Bundle, change *api.Change) (stable *config.Bundle, unchanged bool, err error) {
	all, err := d.Generations()
	if err != nil {
		return nil, false, err
	}
	c := d.Control()
	if g, ok := generationIn(all, c.Candidate); ok {
		if g.Digest == b.Digest {
			change.Outcome, change.Number = api.OutcomeUnchanged, g.Number
			change.Message = "this bundle is the candidate already and waits for `spillway confirm`"
			if r := a.state(); r.Confirm != nil {
				change.Deadline = r.Confirm.Deadline
			}
			return nil, true, nil
		}
		return nil, false, &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("generation %d waits for a confirmation", g.Number), Fix: "`spillway confirm` keeps it, `spillway rollback` ends it; then apply again"}
	}
	g, ok := generationIn(all, c.Stable)
	if !ok {
		return nil, false, nil
	}
	if g.Digest == b.Digest {
		change.Outcome, change.Number = api.OutcomeUnchanged, g.Number
		change.Message = fmt.Sprintf("this bundle is in force already, as generation %d", g.Number)
		return nil, true, nil
	}
	old, err := a.store.Bundle(g.Digest)
	if err != nil {
		a.log.Warn("the stable bundle is not on disk: growth cannot be judged", "error", err)
		return nil, false, nil
	}
	return old, false, nil
}

// held refuses what a person must look at, unless one accepted it with a reason.
func (a *agent) held(b, stable *config.Bundle, accept string) error {
	if strings.TrimSpace(accept) != "" {
		return nil
	}
	holds := a.holds(b, stable)
	if len(holds) == 0 {
		return nil
	}
	return &api.Error{Code: api.CodeHeld, Message: "the bundle is valid, and a person must accept it; what is in force goes on", Holds: holds, Fix: `look at it with ` + "`spillway plan`" + `, then apply with --accept "reason"`}
}

func (a *agent) holds(b, stable *config.Bundle) []api.Hold {
	var out []api.Hold
	for _, h := range config.Holds(stable, b, a.hostFile()) {
		out = append(out, api.Hold{Code: h.Code, Text: h.Text})
	}
	for _, q := range a.state().Quarantine {
		if q.Digest == b.Digest && a.now().Sub(q.At) < quarantineFor {
			text := fmt.Sprintf("this very bundle was rolled back at %s by %s", q.At.UTC().Format(time.RFC3339), q.By)
			if q.Reason != "" {
				text += ": " + q.Reason
			}
			out = append(out, api.Hold{Code: "quarantined", Text: text})
			break
		}
	}
	return out
}

// buildError tells a bundle that does not fit from a kernel that failed.
func (a *agent) buildError(err error) error {
	if errors.Is(err, loader.ErrCapacity) {
		return &api.Error{Code: api.CodeRefused, Message: "the bundle is refused; what is in force goes on: " + err.Error(), Fix: fixOf(err)}
	}
	return fmt.Errorf("nothing changed: %w", err)
}

func (a *agent) publishStable(d dataplane, b *config.Bundle, slot uint8, change *api.Change, e *state.Entry) (*api.Change, error) {
	if _, err := d.Publish(loader.Change{Stable: &slot}); err != nil {
		return nil, fmt.Errorf("nothing changed: %w", err)
	}
	bake := a.hostFile().Guards.Bake
	change.Outcome, change.BakeUntil = api.OutcomeApplied, a.now().Add(bake).UTC()
	change.Message = fmt.Sprintf("generation %d is in force; last-known-good in %s unless it is rolled back", change.Number, bake)
	a.note(change, a.update(func(r *state.Record) { applied(r, b, e, change.BakeUntil) }))
	a.prune()
	return change, nil
}

// applied writes down a new stable bundle.
func applied(r *state.Record, b *config.Bundle, e *state.Entry, bakeUntil time.Time) {
	r.Applied = &state.Generation{Digest: b.Digest, Name: b.Name, Number: e.Number, At: e.At.UTC(), By: e.User}
	r.BakeUntil = bakeUntil
	if r.LastKnownGood != nil && r.LastKnownGood.Digest == b.Digest {
		r.LastKnownGood.Number, r.BakeUntil = e.Number, time.Time{}
	}
	lift(r, b.Digest)
}

// lift ends the quarantine of a bundle that a person accepted.
func lift(r *state.Record, d config.Digest) {
	var kept []state.Quarantined
	for _, q := range r.Quarantine {
		if q.Digest != d {
			kept = append(kept, q)
		}
	}
	r.Quarantine = kept
}

// publishCandidate lets the bundle decide for everybody, under a lease that ends with the deadline or with the agent.
func (a *agent) publishCandidate(d dataplane, b *config.Bundle, slot uint8, change *api.Change, e *state.Entry, confirm time.Duration) (*api.Change, error) {
	deadline := a.now().Add(confirm).UTC()
	entry := state.Generation{Digest: b.Digest, Name: b.Name, Number: e.Number, At: e.At.UTC(), By: e.User}
	// Written first: an agent that starts again in time goes on only with a candidate that it finds here.
	if err := a.update(func(r *state.Record) { r.Confirm = &state.Confirm{Generation: entry, Deadline: deadline} }); err != nil {
		_ = a.update(func(r *state.Record) { r.Confirm = nil })
		return nil, fmt.Errorf("nothing changed: %w", err)
	}
	a.beat.hold(a.hostFile().Guards.Lease, loader.In(confirm))
	if _, err := d.Publish(loader.Change{Candidate: &slot, Canary: ptr(uint16(canaryAll))}); err != nil {
		a.beat.release()
		_ = a.update(func(r *state.Record) { r.Confirm = nil })
		return nil, fmt.Errorf("nothing changed: %w", err)
	}
	change.Outcome, change.Deadline = api.OutcomeCandidate, deadline
	change.Message = fmt.Sprintf("generation %d decides now, and goes back by itself in %s unless `spillway confirm` keeps it", change.Number, confirm)
	return change, nil
}

// Confirm implements api.Backend.
func (a *agent) Confirm(_ context.Context, by api.Caller, reason string) (*api.Change, error) {
	d, done, err := a.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	confirm := a.state().Confirm
	if confirm == nil || d.Control().Candidate == bpf.SlotEmpty || !a.now().Before(confirm.Deadline) {
		return nil, &api.Error{Code: api.CodeNoCandidate, Message: "nothing waits for a confirmation: a candidate goes back by itself at its deadline", Fix: "spillway apply BUNDLE --confirm 5m"}
	}
	e := a.entry(by, "confirm", reason)
	e.Digest, e.Name, e.Number, e.Outcome = confirm.Digest, confirm.Name, confirm.Number, api.OutcomeDone
	b := &config.Bundle{Digest: confirm.Digest, Name: confirm.Name}
	if _, err := d.Promote(); err != nil {
		return nil, fmt.Errorf("confirm generation %d: %w", confirm.Number, err)
	}
	a.beat.release()
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeApplied, Digest: confirm.Digest, Name: confirm.Name, Number: confirm.Number,
		BakeUntil: a.now().Add(a.hostFile().Guards.Bake).UTC(), Message: fmt.Sprintf("generation %d is in force", confirm.Number)}
	a.note(change, a.update(func(r *state.Record) {
		applied(r, b, &e, change.BakeUntil)
		r.Confirm = nil
	}))
	a.audit(e)
	a.prune()
	return change, nil
}

// note adds to a change that happened what did not: it was not remembered.
func (a *agent) note(change *api.Change, err error) {
	if err != nil {
		change.Details = append(change.Details, "the kernel has it, but the disk refused the record: "+err.Error())
	}
}

func (a *agent) prune() {
	keep := a.state().References()
	if d, err := a.residentDigests(); err == nil {
		keep = append(keep, d...)
	}
	if err := a.store.Prune(keep); err != nil {
		a.log.Warn("old bundles stay", "error", err)
	}
}

func outcomeOf(err error) string {
	var e *api.Error
	if errors.As(err, &e) {
		switch e.Code {
		case api.CodeRefused:
			return api.OutcomeRefused
		case api.CodeHeld:
			return api.OutcomeHeld
		}
	}
	return api.OutcomeFailed
}

// detailsOf returns the lines of a refusal for the history.
func detailsOf(err error) []string {
	var e *api.Error
	if !errors.As(err, &e) {
		return []string{err.Error()}
	}
	var out []string
	for _, h := range e.Holds {
		out = append(out, h.Text)
	}
	if e.Faults == nil {
		return append([]string{e.Message}, out...)
	}
	for _, f := range e.Faults.List {
		out = append(out, f.String())
	}
	if more := e.Faults.Total - len(e.Faults.List); more > 0 {
		out = append(out, fmt.Sprintf("and %d more faults", more))
	}
	return out
}
