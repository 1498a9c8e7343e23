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

// Layout 3, as commit d07d65f left it: pins as this build has them, below v3; other words, hosts and flows. What
// follows is frozen with it.
const (
	layout3Generation = 448 // bytes of struct generation: number at 0, digest at 8
	layout3Host       = 1336
	layout3Service    = 40 // of each service, from byte 16 of struct host on: the name at 8
)

// layout3Words is its struct runtime.
type layout3Words struct {
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

// eachFlow112 visits the connections of a map of layout 2 or 3.
func eachFlow112(m *ebpf.Map, visit func(bpf.FlowKey, bpf.Flow)) error {
	if m.ValueSize() != uint32(unsafe.Sizeof(flow112{})) {
		return fmt.Errorf("flows of %d bytes: %w", m.ValueSize(), kernel.ErrForeignABI)
	}
	return kernel.EachRow(m, func(key bpf.FlowKey, f flow112) { visit(key, f.flow()) })
}

// layout3 is the pinned state of layout 3.
type layout3 struct {
	pins pins.Folder
	maps map[string]*ebpf.Map
	page []byte
	at   *layout3Words
}

func openLayout3(p pins.Folder) (*Predecessor, error) {
	l := &layout3{pins: pins.Folder{Path: p.Path, Of: pins.Layout3}, maps: map[string]*ebpf.Map{}}
	for _, name := range []string{bpf.DataplaneMapWords, bpf.DataplaneMapBans, bpf.DataplaneMapVouched,
		bpf.DataplaneMapFlows} {
		m, err := ebpf.LoadPinnedMap(l.pins.MapPath(name), nil)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(fmt.Errorf("%s: %w", l.pins.MapPath(name), kernel.ErrNotPinned), l.Close())
		}
		if err != nil {
			return nil, errors.Join(kernel.Explain("open the "+name+" of layout 3", err), l.Close())
		}
		l.maps[name] = m
	}
	words := l.maps[bpf.DataplaneMapWords]
	if words.Type() != ebpf.Array || int(words.ValueSize()) != int(unsafe.Sizeof(layout3Words{})) {
		return nil, errors.Join(&pins.ForeignError{Folder: p.Path, Layout: pins.Layout3}, l.Close())
	}
	var err error
	if l.page, err = unix.Mmap(words.FD(), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return nil, errors.Join(kernel.Explain("map the words of layout 3", err), l.Close())
	}
	l.at = (*layout3Words)(unsafe.Pointer(&l.page[0]))
	return l.predecessor(), nil
}

// control reads its control word: a mode of 2 bits, then roles of 4.
func (w *layout3Words) control() (mode bpf.Mode, stable, previous, host uint8) {
	c := atomic.LoadUint64(&w.Control)
	return bpf.Mode(c & 3), uint8(c >> 2 & 15), uint8(c >> 10 & 15), uint8(c >> 14 & 15)
}

// predecessor reads what is in force.
func (l *layout3) predecessor() *Predecessor {
	mode, stable, previous, hosts := l.at.control()
	old := &Predecessor{Layout: pins.Layout3, Mode: mode, Known: true, Bypasses: map[string]uint64{}, Source: l}
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
	host, err := l.inner("hosts", hosts, layout3Host)
	if err != nil {
		return old
	}
	for id := range len(l.at.ServiceBypass) {
		name, _, _ := bytes.Cut(host[16+layout3Service*id+8:][:32], []byte{0})
		if len(name) > 0 {
			old.Bypasses[string(name)] = atomic.LoadUint64(&l.at.ServiceBypass[id])
		}
	}
	return old
}

// inner reads the one entry of a slot's map.
func (l *layout3) inner(name string, slot uint8, size int) ([]byte, error) {
	m, err := ebpf.LoadPinnedMap(l.pins.SlotMap(slot, name), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }()
	value, err := m.LookupBytes(uint32(0))
	if err == nil && len(value) != size {
		err = fmt.Errorf("%s of layout 3: %d bytes: %w", name, len(value), kernel.ErrForeignABI)
	}
	return value, err
}

func (l *layout3) generation(slot uint8) (*Resident, error) {
	value, err := l.inner(bpf.DataplaneMapGenerations, slot, layout3Generation)
	if err != nil {
		return nil, err
	}
	return &Resident{Number: binary.NativeEndian.Uint32(value), Digest: [32]byte(value[8:40])}, nil
}

func (l *layout3) Seed() [2]uint64 { return l.at.Seed }

func (l *layout3) Bans() (map[bpf.Prefix6Key]bpf.Ban, error) {
	if atomic.LoadUint64(&l.at.BanEpoch) == 0 {
		return nil, nil
	}
	all := map[bpf.Prefix6Key]bpf.Ban{}
	err := kernel.EachRow(l.maps[bpf.DataplaneMapBans], func(k bpf.Prefix6Key, b bpf.Ban) { all[k] = b })
	return all, kernel.Explain("read the bans of layout 3", err)
}

func (l *layout3) Vouched() (map[bpf.VouchedKey]uint64, error) {
	all := map[bpf.VouchedKey]uint64{}
	err := kernel.EachRow(l.maps[bpf.DataplaneMapVouched], func(k bpf.VouchedKey, end uint64) { all[k] = end })
	return all, kernel.Explain("read the vouched sources of layout 3", err)
}

func (l *layout3) Flows(visit func(bpf.FlowKey, bpf.Flow)) error {
	return eachFlow112(l.maps[bpf.DataplaneMapFlows], visit)
}

func (l *layout3) Close() error {
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
