// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/migrate"
)

func (f *fake) Close() error { return nil }

func (f *fake) Warnings() []string { return nil }

func (f *fake) Predecessor() *migrate.Predecessor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.before
}

func (f *fake) CarryOver() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.called("CarryOver")
}

func (f *fake) TakeOver() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("TakeOver"); err != nil {
		return err
	}
	f.before = nil
	return nil
}

func (f *fake) Attach(name string, mode config.Attach) (loader.Attachment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.called("Attach"), f.fail["Attach "+name]); err != nil {
		return loader.Attachment{}, err
	}
	if f.adopts != "" {
		return loader.Attachment{Interface: f.adopts, Pin: f.adopts, Index: indexOf(f.adopts), LinkID: f.linkIDs[f.adopts],
			State: loader.StateAttached}, nil
	}
	if f.links[name] != loader.StateAttached {
		f.lastLink++
		f.linkIDs[name], f.links[name] = f.lastLink, loader.StateAttached
	}
	return loader.Attachment{Interface: name, Pin: name, Index: indexOf(name), LinkID: f.linkIDs[name], Mode: string(mode),
		State: loader.StateAttached}, nil
}

func (f *fake) DetachInterface(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("DetachInterface"); err != nil {
		return err
	}
	delete(f.links, name)
	return nil
}

func (f *fake) Build(img *compile.Image, beside ...uint8) (uint8, error) {
	f.meanwhile("Build")
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("Build"); err != nil {
		return 0, err
	}
	for slot := uint8(1); slot < bpf.Slots; slot++ {
		if f.control.Role(slot) == loader.RoleIdle && !slices.Contains(beside, slot) {
			f.slots[slot] = img
			f.refill(slot)
			return slot, nil
		}
	}
	return 0, errors.New("no spare slot")
}

// refill gives a slot's next generation counters of its own, as the loader does.
func (f *fake) refill(slot uint8) {
	delete(f.hits, slot)
	for i, c := range f.counters {
		if c.Slot == slot {
			f.counters[i].Slot, f.counters[i].Left = bpf.SlotEmpty, true
		}
	}
}

func (f *fake) BuildHost(*compile.HostImage) (uint8, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	slot := uint8(1)
	if f.control.Host == 1 {
		slot = 2
	}
	f.hostSlots[slot] = f.next
	return slot, f.called("BuildHost")
}

func (f *fake) Publish(change loader.Change) (loader.Control, error) {
	return f.change("Publish", func(c loader.Control) (loader.Control, error) {
		if change.Host != nil {
			f.publishHost(f.hostSlots[*change.Host])
		}
		return c.Publish(change)
	})
}

// publishHost gives services ids in their order; the loader's own tests are about ids.
func (f *fake) publishHost(h *config.Host) {
	info := &compile.HostInfo{Number: 1, AgentTimeout: h.Guards.AgentTimeout.Duration()}
	if f.host != nil {
		info.Number = f.host.Number + 1
	}
	for i, s := range h.Services {
		info.Services = append(info.Services,
			compile.ServiceInfo{ID: uint8(i + 1), Name: s.Name, Kind: string(s.Kind), Tag: loader.TagOf(s.Name)})
	}
	f.host, f.published = info, h
}

func (f *fake) Promote() (loader.Control, error) { return f.change("Promote", loader.Control.Promote) }

func (f *fake) Withdraw() (loader.Control, error) {
	return f.change("Withdraw", loader.Control.Withdraw)
}

func (f *fake) DropGenerations() (loader.Control, error) {
	return f.change("DropGenerations", loader.Control.DropGenerations)
}

func (f *fake) NextNumber() (uint32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	highest := uint32(0)
	for _, img := range f.slots {
		highest = max(highest, img.Number())
	}
	return highest + 1, nil
}

func (f *fake) VerifyVouched() ([]compile.Drift, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, f.called("VerifyVouched")
}

func (f *fake) SweepVouched() (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return 0, f.called("SweepVouched")
}

func (m *machine) SetBaked(number uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.baked = number
}

func (m *machine) Baked() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.baked
}

func (f *fake) SyncEgress([]string) error { return nil }
func (f *fake) SetFresh([]string) error   { return nil }

func (f *fake) Released() (uint64, error) { return 0, nil }

func (f *fake) BlockedFlows(_ *loader.FlowWalk, _ int, to []loader.BlockedFlow) ([]loader.BlockedFlow, bool, error) {
	return to, true, nil
}

func (f *fake) StillBlocked(loader.BlockedFlow) (bool, error) { return false, nil }

func (f *fake) RuleHits(slot uint8) (map[uint16]uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits[slot], nil
}

func (f *fake) Events(ctx context.Context, visit func(bpf.Event)) error {
	for {
		select {
		case e := <-f.events:
			visit(e)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fake) VerifyGeneration(uint8, *compile.Image) ([]compile.Drift, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.drift), f.called("VerifyGeneration")
}

func (f *fake) SumGeneration(slot uint8) (compile.Sums, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sums := compile.Sums{}
	if img := f.slots[slot]; img != nil {
		sums = img.Sums()
	}
	if len(f.drift) > 0 {
		sums[bpf.DataplaneMapRules] = "other rows"
	}
	return sums, f.called("SumGeneration")
}

// VerifyHost compares host files: an image cannot be looked into.
func (f *fake) VerifyHost(*compile.HostImage) ([]compile.Drift, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.published == nil || !sameText(f.published, f.next) {
		return []compile.Drift{{Where: "host", Want: "this", Got: "that"}}, nil
	}
	return nil, nil
}

func (f *fake) Repin() (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wiring = nil
	return 1, f.called("Repin")
}

func (f *fake) RefillPrograms() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wiring = nil
	return f.called("RefillPrograms")
}

var _ dataplane = (*fake)(nil)

// noLanes compares nothing.
type noLanes struct{}

func (noLanes) Compare(loader.Lane, loader.Comparison) error        { return nil }
func (noLanes) Stop(loader.Lane) error                              { return nil }
func (noLanes) Running(loader.Lane) (c loader.Comparison, is bool)  { return c, false }
func (noLanes) Counts(loader.Lane) (c loader.LaneCounts, err error) { return c, nil }
func (noLanes) SetBeside(uint8) error                               { return nil }
func (noLanes) Beside() uint8                                       { return bpf.SlotEmpty }
