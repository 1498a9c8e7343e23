// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/state"
)

// An upgrade to another layout of the maps:
//
//	open       the new dataplane is made beside the one that decides, and nothing looks at it
//	takeOver   host file and bundles are built in it from disk; bans, bypasses and blocked connections are copied
//	           one store puts it in force; the old one goes
//	hold       what cannot be built from disk is not given up: the old one goes on, and the agent says that it lives
//
// An agent that is killed begins anew where the old one still decides, and goes on where the new one does.

// errHeldUpgrade says that the dataplane of another layout goes on.
type errHeldUpgrade struct {
	layout uint64
	err    error
}

func (e *errHeldUpgrade) Error() string {
	return fmt.Sprintf("the dataplane of layout %d goes on deciding, and this build cannot take over from it: %v", e.layout, e.err)
}

func (e *errHeldUpgrade) Unwrap() error { return e.err }

const fixHeldUpgrade = "put back what is missing: the agent tries again; or at a quiet hour: `spillway detach`, restart the agent, `spillway apply BUNDLE`. `spillway bypass on` works at any time"

// takeOver fills a dataplane that was made beside one of another layout, and puts it in force. The change lock is held.
func (a *agent) takeOver(d plane.Dataplane) error {
	p := d.Predecessor()
	if p == nil {
		return nil
	}
	beat := plane.StartHeartbeat(d) // building takes its time, and what decides must not take the agent for dead
	defer beat.Close()
	if err := a.carryOver(d, p); err != nil {
		return &errHeldUpgrade{p.Layout, err}
	}
	return nil
}

func (a *agent) carryOver(d plane.Dataplane, p *loader.Predecessor) error {
	h := a.hostFile()
	host, hostSlot, err := a.buildHost(d, h)
	if err != nil {
		return err
	}
	stable, previous, err := a.wasInForce(p)
	if err != nil {
		return err
	}
	e := a.ledger.Entry(ledger.Itself(), "upgrade", "")
	e.Detail = []string{fmt.Sprintf("took over from the dataplane of layout %d", p.Layout)}
	old, err := a.buildFromDisk(d, previous, h, host)
	if err != nil { // a rollback is not worth an upgrade
		e.Detail = append(e.Detail, fmt.Sprintf("there is no previous generation any more: %v", err))
	}
	mode := a.mode()
	change := loader.Change{Host: &hostSlot, Mode: &mode}
	if old != nil {
		change.Stable = &old.slot
	}
	if _, err := d.Publish(change); err != nil {
		return fmt.Errorf("publish host file: %w", err)
	}
	now, err := a.buildFromDisk(d, stable, h, host) // in another slot than that of the one that now has a role
	if err != nil {
		return fmt.Errorf("build the stable bundle from disk: %w", err)
	}
	if now != nil {
		if _, err := d.Publish(loader.Change{Stable: &now.slot}); err != nil {
			return fmt.Errorf("publish the stable bundle: %w", err)
		}
		e.Digest, e.Number, e.Name = now.digest, now.number, a.ledger.NameOf(now.digest)
	}
	if err := d.CarryOver(); err != nil {
		return err
	}
	if len(p.Links) > 0 {
		e.Detail = append(e.Detail, "updated the link of "+strings.Join(p.Links, ", ")+", this once")
	}
	a.swap.Lock()
	defer a.swap.Unlock()
	if err := d.TakeOver(); err != nil {
		return err
	}
	_ = a.ledger.Update(func(r *state.Record) {
		now.renumber(r)
		if old != nil && r.Previous != nil && r.Previous.Digest == old.digest {
			r.Previous.Number = old.number
		}
	})
	e.Outcome = api.OutcomeDone
	a.ledger.Audit(e)
	return nil
}

// wasInForce returns the digests of the stable and previous generation of a predecessor; nil for none. Where its slots
// cannot be read the record says what is in force.
func (a *agent) wasInForce(p *loader.Predecessor) (stable, previous *config.Digest, err error) {
	if p.Known {
		return digestIn(p.Stable), digestIn(p.Previous), nil
	}
	r := a.ledger.Record()
	if r.Applied == nil {
		return nil, nil, errors.New("its slots cannot be read without CAP_SYS_ADMIN, and the record does not say what is in force: run `spillway run` once as root")
	}
	if r.Previous != nil {
		previous = &r.Previous.Digest
	}
	return &r.Applied.Digest, previous, nil
}

func digestIn(g *loader.GenerationInfo) *config.Digest {
	if g == nil {
		return nil
	}
	d := config.Digest(g.Digest)
	return &d
}

// buildFromDisk builds the generation of a digest from disk; nil for none.
func (a *agent) buildFromDisk(d plane.Dataplane, digest *config.Digest, h *config.Host, host *loader.HostImage) (*built, error) {
	if digest == nil {
		return nil, nil
	}
	slot, number, err := a.buildKnown(d, ledger.WorkRestore, *digest, h, host)
	if err != nil {
		return nil, err
	}
	return &built{slot, number, *digest}, nil
}
