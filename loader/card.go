// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/migrate"
	"github.com/spillway/spillway/loader/pins"
)

// Carded is a root program of Spillway that was found on a network card, and opened by the id that netlink names:
// interface, program, its maps, those words. It needs no pin, so it finds the switch where pins are hidden, moved or
// another's; it needs CAP_SYS_ADMIN.
type Carded struct {
	ID uint32
	// Layout is the ABI number of the dataplane behind it; 0 for none yet.
	Layout    uint64
	page      []byte
	bypass    *uint64
	heartbeat *uint64
	behind    []byte  // the words of its dataplane, nil where this build does not know them
	sight     *uint64 // in them
}

// NotOurs says that the program on a card is another's.
type NotOurs struct {
	ID   uint32
	Name string
}

func (e *NotOurs) Error() string {
	return fmt.Sprintf("program %q, id %d, is not Spillway's", e.Name, e.ID)
}

// wordsLayout is how the words of a root program are recognised: by name, size, and where there is one by a magic.
type wordsLayout struct {
	name              string
	size              uint32
	magic             bool
	bypass, heartbeat uintptr
}

// The layouts of the words, by build. The second is that of every build before the root was frozen (ABI 2): its words
// are those of its dataplane, and begin with the bypass.
var wordsLayouts = []wordsLayout{
	{name: bpf.RootMapRoot, size: uint32(unsafe.Sizeof(bpf.RootWords{})), magic: true,
		bypass: unsafe.Offsetof(bpf.RootWords{}.BypassUntilNs), heartbeat: unsafe.Offsetof(bpf.RootWords{}.HeartbeatNs)},
	{name: "words", size: migrate.WordsSize, bypass: migrate.WordsBypass, heartbeat: migrate.WordsHeartbeat},
}

// OpenCard opens the root program with this id. Errors: *NotOurs; ErrPermission without CAP_SYS_ADMIN; ErrForeignABI
// for a root program of Spillway whose words this build does not know.
func OpenCard(id uint32) (*Carded, error) {
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("open program %d by its id: %w: missing CAP_SYS_ADMIN", id, kernel.ErrPermission)
	}
	if err != nil {
		return nil, kernel.Explain(fmt.Sprintf("open program %d by its id", id), err)
	}
	defer func() { _ = p.Close() }()
	info, err := p.Info()
	if err != nil {
		return nil, kernel.Explain(fmt.Sprintf("look at program %d", id), err)
	}
	if info.Type != ebpf.XDP || info.Name != bpf.RootProgSpillwayRoot {
		return nil, &NotOurs{id, info.Name}
	}
	ids, err := kernel.MapIDs(p)
	if err != nil {
		return nil, err
	}
	for _, m := range ids {
		c, err := openCardWords(m)
		if err != nil || c != nil {
			if c != nil {
				c.ID = id
				c.look(ids)
			}
			return c, err
		}
	}
	return nil, fmt.Errorf("the root program %d: %w: none of its maps has words that this build knows", id,
		kernel.ErrForeignABI)
}

// look finds the dataplane behind the root program, by the root's maps.
func (c *Carded) look(ids []ebpf.MapID) {
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue
		}
		if m.Type() == ebpf.ProgramArray {
			c.behind, c.sight = sightBehind(m)
		}
		_ = m.Close()
	}
}

// openCardWords opens the words of a root program; nil when the map is another of its maps.
func openCardWords(id ebpf.MapID) (*Carded, error) {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return nil, kernel.Explain(fmt.Sprintf("open map %d by its id", id), err)
	}
	defer func() { _ = m.Close() }()
	info, err := m.Info()
	if err != nil {
		return nil, kernel.Explain(fmt.Sprintf("look at map %d", id), err)
	}
	for _, l := range wordsLayouts {
		if info.Type != ebpf.Array || info.Name != l.name || info.ValueSize != l.size || info.MaxEntries != 1 ||
			info.Flags&unix.BPF_F_MMAPABLE == 0 {
			continue
		}
		page, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return nil, kernel.Explain(fmt.Sprintf("map the words in map %d", id), err)
		}
		c := &Carded{Layout: pins.Layout2, page: page, bypass: word(page, l.bypass), heartbeat: word(page, l.heartbeat)}
		if l.magic {
			if magic := binary.NativeEndian.Uint64(page); magic != bpf.RootMagic {
				return nil, errors.Join(fmt.Errorf("the words in map %d: %w: the first is %#x", id, kernel.ErrForeignABI, magic),
					c.Close())
			}
			c.Layout = atomic.LoadUint64(word(page, unsafe.Offsetof(bpf.RootWords{}.Layout)))
		}
		return c, nil
	}
	return nil, nil
}

func word(page []byte, at uintptr) *uint64 { return (*uint64)(unsafe.Pointer(&page[at])) }

// Bypass returns the kill switch that packets on this card read.
func (c *Carded) Bypass() Deadline { return Deadline(atomic.LoadUint64(c.bypass)) }

// SetBypass lets everything pass on this card until the deadline; 0 ends it.
func (c *Carded) SetBypass(until Deadline) {
	if c.sight != nil {
		atomic.AddUint64(c.sight, 1)
		defer atomic.AddUint64(c.sight, 1)
	}
	atomic.StoreUint64(c.bypass, uint64(until))
}

// Heartbeat returns the age of the last beat of whoever runs it, negative when there never was one.
func (c *Carded) Heartbeat() time.Duration { return kernel.BeatAge(atomic.LoadUint64(c.heartbeat)) }

// Close lets the words go.
func (c *Carded) Close() error {
	if c.behind != nil {
		_ = unix.Munmap(c.behind)
		c.behind, c.sight = nil, nil
	}
	return unix.Munmap(c.page)
}

// PinnedRootID returns the id of the root program below a pin folder, of this build or of one before the root had a
// folder of its own; 0 when none is pinned there.
func PinnedRootID(folder string) (uint32, error) {
	for _, path := range []string{pins.Folder{Path: folder}.RootProgram(),
		migrate.RootlessProgram(pins.Folder{Path: folder})} {
		p, err := ebpf.LoadPinnedProgram(path, nil)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, kernel.Explain("open the pinned root program", err)
		}
		id, err := kernel.ProgramID(p)
		_ = p.Close()
		return id, err
	}
	return 0, nil
}
