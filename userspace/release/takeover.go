// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/migrate"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
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

// HeldUpgradeError says that the dataplane of another layout goes on.
type HeldUpgradeError struct {
	layout uint64
	err    error
}

func (e *HeldUpgradeError) Error() string {
	return fmt.Sprintf("the dataplane of layout %d goes on deciding, and this build cannot take over from it: %v",
		e.layout, e.err)
}

func (e *HeldUpgradeError) Unwrap() error { return e.err }

const FixHeldUpgrade = "put back what is missing: the agent tries again; or at a quiet hour: `spillway detach`, restart the agent, `spillway apply BUNDLE`. `spillway bypass on` works at any time"

// Successor is a dataplane that was made beside one of another layout.
type Successor interface {
	Kernel
	Predecessor() *migrate.Predecessor
	CarryOver() error
	TakeOver() error
}

// upgrade fills a dataplane that was made beside one of another layout.
type upgrade struct {
	*site
	swap    *swap
	builder *builder
	modes   *modes
	before  *before
}

// takeOver fills a dataplane that was made beside one of another layout, and puts it in force. Meanwhile the caller
// says that an agent lives: what decides must not take it for dead.
func (up *upgrade) takeOver(d Successor, left *Condemned) error {
	p := d.Predecessor()
	if err := up.carryOver(d, p, left); err != nil {
		return &HeldUpgradeError{p.Layout, err}
	}
	return nil
}

func (up *upgrade) carryOver(d Successor, p *migrate.Predecessor, left *Condemned) error {
	f := up.file()
	h := f.Host
	host, hostSlot, err := up.builder.hostFile(d, f)
	if err != nil {
		return err
	}
	stable, previous, err := up.wasInForce(p)
	if err != nil {
		return err
	}
	stable, previous = left.without(stable, previous)
	e := up.ledger.Entry(ledger.Itself(), "upgrade", "")
	e.Detail = []string{fmt.Sprintf("took over from the dataplane of layout %d", p.Layout)}
	old, err := up.builder.fromDisk(d, previous, h, host)
	if err != nil { // a rollback is not worth an upgrade
		e.Detail = append(e.Detail, fmt.Sprintf("there is no previous generation any more: %v", err))
	}
	mode := up.modes.mode()
	change := loader.Change{Host: &hostSlot, Mode: &mode}
	if old != nil {
		change.Stable = &old.slot
	}
	if _, err := d.Publish(change); err != nil {
		return fmt.Errorf("publish host file: %w", err)
	}
	now, err := up.builder.fromDisk(d, stable, h, host) // in another slot than that of the one that now has a role
	if err != nil {
		return fmt.Errorf("build the stable bundle from disk: %w", err)
	}
	if now != nil {
		if _, err := d.Publish(loader.Change{Stable: &now.slot}); err != nil {
			return fmt.Errorf("publish the stable bundle: %w", err)
		}
		e.Digest, e.Number, e.Name = now.digest, now.number, up.ledger.NameOf(now.digest)
	}
	if err := d.CarryOver(); err != nil {
		return err
	}
	if len(p.Links) > 0 {
		e.Detail = append(e.Detail, "updated the link of "+strings.Join(p.Links, ", ")+", this once")
	}
	up.swap.Lock()
	defer up.swap.Unlock()
	if err := d.TakeOver(); err != nil {
		return err
	}
	note := up.before.published(f)
	_ = up.ledger.Update(func(r *state.Record) {
		note(r)
		now.renumber(r)
		for _, b := range []*built{old, now} {
			if b != nil && r.Previous != nil && r.Previous.Digest == b.digest {
				r.Previous.Number = b.number
			}
		}
	})
	e.Outcome = api.OutcomeDone
	up.ledger.Audit(e)
	return nil
}

// wasInForce returns the digests of the stable and previous generation of a predecessor; nil for none. Where its slots
// cannot be read the record says what is in force.
func (up *upgrade) wasInForce(p *migrate.Predecessor) (stable, previous *config.Digest, err error) {
	if p.Known {
		return digestIn(p.Stable), digestIn(p.Previous), nil
	}
	r := up.ledger.Record()
	if r.Applied == nil {
		return nil, nil,
			errors.New("its slots cannot be read without CAP_SYS_ADMIN, and the record does not say what is in force: run `spillway run` once as root")
	}
	if r.Previous != nil {
		previous = &r.Previous.Digest
	}
	return &r.Applied.Digest, previous, nil
}

func digestIn(g *migrate.Resident) *config.Digest {
	if g == nil {
		return nil
	}
	d := config.Digest(g.Digest)
	return &d
}
