// SPDX-License-Identifier: Apache-2.0

package pins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
)

// Folder is the folder below bpffs that keeps everything alive without a process:
//
//	<folder>/root/program              the root program
//	<folder>/root/words, next          its words, and the entry that says which dataplane is in force
//	<folder>/root/links/…              one link an interface
//	<folder>/taste/<id>/…              what a child built that nobody took into a slot yet
//	<folder>/conntrack/…               what asks connection tracking, see conntrack.go
//	<folder>/v5/maps/…                 the maps of the dataplane of ABI 5
//	<folder>/v5/slots/<slot>/<map>     what lies in a slot of a map of maps
//	<folder>/v5/programs/<id>/…        dataplane, payload, what compares, and the PROG_ARRAY between them, of one load
//
// root is read by every build, a v folder by the builds of its number alone.
type Folder struct {
	Path string
	Of   uint64 // whose v folder is meant; 0: this build's
}

// The names below a pair's folder.
const (
	PinFront     = "front"
	PinDataplane = "dataplane"
	PinPayload   = "payload"
	PinComparing = "comparing"
	PinArray     = "array"
	PinNext      = "conntrack_next" // of the program that asks connection tracking
)

func (p Folder) Maps() string               { return filepath.Join(p.Base(), "maps") }
func (p Folder) MapPath(name string) string { return filepath.Join(p.Maps(), name) }
func (p Folder) Pairs() string              { return filepath.Join(p.Base(), "programs") }
func (p Folder) Pair(id uint32) string {
	return filepath.Join(p.Pairs(), strconv.FormatUint(uint64(id), 10))
}
func (p Folder) Conntrack() string       { return filepath.Join(p.Path, "conntrack") }
func (p Folder) Tastes() string          { return filepath.Join(p.Path, "taste") }
func (p Folder) Egress() string          { return filepath.Join(p.Base(), "egress") }
func (p Folder) RootFolder() string      { return filepath.Join(p.Path, "root") }
func (p Folder) RootProgram() string     { return filepath.Join(p.RootFolder(), "program") }
func (p Folder) RootWords() string       { return filepath.Join(p.RootFolder(), "words") }
func (p Folder) RootNext() string        { return filepath.Join(p.RootFolder(), "next") }
func (p Folder) Links() string           { return filepath.Join(p.RootFolder(), "links") }
func (p Folder) Link(name string) string { return filepath.Join(p.Links(), name) }

func (p Folder) Slot(slot uint8) string {
	return filepath.Join(p.Base(), "slots", strconv.Itoa(int(slot)))
}

func (p Folder) SlotMap(slot uint8, name string) string { return filepath.Join(p.Slot(slot), name) }

// Prepare makes the folders, and refuses a place that is not on bpffs.
func (p Folder) Prepare() error {
	if p.Path == "" {
		return nil
	}
	if err := checkBPFFS(p.Path); err != nil {
		return err
	}
	return MakeFolders(p.Links())
}

func MakeFolders(all ...string) error {
	for _, folder := range all {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return kernel.Explain("make the pin folder", err)
		}
	}
	return nil
}

// Check refuses what Adopt cannot use.
func (p Folder) Check() error {
	for _, path := range []string{p.RootWords(), p.MapPath(bpf.DataplaneMapWords)} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, kernel.ErrNotPinned)
		} else if err != nil {
			return kernel.Explain("look for pinned state", err)
		}
	}
	return nil
}

func (p Folder) OpenMap(name string) (*ebpf.Map, error) {
	if p.Path == "" {
		return nil, nil
	}
	m, err := ebpf.LoadPinnedMap(p.MapPath(name), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, kernel.Explain("open pinned map "+name, err)
	}
	return m, nil
}

func (p Folder) ExplainMissing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("map %s: %w: an earlier start did not finish; start the agent, or run `spillway detach`", name,
			kernel.ErrNotPinned)
	}
	return kernel.Explain("open pinned map "+name, err)
}

// checkBPFFS refuses a folder that is not below a BPF file system: pins there would fail one by one.
func checkBPFFS(folder string) error {
	at := folder
	for {
		var st unix.Statfs_t
		err := unix.Statfs(at, &st)
		if err == nil {
			if st.Type != unix.BPF_FS_MAGIC {
				return fmt.Errorf("%s is not on a BPF file system: %w: mount one with %s", folder, kernel.ErrUnsupported,
					mountCommand)
			}
			return nil
		}
		parent := filepath.Dir(at)
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			return unprepared(folder)
		}
		if !errors.Is(err, fs.ErrNotExist) || parent == at {
			return kernel.Explain("look at "+at, err)
		}
		at = parent
	}
}

// Remove takes a pin away, if it is there.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return kernel.Explain("remove the pin "+path, err)
	}
	return nil
}
