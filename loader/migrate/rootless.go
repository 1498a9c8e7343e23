// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// Layout 2, as commit 5b20cdb left it, the last one without a root of its own:
//
//	v2/root        the root program, which read v2/maps/words and v2/maps/programs
//	v2/links/…     one link an interface
//	v2/maps/…      all maps; inner maps had no pins
//
// What follows is frozen with it.

// rootlessWords is its struct runtime.
type rootlessWords struct {
	BypassUntilNs uint64
	Control       uint64
	LeaseNs       uint64
	HeartbeatNs   uint64
	Tripped       uint64
	BanEpoch      uint64
	Seed          [2]uint64
	TellUntilNs   uint64
	ServiceBypass [33]uint64
}

// Where the switch and the heartbeat of layout 2 lie, for whoever finds its words on a network card.
const (
	WordsSize      = uint32(unsafe.Sizeof(rootlessWords{}))
	WordsBypass    = unsafe.Offsetof(rootlessWords{}.BypassUntilNs)
	WordsHeartbeat = unsafe.Offsetof(rootlessWords{}.HeartbeatNs)
)

// Its control word had roles of 2 bits.
func (w *rootlessWords) control() (mode bpf.Mode, stable, previous, host uint8) {
	c := atomic.LoadUint64(&w.Control)
	return bpf.Mode(c & 3), uint8(c >> 2 & 3), uint8(c >> 6 & 3), uint8(c >> 8 & 3)
}

const (
	rootlessGeneration = 448 // bytes of struct generation: number at 0, digest at 8
	rootlessHost       = 1336
	rootlessService    = 40 // of each service, from byte 16 of struct host on: the name at 8
)

// Rootless is the pinned state of layout 2.
type Rootless struct {
	pins  pins.Folder
	words *ebpf.Map
	page  []byte
	at    *rootlessWords
	flow  *ebpf.Map
	ban   *ebpf.Map
}

func rootlessPins(p pins.Folder) pins.Folder { return pins.Folder{Path: p.Path, Of: pins.Layout2} }

// OpenRootlessWords maps the words alone: enough for a bypass.
func OpenRootlessWords(p pins.Folder) (*Rootless, error) {
	r := &Rootless{pins: rootlessPins(p)}
	var err error
	r.words, err = ebpf.LoadPinnedMap(r.pins.MapPath("words"), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", r.pins.Base(), kernel.ErrNotPinned)
	}
	if err != nil {
		return nil, kernel.Explain("open the words of layout 2", err)
	}
	if r.words.Type() != ebpf.Array || int(r.words.ValueSize()) != int(unsafe.Sizeof(rootlessWords{})) {
		return nil, errors.Join(&pins.ForeignError{Folder: p.Path, Layout: pins.Layout2}, r.Close())
	}
	if r.page, err = unix.Mmap(r.words.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED); err != nil {
		return nil, errors.Join(kernel.Explain("map the words of layout 2", err), r.Close())
	}
	r.at = (*rootlessWords)(unsafe.Pointer(&r.page[0]))
	return r, nil
}

func openRootless(p pins.Folder) (*Predecessor, error) {
	r, err := OpenRootlessWords(p)
	if err != nil {
		return nil, err
	}
	if r.ban, err = ebpf.LoadPinnedMap(r.pins.MapPath("bans"), nil); err != nil {
		return nil, errors.Join(kernel.Explain("open the bans of layout 2", err), r.Close())
	}
	if r.flow, err = ebpf.LoadPinnedMap(r.pins.MapPath("flows"), nil); err != nil {
		return nil, errors.Join(kernel.Explain("open the flows of layout 2", err), r.Close())
	}
	old := &Predecessor{Layout: pins.Layout2, Bypasses: map[string]uint64{}, Source: r}
	mode, stable, previous, host := r.at.control()
	old.Mode, old.Known = mode, true
	for _, role := range []struct {
		slot uint8
		to   **Resident
	}{{stable, &old.Stable}, {previous, &old.Previous}} {
		if role.slot == 0 {
			continue
		}
		if *role.to, err = r.generation(role.slot); err != nil {
			old.Known = false
		}
	}
	r.services(host, func(id int, name string) {
		old.Bypasses[name] = atomic.LoadUint64(&r.at.ServiceBypass[id])
	})
	if old.Links, err = RootlessLinks(p); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return old, nil
}

// inner reads the one entry of a slot's map. It opens it by its id, which wants CAP_SYS_ADMIN: without it, the agent's
// record has to say what is in force.
func (r *Rootless) inner(name string, slot uint8, size int) ([]byte, error) {
	outer, err := ebpf.LoadPinnedMap(r.pins.MapPath(name), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = outer.Close() }()
	var m *ebpf.Map
	if err := outer.Lookup(uint32(slot), &m); err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }()
	value, err := m.LookupBytes(uint32(0))
	if err == nil && len(value) != size {
		err = fmt.Errorf("%s of layout 2: %d bytes: %w", name, len(value), kernel.ErrForeignABI)
	}
	return value, err
}

func (r *Rootless) generation(slot uint8) (*Resident, error) {
	value, err := r.inner("generations", slot, rootlessGeneration)
	if err != nil {
		return nil, err
	}
	return &Resident{Number: binary.NativeEndian.Uint32(value), Digest: [32]byte(value[8:40])}, nil
}

func (r *Rootless) services(slot uint8, visit func(id int, name string)) {
	value, err := r.inner("hosts", slot, rootlessHost)
	if err != nil {
		return
	}
	for id := range len(r.at.ServiceBypass) {
		name, _, _ := bytes.Cut(value[16+rootlessService*id+8:][:32], []byte{0})
		if len(name) > 0 {
			visit(id, string(name))
		}
	}
}

func (r *Rootless) Seed() [2]uint64 { return r.at.Seed }

func (r *Rootless) Bans() (map[bpf.Prefix6Key]bpf.Ban, error) {
	if atomic.LoadUint64(&r.at.BanEpoch) == 0 {
		return nil, nil
	}
	all := map[bpf.Prefix6Key]bpf.Ban{}
	err := kernel.EachRow(r.ban, func(k bpf.Prefix6Key, b bpf.Ban) { all[k] = b })
	return all, kernel.Explain("read the bans of layout 2", err)
}

// Vouched: layout 2 had none.
func (r *Rootless) Vouched() (map[bpf.VouchedKey]uint64, error) { return nil, nil }

func (r *Rootless) Flows(visit func(bpf.FlowKey, bpf.Flow)) error { return eachFlow112(r.flow, visit) }

// Bypass is the word that lets everything pass.
func (r *Rootless) Bypass() *uint64 { return &r.at.BypassUntilNs }

// Heartbeat is the word of whoever runs it.
func (r *Rootless) Heartbeat() *uint64 { return &r.at.HeartbeatNs }

// Program is the pin of its program on the interfaces.
func (r *Rootless) Program() string { return RootlessProgram(r.pins) }

// Close leaves the words mapped: the heartbeat's thread may be about to store.
func (r *Rootless) Close() error {
	var errs []error
	for _, m := range []*ebpf.Map{r.words, r.flow, r.ban} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	r.words, r.flow, r.ban = nil, nil, nil
	return errors.Join(errs...)
}

// Unmap lets them go, when nobody stores any more.
func (r *Rootless) Unmap() error {
	if r == nil || r.page == nil {
		return nil
	}
	page := r.page
	r.page = nil
	return unix.Munmap(page)
}

// TakeLinks puts the root program on the links of layout 2 and moves their pins to where they stay. Each is moved
// before it is changed: a start that was killed in between finds it there, with another program, and changes it
// (package root, updateLinks). This is the one change of a link that an upgrade ever makes.
func TakeLinks(p pins.Folder, root *ebpf.Program) error {
	names, err := RootlessLinks(p)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, kernel.Explain("take the link of "+name+" over", takeLink(p, root, name)))
	}
	return errors.Join(errs...)
}

func takeLink(p pins.Folder, root *ebpf.Program, name string) error {
	l, err := link.LoadPinnedLink(RootlessLink(p, name), nil)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if err := l.Pin(p.Link(name)); err != nil { // of what is pinned already this is one rename
		return err
	}
	if err := l.Update(root); err != nil && !errors.Is(err, unix.ENOLINK) {
		return err
	}
	return nil
}

// RootlessLinks lists the interfaces whose link is still pinned where layout 2 had them.
func RootlessLinks(p pins.Folder) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(rootlessPins(p).Base(), "links"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, kernel.Explain("list the links of layout 2", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// RootlessProgram is the pin of the root program of layout 2.
func RootlessProgram(p pins.Folder) string { return filepath.Join(rootlessPins(p).Base(), "root") }

// RootlessLink is the pin of the link of an interface of layout 2.
func RootlessLink(p pins.Folder, name string) string {
	return filepath.Join(rootlessPins(p).Base(), "links", name)
}
