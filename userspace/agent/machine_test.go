// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/migrate"
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
	noLanes
	mu        sync.Mutex
	rows4     int    // of each generation
	adopts    string // the pin of the link that Attach finds under another name
	renamed   string // what the device of fakeIndex is called now
	owner     int    // the process that has locked the pins
	control   loader.Control
	slots     map[uint8]*compile.Image
	host      *compile.HostInfo
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
	drift     []compile.Drift
	wiring    []compile.Drift
	before    *migrate.Predecessor // decides until TakeOver
	events    chan bpf.Event
	now       func() time.Time

	unanswered map[int]bool // interfaces that no answer leaves

	calls  []string
	fail   map[string]error
	during map[string]func() // runs in the middle of a call
}

func newMachine(now func() time.Time) *machine {
	return &machine{slots: map[uint8]*compile.Image{}, hostSlots: map[uint8]*config.Host{}, links: map[string]string{},
		linkIDs: map[string]uint32{}, bypass: map[uint8]loader.Deadline{},
		bans: map[netip.Prefix]time.Time{}, hits: map[uint8]map[uint16]uint64{}, events: make(chan bpf.Event, 10), now: now,
		fail: map[string]error{}}
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
			all = append(all,
				loader.GenerationInfo{Slot: slot, Role: m.control.Role(slot), Number: img.Number(),
					Digest: img.Digest(), Built: m.now(),
					Rows: config.Counts{"rules": 2, "prefixes_v4": m.rows4}, Blocking: img.Blocking(uint64(loader.Present()))})
		}
	}
	return all, nil
}

func (m *machine) Host() (*compile.HostInfo, error) {
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
		all = append(all,
			loader.Attachment{Interface: name, Pin: name, Index: indexOf(name), Mode: "native", ProgramID: fakeRoot,
				LinkID: m.linkIDs[name], State: s, Here: s == loader.StateAttached})
	}
	return all, nil
}

func (m *machine) Linked() ([]loader.Attachment, error) {
	all, err := m.Attachments()
	for i := range all {
		all[i].Mode, all[i].Here = "", false
	}
	slices.SortFunc(all, func(a, b loader.Attachment) int { return strings.Compare(a.Pin, b.Pin) })
	return all, err
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

func (m *machine) Tripped() loader.Trips {
	m.mu.Lock()
	defer m.mu.Unlock()
	return loader.Trips{Ended: m.tripped}
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

func (m *machine) LimitLosses() (loader.LimitLosses, error) {
	return loader.LimitLosses{Lost: 3, Evicted: 2}, nil
}

func (m *machine) Conntrack() error { return nil }

func (m *machine) Unanswered() (map[int]bool, error) { return m.unanswered, nil }

func (m *machine) MapUse() ([]loader.MapUse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail["MapUse"]; err != nil {
		return nil, err
	}
	return []loader.MapUse{{Name: "bans", Entries: 1, Capacity: 1024, Bytes: 4096},
		{Name: "flows", Entries: -1, Capacity: 262144, Bytes: 1 << 20}}, nil
}

func (m *machine) VerifyDeciding() ([]compile.Drift, error) {
	drifts, err := m.VerifyWiring()
	return slices.DeleteFunc(drifts, func(d compile.Drift) bool {
		return d.Where != compile.WherePrograms && d.Got != compile.GotEmptySlot
	}), err
}

func (m *machine) VerifyWiring() ([]compile.Drift, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.wiring), m.called("VerifyWiring")
}
