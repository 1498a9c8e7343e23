// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/userspace/api"
	engine "github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// Order is a change of the set in force that somebody asked for and that was checked, for who carries it out in stages.
// Its bundle lies on disk.
type Order struct {
	ID     string        `json:"id"`
	Kind   string        `json:"kind"` // as the API has it
	Name   string        `json:"name"`
	Digest config.Digest `json:"digest,omitzero"`  // of the bundle; zero: none, Remove is taken out
	Remove string        `json:"remove,omitempty"` // the bundle that goes
	Leaves *state.Member `json:"leaves,omitempty"` // what a rollback of one bundle leaves
	Key    string        `json:"key,omitempty"`
	Accept string        `json:"accept,omitempty"`
	Reason string        `json:"reason,omitempty"`
	At     time.Time     `json:"at"`
	UID    uint32        `json:"uid"`
	By     string        `json:"by,omitempty"`
}

// Wanted is an order, and what the engine must know of it.
type Wanted struct {
	Order    Order
	Change   engine.Change
	Told     []string // what its sender should know, and of the bundle
	Warnings []yaml.Fault
	Same     *api.Change   // it is in force already, and there is nothing to do
	Set      config.Digest // what the set in force would be
}

func (o *Order) wish(disk bundleFiles) (wish, error) {
	w := wish{remove: o.Remove, back: o.Kind == api.RolloutBack}
	if o.Kind == api.RolloutHost {
		w.host = o.Digest
		return w, nil
	}
	if o.Digest.IsZero() {
		return w, nil
	}
	var err error
	w.bundle, err = disk.Bundle(o.Digest)
	return w, err
}

func (o *Order) caller() api.Caller { return api.Caller{UID: o.UID, User: o.By} }

// entry begins a line of the history.
func (o *Order) entry(s *site, verb string) state.Entry {
	e := s.ledger.Entry(o.caller(), verb, o.Reason)
	e.Name, e.Digest = o.Name, o.Digest
	return e
}

// orders read what people ask for, for who carries it out in stages. They publish nothing.
type orders struct {
	*site
	use      func() (Kernel, func(), error)
	disk     setFiles
	reader   *reader
	guard    *guard
	archive  *archive
	standing func(view.Kernel, wish) (*standing, error)
}

// read checks what is asked for. What has faults, and what a person must accept, is refused at once.
func (or *orders) read(ctx context.Context, by api.Caller, r api.RolloutRequest, files api.Files) (*Wanted, error) {
	o := Order{ID: or.ledger.NextRollout(), Kind: api.RolloutApply, Name: r.Remove, Remove: r.Remove, Key: r.Key,
		Accept: r.Accept, Reason: r.Reason, At: or.ledger.Now().UTC(), UID: by.UID, By: by.User}
	if files == nil && r.Stored == "" {
		o.Kind = api.RolloutRemove
	}
	w, err := or.reader.wishOf(r, files, or.reader.alone)
	if err == nil {
		err = api.Late(ctx)
	}
	var wanted *Wanted
	if err == nil {
		wanted, err = or.want(o, w)
	}
	if err != nil {
		e := o.entry(or.site, o.Kind)
		if w.name() != "" {
			e.Name = w.name()
		}
		or.outcome(&e, nil, err)
		return nil, err
	}
	wanted.Change.Confirm = r.Confirm()
	return wanted, nil
}

// back is the order that gives one bundle of the set back the version before.
func (or *orders) back(by api.Caller, name, reason string) (*Wanted, error) {
	left, before, err := or.archive.backOf(name)
	if err != nil {
		return nil, err
	}
	o := Order{ID: or.ledger.NextRollout(), Kind: api.RolloutBack, Leaves: left, Accept: reason, Reason: reason,
		At: or.ledger.Now().UTC(), UID: by.UID, By: by.User}
	return or.want(o, wish{bundle: before, back: true})
}

// host is the order that lets the change of the host file in force count.
func (or *orders) host(by api.Caller, reason, accept string) (*Wanted, error) {
	file := or.file()
	change := file.Change()
	if file.Unpublished {
		return nil, &api.Error{Code: api.CodeUnavailable, Message: "the host file is not in force yet"}
	}
	if change.IsZero() {
		return nil, &api.Error{Code: api.CodeConflict, Message: "all of the host file in force counts already"}
	}
	return or.want(Order{ID: or.ledger.NextRollout(), Kind: api.RolloutHost, Digest: change, Accept: accept,
		Reason: reason, At: or.ledger.Now().UTC(), UID: by.UID, By: by.User}, wish{host: change})
}

// want says what the engine must know of an order.
func (or *orders) want(o Order, w wish) (*Wanted, error) {
	d, done, err := or.use()
	if err != nil {
		return nil, err
	}
	defer done()
	s, err := or.standing(d, w)
	if err != nil {
		return nil, err
	}
	o.Name, o.Remove = w.name(), w.remove
	out := &Wanted{Set: s.next.Digest}
	switch {
	case w.bundle != nil:
		o.Digest = w.bundle.Digest
	case !w.host.IsZero():
		o.Digest = w.host
	}
	out.Order = o
	change := &api.Change{Envelope: api.NewEnvelope(), Name: o.Name, Digest: o.Digest, Set: memberList(s.next)}
	if s.unchanged(change) {
		out.Same = change
		return out, nil
	}
	if err := or.guard.held(w, s, o.Accept); err != nil {
		return nil, err
	}
	if w.bundle != nil {
		if err := or.disk.SaveBundle(w.bundle); err != nil {
			return nil, fmt.Errorf("nothing changed: %w", err)
		}
		out.Warnings = w.bundle.Warnings
	}
	out.Told = append(out.Told, s.next.Warnings()...)
	out.Change = engine.Change{ID: o.ID, Name: o.Name, Digest: o.Digest, Reason: o.Reason, By: o.By,
		Thaw: strings.TrimSpace(o.Accept)}
	out.Change.Kind, out.Change.Delta = kindOf(s, w, or.ledger.Now())
	out.Change.Expects = w.expects()
	out.Told = append(out.Told, or.reader.before(out.Change, d.Control().Mode == bpf.ModeObserve)...)
	return out, nil
}

// kindOf says which way a change takes: what can only let more pass, an update of lists, or anything else.
func kindOf(s *standing, w wish, now time.Time) (engine.Kind, engine.Delta) {
	if config.Relaxes(s.base, s.next, now) {
		return engine.KindRelax, engine.Delta{}
	}
	if w.bundle == nil || w.remove != "" {
		return engine.KindBundle, engine.Delta{}
	}
	old := s.base.Named(w.bundle.Name)
	if old == nil {
		return engine.KindBundle, engine.Delta{}
	}
	d := config.Change(old, w.bundle)
	if d.Rules.Len()+len(d.Features)+d.Policy.Len() > 0 || d.Intent || d.Name || len(d.Prefixes) == 0 {
		return engine.KindBundle, engine.Delta{}
	}
	delta := engine.Delta{}
	for _, l := range d.Prefixes {
		if l.Origin {
			return engine.KindBundle, engine.Delta{}
		}
		rows := max(rowsOf(old, l.List), rowsOf(w.bundle, l.List), 1)
		delta.Rows = max(delta.Rows, float64(l.Rows.Len())/float64(rows))
	}
	return engine.KindDelta, delta
}

func rowsOf(b *config.Bundle, list string) (n int) {
	for _, l := range b.Prefixes {
		if l.List == list {
			n += len(l.Entries)
		}
	}
	return n
}
