// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// builder compiles bundles and host files and builds them aside. It publishes nothing.
type builder struct {
	*site
	disk  bundleFiles
	own   func() ([]netip.Addr, error)
	clock func() compile.Clock
	keep  func(*compile.Image)
	count func(view.Kernel)
	stays func() []uint32 // generations whose slots are not spare
}

// set builds a set for the host file in force, and leaves the slots beside it as they are. undeclared: what it declares
// was said of something else.
func (bl *builder) set(d slots, set *config.Set, undeclared bool, beside ...uint8) (slot uint8, number uint32,
	err error) {
	f := bl.file()
	host, err := hostfile.Compile(d, f, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("compile host file: %w", err)
	}
	b := set.Merge()
	if undeclared {
		b = b.Undeclared()
	}
	slot, number, err = bl.build(d, b, f.Host, host, beside...)
	if err == nil && undeclared {
		_ = bl.ledger.Update(func(r *state.Record) { r.WasUndeclared(number) })
	}
	return slot, number, err
}

// BuildError tells a bundle that does not fit from a kernel that failed.
func BuildError(err error) error {
	if errors.Is(err, loader.ErrCapacity) {
		return &api.Error{Code: api.CodeRefused, Message: "the bundle is refused; what is in force goes on: " + err.Error(),
			Fix: ledger.Fix(err)}
	}
	return fmt.Errorf("nothing changed: %w", err)
}

// nextNumber returns a generation number that nobody had: more than any resident one and any that the record has seen.
func (bl *builder) nextNumber(d slots) (uint32, error) {
	n, err := d.NextNumber()
	if err != nil {
		return 0, err
	}
	return max(n, bl.ledger.Record().LastNumber+1), nil
}

// build compiles a bundle for a host file and builds it aside. It publishes nothing.
func (bl *builder) build(d slots, b *config.Bundle, h *config.Host, host *compile.HostImage,
	beside ...uint8) (slot uint8, number uint32, err error) {
	if number, err = bl.nextNumber(d); err != nil {
		return 0, 0, err
	}
	own, err := bl.own()
	if err != nil {
		return 0, 0, err // without them a bundle could block this host
	}
	here, because := b.LeaveOut(config.Protected(h, own))
	at := bl.clock()
	img, err := compile.Bundle(here, host, number, at)
	if err != nil {
		return 0, 0, err
	}
	bl.count(d)
	stay, err := bl.stay(d)
	if err != nil {
		return 0, 0, err
	}
	beside = append(stay, beside...)
	if slot, err = d.Build(img, beside...); err != nil {
		return 0, 0, err
	}
	bl.keep(img)
	bl.ledger.Learn(b.Digest, b.Name, b.Rules, b.Matched())
	bl.note(d, compiled(img, at, host.Context(b.Host), here.OmittedProtected, because))
	return slot, number, nil
}

// note keeps what is needed to compile the same again.
func (bl *builder) note(d slots, made state.Compiled) {
	resident, err := d.Generations()
	_ = bl.ledger.Update(func(r *state.Record) {
		r.LastNumber = max(r.LastNumber, made.Number)
		r.Compiled = append(r.Compiled, made)
		if err == nil {
			r.Compiled = slices.DeleteFunc(r.Compiled, func(c state.Compiled) bool { return !isResident(resident, c.Number) })
		}
	})
}

// stay are the slots that must stay whatever their role is.
func (bl *builder) stay(d slots) ([]uint8, error) {
	stays := bl.stays()
	if len(stays) == 0 {
		return nil, nil
	}
	all, err := d.Generations()
	return slotsOf(all, stays), err
}

func (bl *builder) known(d slots, work string, digest config.Digest, h *config.Host, host *compile.HostImage,
	beside ...uint8) (slot uint8, number uint32, err error) {
	err = bl.ledger.Needed(work, func() error {
		b, err := bl.disk.Bundle(digest)
		if err != nil {
			return err
		}
		slot, number, err = bl.build(d, b, h, host, beside...)
		return err
	})
	return slot, number, err
}

// stable builds the stable bundle again for another host file; nil when the one in the kernel goes on as it is.
func (bl *builder) stable(d slots, h *config.Host, host *compile.HostImage) (*built, []string, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, nil, err
	}
	c := d.Control()
	g, resident := view.InSlot(all, c.Stable)
	if !resident {
		return nil, nil, nil
	}
	slot, number, err := bl.known(d, ledger.WorkRebuild, g.Digest, h, host)
	switch {
	case err == nil:
		return &built{slot, number, g.Digest, g.Number}, nil, nil
	case errors.Is(err, state.ErrNoBundle):
		return nil, []string{"the stable bundle is not on disk: services that are new pass until the next apply"}, nil
	case refusedForNow(err) == nil && !addsService(bl.host(), h):
		return nil,
			[]string{fmt.Sprintf("the stable bundle cannot be built for this host file and goes on as it is: %v", err)}, nil
	}
	return nil, nil, fmt.Errorf("build the stable bundle for the new host file: %w", err)
}

// candidate does the same for a candidate that waits for its confirmation, beside the stable one that was built.
func (bl *builder) candidate(d slots, h *config.Host, host *compile.HostImage,
	stable *built) (*built, []string, error) {
	g, ok := candidateIn(d)
	if !ok {
		return nil, nil, nil
	}
	var beside []uint8
	if stable != nil {
		beside = append(beside, stable.slot)
	}
	slot, number, err := bl.known(d, ledger.WorkRebuild, g.Digest, h, host, beside...)
	switch {
	case err == nil:
		return &built{slot, number, g.Digest, g.Number}, nil, nil
	case errors.Is(err, state.ErrNoBundle), refusedForNow(err) == nil && !addsService(bl.host(), h):
		return nil, []string{fmt.Sprintf("the candidate cannot be built for this host file and goes on as it is: %v", err)},
			nil
	}
	return nil, nil, fmt.Errorf("build the candidate for the new host file: %w", err)
}

// fromDisk builds the generation of a digest from disk; nil for none.
func (bl *builder) fromDisk(d slots, digest *config.Digest, h *config.Host, host *compile.HostImage) (*built, error) {
	if digest == nil {
		return nil, nil
	}
	slot, number, err := bl.known(d, ledger.WorkRestore, *digest, h, host)
	if err != nil {
		return nil, err
	}
	return &built{slot: slot, number: number, digest: *digest}, nil
}
