// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/plane"
)

// fakeIndex is the index of eth0; eth1 has the next.
const fakeIndex = 2

func indexOf(name string) int {
	var n int
	_, _ = fmt.Sscanf(name, "eth%d", &n)
	return fakeIndex + n
}

// fakeRoot is the id of the root program.
const fakeRoot = 3

// machine is the kernel: it outlives agents, as pinned state does.
type machine struct {
	mu        sync.Mutex
	rows4     int    // of each generation
	adopts    string // the pin of the link that Attach finds under another name
	renamed   string // what the device of fakeIndex is called now
	owner     int    // the process that has locked the pins
	control   loader.Control
	slots     map[uint8]*loader.Image
	host      *loader.HostInfo
	hostSlots map[uint8]*config.Host
	published *config.Host      // what the host slot was built from
	links     map[string]string // state by name
	onCard    map[string]uint32 // the program that netlink names, where it is not the link's
	linkIDs   map[string]uint32
	lastLink  uint32
	bypass    map[uint8]loader.Deadline
	heartbeat time.Time
	tellAll   loader.Deadline
	lease     loader.Deadline
	tripped   uint32
	baked     uint32
	bans      map[netip.Prefix]time.Time
	banEpoch  uint64
	counters  []loader.Counter
	hits      map[uint8]map[uint16]uint64
	drift     []loader.Drift
	wiring    []loader.Drift
	before    *loader.Predecessor // decides until TakeOver
	events    chan bpf.Event
	now       func() time.Time

	unanswered map[int]bool // interfaces that no answer leaves

	calls  []string
	fail   map[string]error
	during map[string]func() // runs in the middle of a call
}

func newMachine(now func() time.Time) *machine {
	return &machine{slots: map[uint8]*loader.Image{}, hostSlots: map[uint8]*config.Host{}, links: map[string]string{}, linkIDs: map[string]uint32{}, bypass: map[uint8]loader.Deadline{},
		bans: map[netip.Prefix]time.Time{}, hits: map[uint8]map[uint16]uint64{}, events: make(chan bpf.Event, 10), now: now, fail: map[string]error{}}
}

// fake is one agent's handle of the machine.
type fake struct {
	*machine
	next *config.Host // the agent's host file: a HostImage cannot be looked into
}

func (m *machine) called(name string) error {
	m.calls = append(m.calls, name)
	return m.fail[name]
}

// did returns how often a call was made.
func (m *machine) did(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, c := range m.calls {
		if c == name {
			n++
		}
	}
	return n
}

// meanwhile runs what happens beside a call.
func (m *machine) meanwhile(name string) {
	if f := m.during[name]; f != nil {
		f()
	}
}

func (m *machine) change(name string, f func(loader.Control) (loader.Control, error)) (loader.Control, error) {
	m.meanwhile(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.called(name); err != nil {
		return m.control, err
	}
	next, err := f(m.control)
	if err == nil {
		m.control = next
	}
	return next, err
}

func (m *machine) Control() loader.Control {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.control
}

func (m *machine) Generations() ([]loader.GenerationInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.called("Generations"); err != nil {
		return nil, err
	}
	var all []loader.GenerationInfo
	for slot := uint8(1); slot < bpf.Slots; slot++ {
		if img := m.slots[slot]; img != nil {
			all = append(all, loader.GenerationInfo{Slot: slot, Role: m.control.Role(slot), Number: img.Number(), Digest: img.Digest(), Built: m.now(),
				Rows: config.Counts{"rules": 2, "prefixes_v4": m.rows4}, Blocking: img.Blocking(uint64(loader.Present()))})
		}
	}
	return all, nil
}

func (m *machine) Host() (*loader.HostInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.host, m.fail["Host"]
}

func (m *machine) Attachments() ([]loader.Attachment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail["Attachments"]; err != nil {
		return nil, err
	}
	var all []loader.Attachment
	for name, s := range m.links {
		all = append(all, loader.Attachment{Interface: name, Pin: name, Index: indexOf(name), Mode: "native", ProgramID: fakeRoot, LinkID: m.linkIDs[name], State: s, Here: s == loader.StateAttached})
	}
	return all, nil
}

func (m *machine) RootID() (uint32, error) { return fakeRoot, nil }

func (m *machine) Bypass() loader.Deadline { return m.ServiceBypass(0) }

func (m *machine) ServiceBypass(id uint8) loader.Deadline {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bypass[id]
}

func (m *machine) SetBypass(d loader.Deadline) { m.SetServiceBypass(0, d) }

func (m *machine) SetServiceBypass(id uint8, d loader.Deadline) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bypass[id] = d
}

func (m *machine) Heartbeat() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.heartbeat.IsZero() {
		return -1
	}
	return m.now().Sub(m.heartbeat)
}

func (m *machine) Beat() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heartbeat = m.now()
}

func (m *machine) Lease() loader.Deadline {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lease
}

func (m *machine) SetLease(d loader.Deadline) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lease = d
}

func (m *machine) Tripped() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tripped
}

func (m *machine) SetTripped(number uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tripped = number
}

func (m *machine) SetTellAll(d loader.Deadline) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tellAll = d
}

func (m *machine) Counters() ([]loader.Counter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.counters), m.called("Counters")
}

func (m *machine) EventLosses() (uint64, error) { return 11, nil }

func (m *machine) Conntrack() error { return nil }

func (m *machine) Unanswered() (map[int]bool, error) { return m.unanswered, nil }

func (m *machine) MapUse() ([]loader.MapUse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail["MapUse"]; err != nil {
		return nil, err
	}
	return []loader.MapUse{{Name: "bans", Entries: 1, Capacity: 1024, Bytes: 4096}, {Name: "flows", Entries: -1, Capacity: 262144, Bytes: 1 << 20}}, nil
}

func (m *machine) VerifyWiring() ([]loader.Drift, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.wiring), m.called("VerifyWiring")
}

func (f *fake) Close() error { return nil }

func (f *fake) Warnings() []string { return nil }

func (f *fake) Predecessor() *loader.Predecessor {
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
		return loader.Attachment{Interface: f.adopts, Pin: f.adopts, Index: indexOf(f.adopts), LinkID: f.linkIDs[f.adopts], State: loader.StateAttached}, nil
	}
	if f.links[name] != loader.StateAttached {
		f.lastLink++
		f.linkIDs[name], f.links[name] = f.lastLink, loader.StateAttached
	}
	return loader.Attachment{Interface: name, Pin: name, Index: indexOf(name), LinkID: f.linkIDs[name], Mode: string(mode), State: loader.StateAttached}, nil
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

func (f *fake) Build(img *loader.Image, beside ...uint8) (uint8, error) {
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

func (f *fake) BuildHost(*loader.HostImage) (uint8, error) {
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
	info := &loader.HostInfo{Number: 1, AgentTimeout: h.Guards.AgentTimeout.Duration()}
	if f.host != nil {
		info.Number = f.host.Number + 1
	}
	for i, s := range h.Services {
		info.Services = append(info.Services, loader.ServiceInfo{ID: uint8(i + 1), Name: s.Name, Kind: string(s.Kind), Tag: loader.TagOf(s.Name)})
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

func (f *fake) VerifyVouched() ([]loader.Drift, error) {
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

func (f *fake) VerifyGeneration(uint8, *loader.Image) ([]loader.Drift, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.drift), f.called("VerifyGeneration")
}

func (f *fake) SumGeneration(slot uint8) (loader.Sums, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sums := loader.Sums{}
	if img := f.slots[slot]; img != nil {
		sums = img.Sums()
	}
	if len(f.drift) > 0 {
		sums[bpf.DataplaneMapRules] = "other rows"
	}
	return sums, f.called("SumGeneration")
}

// VerifyHost compares host files: an image cannot be looked into.
func (f *fake) VerifyHost(*loader.HostImage) ([]loader.Drift, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.published == nil || !sameText(f.published, f.next) {
		return []loader.Drift{{Where: "host", Want: "this", Got: "that"}}, nil
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

var _ plane.Dataplane = (*fake)(nil)

// fakeNetwork is what netlink says: a device has the root program where the machine has a link.
type fakeNetwork struct {
	*machine
	devices *map[string]int // indexes by name, 0 for no such device; those not named have fakeIndex
}

func (n fakeNetwork) DeviceByName(name string) (loader.Device, error) {
	index := indexOf(name)
	if n.devices != nil {
		if i, ok := (*n.devices)[name]; ok {
			index = i
		}
	}
	if index == 0 {
		return loader.Device{}, fmt.Errorf("look at %s: %w", name, loader.ErrNoDevice)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	d := loader.Device{Name: name, Index: index}
	if id := n.onCard[name]; id != 0 {
		d.Programs = []loader.DeviceProgram{{ID: id, Mode: "native"}}
	} else if n.links[name] == loader.StateAttached && index == indexOf(name) {
		d.Programs = []loader.DeviceProgram{{ID: fakeRoot, Mode: "native"}}
	}
	return d, n.fail["Devices"]
}

// DeviceByIndex finds a device that was renamed: its name is that of its index.
func (n fakeNetwork) DeviceByIndex(index int) (loader.Device, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if index != fakeIndex || n.renamed == "" {
		return loader.Device{}, fmt.Errorf("look at the device with index %d: %w", index, loader.ErrNoDevice)
	}
	return loader.Device{Name: n.renamed, Index: index, Programs: []loader.DeviceProgram{{ID: fakeRoot, Mode: "native"}}}, nil
}
