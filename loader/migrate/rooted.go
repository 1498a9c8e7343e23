// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// The layouts that had a root, and pins as this build has them, below their number; other words, and hosts or flows.
// What follows is frozen with them.
const (
	rootedService = 40 // bytes of each service of struct host: the name at 8
)

// shape is what one of these layouts has of its own.
type shape struct {
	number     uint64
	words      uint32 // bytes of struct runtime
	generation int    // bytes of struct generation: number at 0, digest at 8
	host       int    // bytes of struct host
	services   int    // where its services begin
	flows      func(*ebpf.Map, func(bpf.FlowKey, bpf.Flow)) error
}

// Layout 3, as commit d07d65f left it, layout 4, as commit e2797a6 did, layout 5, as commit 284110b did, layout 6, as
// commit f9b1a13 did, and layout 7, as commit f8f506f did.
var shapes = map[uint64]shape{
	pins.Layout3: {pins.Layout3, 328, 448, 1336, 16, eachFlow112},
	pins.Layout4: {pins.Layout4, 344, 448, 1344, 24, eachFlow120},
	pins.Layout5: {pins.Layout5, 416, 448, 1344, 24, eachFlow120},
	pins.Layout6: {pins.Layout6, 416, 448, 1352, 32, eachFlow120},
	pins.Layout7: {pins.Layout7, 424, 2272, 1352, 32, eachFlow120},
}

// rootedWords is struct runtime of layout 3, and how those of layouts 4 to 7 begin.
type rootedWords struct {
	Control        uint64
	LeaseNs        uint64
	Tripped        uint64
	BanEpoch       uint64
	Seed           [2]uint64
	TellUntilNs    uint64
	ServiceBypass  [33]uint64
	VouchedUntilNs uint64
}

// flow112 is struct flow of layouts 2 and 3.
type flow112 struct {
	ExpiresNs   uint64
	Epoch       uint32
	ISN         uint32
	BanEpoch    uint32
	Generation  uint32
	Verdict     uint8
	Reason      uint8
	Slot        uint8
	Flags       uint8
	Rule        uint16
	Score       uint8
	Hint        uint8
	Fingerprint bpf.TCPFingerprint
	Facts       bpf.TCPFacts
	HelloEnd    uint32
	TLS         bpf.TLSFingerprint
}

// flow is what this build makes of it. Whether its beginning was seen whole nobody can say any more: its sight is none.
func (f *flow112) flow() bpf.Flow {
	return bpf.Flow{ExpiresNs: f.ExpiresNs, Epoch: f.Epoch, Isn: f.ISN, BanEpoch: f.BanEpoch, Generation: f.Generation,
		Verdict: f.Verdict, Reason: f.Reason, Slot: f.Slot, Flags: f.Flags,
		Rule: f.Rule, Score: f.Score, Hint: f.Hint, Fingerprint: f.Fingerprint, Facts: f.Facts,
		HelloEnd: f.HelloEnd, Tls: f.TLS}
}

// flow120 is struct flow of layouts 4 to 7.
type flow120 struct {
	flow112
	Sight uint32
	Held  uint32
}

func (f *flow120) flow() bpf.Flow {
	now := f.flow112.flow()
	now.Sight, now.Held = f.Sight, f.Held
	return now
}

// flowKey36 is the key of their flows.
type flowKey36 struct {
	Saddr, Daddr [4]uint32
	Sport, Dport uint16
}

func (k *flowKey36) key() bpf.FlowKey {
	return bpf.FlowKey{Saddr: k.Saddr, Daddr: k.Daddr, Sport: k.Sport, Dport: k.Dport}
}

// eachFlow visits the connections of a map of layouts 2 to 7, whose values are of type F.
func eachFlow[F any](m *ebpf.Map, now func(*F) bpf.Flow, visit func(bpf.FlowKey, bpf.Flow)) error {
	var key flowKey36
	var flow F
	if uintptr(m.KeySize()) != unsafe.Sizeof(key) || uintptr(m.ValueSize()) != unsafe.Sizeof(flow) {
		return fmt.Errorf("flows of %d and %d bytes: %w", m.KeySize(), m.ValueSize(), kernel.ErrForeignABI)
	}
	return kernel.EachRow(m, func(k flowKey36, f F) { visit(k.key(), now(&f)) })
}

// eachFlow112 visits the connections of a map of layout 2 or 3.
func eachFlow112(m *ebpf.Map, visit func(bpf.FlowKey, bpf.Flow)) error {
	return eachFlow(m, (*flow112).flow, visit)
}

// eachFlow120 visits those of a map of layouts 4 to 7.
func eachFlow120(m *ebpf.Map, visit func(bpf.FlowKey, bpf.Flow)) error {
	return eachFlow(m, (*flow120).flow, visit)
}

// rooted is the pinned state of such a layout.
type rooted struct {
	shape
	pins pins.Folder
	maps map[string]*ebpf.Map
	page []byte
	at   *rootedWords
}

// name is how people call it.
func (l *rooted) name() string { return fmt.Sprintf("layout %d", l.number) }

func openRooted(p pins.Folder, of shape) (*Predecessor, error) {
	l := &rooted{shape: of, pins: pins.Folder{Path: p.Path, Of: of.number}, maps: map[string]*ebpf.Map{}}
	for _, name := range []string{bpf.DataplaneMapWords, bpf.DataplaneMapBans, bpf.DataplaneMapVouched,
		bpf.DataplaneMapFlows} {
		m, err := ebpf.LoadPinnedMap(l.pins.MapPath(name), nil)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(fmt.Errorf("%s: %w", l.pins.MapPath(name), kernel.ErrNotPinned), l.Close())
		}
		if err != nil {
			return nil, errors.Join(kernel.Explain("open the "+name+" of "+l.name(), err), l.Close())
		}
		l.maps[name] = m
	}
	words := l.maps[bpf.DataplaneMapWords]
	if words.Type() != ebpf.Array || words.ValueSize() != l.words {
		return nil, errors.Join(&pins.ForeignError{Folder: p.Path, Layout: l.number}, l.Close())
	}
	var err error
	if l.page, err = unix.Mmap(words.FD(), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return nil, errors.Join(kernel.Explain("map the words of "+l.name(), err), l.Close())
	}
	l.at = (*rootedWords)(unsafe.Pointer(&l.page[0]))
	return l.predecessor(), nil
}

// control reads its control word: a mode of 2 bits, then roles of 4.
func (w *rootedWords) control() (mode bpf.Mode, stable, previous, host uint8) {
	c := atomic.LoadUint64(&w.Control)
	return bpf.Mode(c & 3), uint8(c >> 2 & 15), uint8(c >> 10 & 15), uint8(c >> 14 & 15)
}

// predecessor reads what is in force.
func (l *rooted) predecessor() *Predecessor {
	mode, stable, previous, hosts := l.at.control()
	old := &Predecessor{Layout: l.number, Mode: mode, Known: true, Bypasses: map[string]uint64{}, Source: l}
	for _, role := range []struct {
		slot uint8
		to   **Resident
	}{{stable, &old.Stable}, {previous, &old.Previous}} {
		if role.slot == bpf.SlotEmpty {
			continue
		}
		var err error
		if *role.to, err = l.generation(role.slot); err != nil {
			old.Known = false
		}
	}
	host, err := l.inner("hosts", hosts, l.host)
	if err != nil {
		return old
	}
	for id := range len(l.at.ServiceBypass) {
		name, _, _ := bytes.Cut(host[l.services+rootedService*id+8:][:32], []byte{0})
		if len(name) > 0 {
			old.Bypasses[string(name)] = atomic.LoadUint64(&l.at.ServiceBypass[id])
		}
	}
	return old
}

// inner reads the one entry of a slot's map.
func (l *rooted) inner(name string, slot uint8, size int) ([]byte, error) {
	m, err := ebpf.LoadPinnedMap(l.pins.SlotMap(slot, name), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }()
	value, err := m.LookupBytes(uint32(0))
	if err == nil && len(value) != size {
		err = fmt.Errorf("%s of %s: %d bytes: %w", name, l.name(), len(value), kernel.ErrForeignABI)
	}
	return value, err
}

func (l *rooted) generation(slot uint8) (*Resident, error) {
	value, err := l.inner(bpf.DataplaneMapGenerations, slot, l.shape.generation)
	if err != nil {
		return nil, err
	}
	return &Resident{Number: binary.NativeEndian.Uint32(value), Digest: [32]byte(value[8:40])}, nil
}

func (l *rooted) Seed() [2]uint64 { return l.at.Seed }

func (l *rooted) Bans() (map[bpf.Prefix6Key]bpf.Ban, error) {
	if atomic.LoadUint64(&l.at.BanEpoch) == 0 {
		return nil, nil
	}
	all := map[bpf.Prefix6Key]bpf.Ban{}
	err := kernel.EachRow(l.maps[bpf.DataplaneMapBans], func(k bpf.Prefix6Key, b bpf.Ban) { all[k] = b })
	return all, kernel.Explain("read the bans of "+l.name(), err)
}

func (l *rooted) Vouched() (map[bpf.VouchedKey]uint64, error) {
	all := map[bpf.VouchedKey]uint64{}
	err := kernel.EachRow(l.maps[bpf.DataplaneMapVouched], func(k bpf.VouchedKey, end uint64) { all[k] = end })
	return all, kernel.Explain("read the vouched sources of "+l.name(), err)
}

func (l *rooted) Flows(visit func(bpf.FlowKey, bpf.Flow)) error {
	return l.flows(l.maps[bpf.DataplaneMapFlows], visit)
}

func (l *rooted) Close() error {
	var errs []error
	if l.page != nil {
		errs = append(errs, unix.Munmap(l.page))
		l.page, l.at = nil, nil
	}
	for _, m := range l.maps {
		errs = append(errs, m.Close())
	}
	l.maps = nil
	return errors.Join(errs...)
}
