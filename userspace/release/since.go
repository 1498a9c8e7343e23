// SPDX-License-Identifier: Apache-2.0

package release

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

/*
A host file counts at once and for every generation. Where it lets more be blocked, and changes go in stages, what
decides stays behind it (bpf/behind.h): it goes on as with the host file before. The same set compiled for the change is
another set (config.Set.For), and comes in stages as a rollout of "host file":

	reload ─▶ since ─▶ host file before is kept ─▶ publish, stable behind ─▶ rollout ─┬▶ last-known-good ─▶ settle
	                                                                                  └▶ refused, held, taken back: stays

While the host only observes nothing is behind, but the host file before is kept: what enforces next stands on it.
*/

// before keeps what the host file in force is compared with.
type before struct {
	*site
	disk hostFilesOnDisk
	path string // of the host file
}

// hostFilesOnDisk are host files in the state folder.
type hostFilesOnDisk interface {
	Host() (*state.Host, error)
	Before() (b *state.Before, damaged bool, err error)
	SaveBefore(state.Before) error
	DropBefore() error
	SaveChange(d config.Digest, content []byte) error
}

// kept is what was compared with last; nil: nothing, or what means nothing any more.
func (be *before) kept() (*state.Before, error) {
	kept, damaged, err := be.disk.Before()
	switch {
	case damaged:
		be.log.Error("the host file before is damaged: all that is inspected counts as new", "error", err)
		return &state.Before{}, nil
	case errors.Is(err, state.ErrNoHost):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the host file before: %w", err)
	case kept.Change == be.ledger.Record().HostSettled:
		return nil, nil
	}
	return kept, nil
}

// lastInForce is the host file that was in force when an agent last kept one; nil where there was none.
func (be *before) lastInForce(next *hostfile.File) (*hostfile.File, error) {
	if next.Digest == be.ledger.Record().HostDigest {
		return next, nil
	}
	kept, err := be.disk.Host()
	if errors.Is(err, state.ErrNoHost) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the host file that was in force: %w", err)
	}
	f, err := hostfile.Parse(be.path, []byte(kept.Text))
	if err != nil {
		be.log.Warn("the host file that was in force is none of this build: what was changed since counts at once", "error", err)
		return nil, nil
	}
	return f, nil
}

// stand gives the next host file what it is compared with while it is in force, in this mode, and keeps that. It
// forgets nothing: what is in force may still be compared with it. last is the one in force; nil: nobody knows it.
func (be *before) stand(last, next *hostfile.File, mode bpf.Mode) error {
	r := be.ledger.Record()
	next.Since, next.Stands, next.Before = nil, false, nil
	if next.Host.Guards.Rollout != config.RolloutStaged || r.LastKnownGood == nil && r.Applied == nil ||
		next.Digest == r.HostCounts {
		return nil
	}
	kept, err := be.kept()
	if err != nil {
		return err
	}
	base := be.base(kept, last)
	if base == nil || len(hostfile.InStages(base, next.Host)) == 0 {
		return nil
	}
	if rows, room := len(next.Host.Sources())+len(base.Unprotected(next.Host)), next.Host.Capacity.Allowlist; rows > room {
		return &api.Error{Code: api.CodeRefused,
			Message: fmt.Sprintf("the old host file goes on: while the new one is on trial whom the old one protects stays "+
				"protected, which takes %d rows, and capacity.allowlist is %d", rows, room),
			Fix: "change fewer lines at once, or raise the capacity; or at once: spillway reload --emergency --reason WHY"}
	}
	if kept, err = be.keep(kept, base.Inspection(), next.Host); err != nil {
		return err
	}
	next.Stands, next.Before = true, base
	if mode == bpf.ModeEnforce {
		next.Since = &compile.Since{Host: base, Change: kept.Change}
	}
	return nil
}

// base is what the next host file is compared with: the one that what decides stands on, as far as every one that was
// in force since let less be blocked. So neither a second edit nor the way back lets through what nobody judged.
func (be *before) base(kept *state.Before, last *hostfile.File) *config.Host {
	switch {
	case kept == nil && last == nil:
		return nil
	case kept == nil:
		return last.Host
	case last == nil:
		return kept.Base.Host()
	}
	return kept.Base.Host().Meet(last.Host)
}

// keep writes down what is compared with, where that is another than before. The change keeps its name while it lets
// nothing more be blocked than what it was made for; another one has a name that no other change ever had.
func (be *before) keep(kept *state.Before, base config.Inspection, next *config.Host) (*state.Before, error) {
	goesOn := kept != nil && !kept.Change.IsZero() && len(hostfile.InStages(kept.Made.Host(), next)) == 0
	if goesOn && reflect.DeepEqual(kept.Base, base) {
		return kept, nil
	}
	now := state.Before{Base: base, Made: next.Inspection()}
	if goesOn {
		now.Made, now.Change = kept.Made, kept.Change
	} else {
		content, err := json.Marshal(map[string]any{"host": map[string]any{"made": now.Made, "name": rand.Text()}})
		if err != nil {
			return nil, err
		}
		now.Change = sha256.Sum256(content)
		if err := be.disk.SaveChange(now.Change, content); err != nil {
			return nil, err
		}
	}
	if err := be.disk.SaveBefore(now); err != nil {
		return nil, err
	}
	return &now, nil
}

// published returns what the record has to say of a host file that is in force: whether all of it counts, or
// something is compared with it.
func (be *before) published(file *hostfile.File) func(*state.Record) {
	if file.Stands {
		return func(r *state.Record) { r.HostDigest, r.HostCounts = file.Digest, "" }
	}
	var settled config.Digest
	if kept, _, err := be.disk.Before(); err == nil {
		settled = kept.Change
	}
	return func(r *state.Record) {
		r.HostDigest, r.HostCounts = file.Digest, file.Digest
		if !settled.IsZero() {
			r.HostSettled = settled
		}
	}
}

// settle forgets what was compared with, where nothing is any more.
func (be *before) settle(file *hostfile.File) {
	if _, damaged, err := be.disk.Before(); file.Stands || errors.Is(err, state.ErrNoHost) && !damaged {
		return
	}
	if err := be.disk.DropBefore(); err != nil {
		be.log.Warn("what the host file was compared with stays kept, and means nothing", "error", err)
	}
}

// accepted reports whether what decides is last-known-good with the change of a host file: then all of it counts for
// everybody.
func (ho *hosts) accepted(d view.Kernel) bool {
	file, known := ho.file(), ho.ledger.Record().LastKnownGood
	if file.Unpublished || !hasChange(known, file.Change()) {
		return false
	}
	all, err := d.Generations()
	return err == nil && numberIn(all, d.Control().Stable) == known.Number
}

func hasChange(g *state.Generation, change config.Digest) bool {
	return g != nil && !change.IsZero() && slices.ContainsFunc(g.Members, func(m state.Member) bool {
		return m.Name == config.HostMember && m.Digest == change
	})
}

// accept publishes the host file as one that counts for every generation. It returns nil where there is nothing to
// do. Where previous is the same bundles without the change it is none any more: nobody would go back by it. The
// change lock is held.
func (ho *hosts) accept(d Kernel) (*hostfile.File, error) {
	if !ho.accepted(d) {
		return nil, nil
	}
	seen, next := ho.swap.seen(d), *ho.file()
	next.Since, next.Stands, next.Before = nil, false, nil
	_, slot, err := ho.builder.hostFile(d, &next)
	if err != nil {
		return nil, err
	}
	r := ho.ledger.Record()
	same := r.Previous != nil && r.Applied != nil && sameBundles(*r.Previous, *r.Applied)
	ho.swap.Lock()
	defer ho.swap.Unlock()
	if err := ho.swap.moved(d, seen); err != nil {
		return nil, err
	}
	change := loader.Change{Host: &slot, NoPrevious: same, Seen: &seen.epoch}
	if _, err := d.Publish(change); err != nil {
		return nil, publishError(fmt.Errorf("publish host file: %w", err))
	}
	note := ho.before.published(&next)
	_ = ho.ledger.Update(func(r *state.Record) {
		note(r)
		if same {
			r.Previous = nil
		}
	})
	ho.before.settle(&next)
	return &next, nil
}

func sameBundles(a, b state.Generation) bool { return slices.Equal(a.Bundles(), b.Bundles()) }

// HostFiles is the handle of the host files, for who reloads them.
type HostFiles struct{ mg *Manager }

// HostFiles returns that.
func (mg *Manager) HostFiles() HostFiles { return HostFiles{mg} }

// Stand gives a host file what it is compared with once it is in force; last is the one that is. The change lock is
// held.
func (hf HostFiles) Stand(last, next *hostfile.File, mode bpf.Mode) (err error) {
	be := hf.mg.hosts.before
	if last.Unpublished {
		if last, err = be.lastInForce(next); err != nil {
			return err
		}
	}
	return be.stand(last, next, mode)
}

// StandAtStart is Stand for the host file that an agent begins with: the one before is what was in force last. empty
// says that the kernel holds nothing.
func (hf HostFiles) StandAtStart(next *hostfile.File, empty bool) error {
	if r := hf.mg.ledger.Record(); r.LastKnownGood == nil && r.Applied == nil {
		next.Since, next.Stands, next.Before = nil, false, nil
		return nil // nothing stands on anything, and perhaps no disk can be read
	}
	last, err := hf.mg.hosts.before.lastInForce(next)
	if err != nil {
		return err
	}
	mode := hf.mg.modes.mode()
	if empty {
		_, mode = hf.mg.modes.comeback()
	}
	return hf.mg.hosts.before.stand(last, next, mode)
}

// InForce reports whether the kernel has a host file as one that counts for everybody.
func (hf HostFiles) InForce(d Kernel, file *hostfile.File) bool {
	plain := *file
	plain.Since = nil
	host, err := hostfile.Compile(d, &plain, 0)
	if err != nil {
		return false
	}
	drift, err := d.VerifyHost(host)
	return err == nil && len(drift) == 0
}

// Order is the order that lets the change of the host file in force count.
func (hf HostFiles) Order(by api.Caller, reason, accept string) (*Wanted, error) {
	return hf.mg.orders.host(by, reason, accept)
}

// Change is that of the host file in force which does not count for what decides; zero: there is none.
func (hf HostFiles) Change() config.Digest {
	if f := hf.mg.site.file(); !f.Unpublished {
		return f.Change()
	}
	return config.Digest{}
}

// Published reports whether the kernel has the host file.
func (hf HostFiles) Published() bool { return !hf.mg.site.file().Unpublished }

// Waits reports whether something is in force that could be compiled for the change, and is not.
func (hf HostFiles) Waits() bool {
	r, change := hf.mg.ledger.Record(), hf.Change()
	return !change.IsZero() && r.Applied != nil && !hasChange(r.Applied, change)
}

// Accepted reports whether Accept has something to do.
func (hf HostFiles) Accepted() bool {
	if hf.Change().IsZero() {
		return false
	}
	d, done, err := hf.mg.hosts.use()
	if err != nil {
		return false
	}
	defer done()
	return hf.mg.hosts.accepted(d)
}

// Accept publishes the host file as one that counts for every generation, once what was compiled for its change is
// last-known-good. The result is what is in force then; nil: nothing changed. The change lock is held.
func (hf HostFiles) Accept(d Kernel) (*hostfile.File, error) { return hf.mg.hosts.accept(d) }
