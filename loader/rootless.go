// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
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

// Its control word had roles of 2 bits.
func (w *rootlessWords) control() (mode bpf.Mode, stable, previous, host uint8) {
	c := atomic.LoadUint64(&w.Control)
	return bpf.Mode(c & 3), uint8(c >> 2 & 3), uint8(c >> 6 & 3), uint8(c >> 8 & 3)
}

const (
	rootlessGeneration = 448 // bytes of struct generation: number at 0, digest at 8, when it was built at 48
	rootlessHost       = 1336
	rootlessService    = 40 // of each service, from byte 16 of struct host on: the name at 8
)

// rootless is the pinned state of layout 2.
type rootless struct {
	pins  pins
	words *ebpf.Map
	page  []byte
	at    *rootlessWords
	flow  *ebpf.Map
	ban   *ebpf.Map
}

func (p pins) rootlessPins() pins { return pins{p.folder, layoutRootless} }

// openRootlessWords maps the words alone: enough for a bypass.
func (p pins) openRootlessWords() (*rootless, error) {
	r := &rootless{pins: p.rootlessPins()}
	var err error
	r.words, err = ebpf.LoadPinnedMap(r.pins.mapPath("words"), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", r.pins.base(), ErrNotPinned)
	}
	if err != nil {
		return nil, explain("open the words of layout 2", err)
	}
	if r.words.Type() != ebpf.Array || int(r.words.ValueSize()) != int(unsafe.Sizeof(rootlessWords{})) {
		return nil, errors.Join(&ForeignError{Folder: p.folder, Layout: layoutRootless}, r.close())
	}
	if r.page, err = unix.Mmap(r.words.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED); err != nil {
		return nil, errors.Join(explain("map the words of layout 2", err), r.close())
	}
	r.at = (*rootlessWords)(unsafe.Pointer(&r.page[0]))
	return r, nil
}

func (p pins) openRootless() (*Predecessor, error) {
	r, err := p.openRootlessWords()
	if err != nil {
		return nil, err
	}
	if r.ban, err = ebpf.LoadPinnedMap(r.pins.mapPath("bans"), nil); err != nil {
		return nil, errors.Join(explain("open the bans of layout 2", err), r.close())
	}
	if r.flow, err = ebpf.LoadPinnedMap(r.pins.mapPath("flows"), nil); err != nil {
		return nil, errors.Join(explain("open the flows of layout 2", err), r.close())
	}
	old := &Predecessor{Layout: layoutRootless, bypasses: map[string]Deadline{}, source: r}
	mode, stable, previous, host := r.at.control()
	old.Mode, old.Known = mode, true
	for _, role := range []struct {
		slot uint8
		to   **GenerationInfo
	}{{stable, &old.Stable}, {previous, &old.Previous}} {
		if role.slot == 0 {
			continue
		}
		if *role.to, err = r.generation(role.slot); err != nil {
			old.Known = false
		}
	}
	r.services(host, func(id int, name string) {
		if until := Deadline(atomic.LoadUint64(&r.at.ServiceBypass[id])); until.Active() {
			old.bypasses[name] = until
		}
	})
	if old.Links, err = p.rootlessLinks(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return old, nil
}

// inner reads the one entry of a slot's map. It opens it by its id, which wants CAP_SYS_ADMIN: without it, the agent's
// record has to say what is in force.
func (r *rootless) inner(name string, slot uint8, size int) ([]byte, error) {
	outer, err := ebpf.LoadPinnedMap(r.pins.mapPath(name), nil)
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
		err = fmt.Errorf("%s of layout 2: %d bytes: %w", name, len(value), ErrForeignABI)
	}
	return value, err
}

func (r *rootless) generation(slot uint8) (*GenerationInfo, error) {
	value, err := r.inner("generations", slot, rootlessGeneration)
	if err != nil {
		return nil, err
	}
	g := &GenerationInfo{Slot: slot, Number: binary.NativeEndian.Uint32(value), Digest: [32]byte(value[8:40]),
		Built: time.Unix(0, int64(binary.NativeEndian.Uint64(value[48:])))}
	return g, nil
}

func (r *rootless) services(slot uint8, visit func(id int, name string)) {
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

func (r *rootless) seed() [2]uint64 { return r.at.Seed }

func (r *rootless) bans() (map[bpf.Prefix6Key]bpf.Ban, error) {
	if atomic.LoadUint64(&r.at.BanEpoch) == 0 {
		return nil, nil
	}
	all := map[bpf.Prefix6Key]bpf.Ban{}
	err := eachRow(r.ban, func(k bpf.Prefix6Key, b bpf.Ban) { all[k] = b })
	return all, explain("read the bans of layout 2", err)
}

// vouched: layout 2 had none.
func (r *rootless) vouched() (map[bpf.VouchedKey]uint64, error) { return nil, nil }

func (r *rootless) flows(visit func(bpf.FlowKey, bpf.Flow)) error { return eachFlow112(r.flow, visit) }

// close leaves the words mapped: the heartbeat's thread may be about to store.
func (r *rootless) close() error {
	var errs []error
	for _, m := range []*ebpf.Map{r.words, r.flow, r.ban} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	r.words, r.flow, r.ban = nil, nil, nil
	return errors.Join(errs...)
}

func (r *rootless) unmap() error {
	if r == nil || r.page == nil {
		return nil
	}
	page := r.page
	r.page = nil
	return unix.Munmap(page)
}

// takeLinks puts the root program on the links of layout 2 and moves their pins to where they stay. Each is moved
// before it is changed: a start that was killed in between finds it there, with another program, and changes it
// (updateLinks). This is the one change of a link that an upgrade ever makes.
func (d *Dataplane) takeLinks() error {
	names, err := d.pins.rootlessLinks()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, explain("take the link of "+name+" over", d.takeLink(name)))
	}
	return errors.Join(errs...)
}

func (d *Dataplane) takeLink(name string) error {
	l, err := link.LoadPinnedLink(d.pins.rootlessLink(name), nil)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if err := l.Pin(d.pins.link(name)); err != nil { // of what is pinned already this is one rename
		return err
	}
	if err := l.Update(d.program); err != nil && !errors.Is(err, unix.ENOLINK) {
		return err
	}
	return nil
}

// rootlessLinks lists the interfaces whose link is still pinned where layout 2 had them.
func (p pins) rootlessLinks() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(p.rootlessPins().base(), "links"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, explain("list the links of layout 2", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (p pins) rootlessProgram() string { return filepath.Join(p.rootlessPins().base(), "root") }

func (p pins) rootlessLink(name string) string {
	return filepath.Join(p.rootlessPins().base(), "links", name)
}
