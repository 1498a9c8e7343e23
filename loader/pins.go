// SPDX-License-Identifier: Apache-2.0

package loader

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
)

// pins is the folder below bpffs that keeps everything alive without a process:
//
//	<folder>/root/program              the root program
//	<folder>/root/words, next          its words, and the entry that says which dataplane is in force
//	<folder>/root/links/…              one link an interface
//	<folder>/conntrack/…               what asks connection tracking, see conntrack.go
//	<folder>/v4/maps/…                 the maps of the dataplane of ABI 4
//	<folder>/v4/slots/<slot>/<map>     what lies in a slot of a map of maps
//	<folder>/v4/programs/<id>/…        dataplane, payload, and the PROG_ARRAY between them, of one load
//
// root is read by every build, a v folder by the builds of its number alone.
type pins struct {
	folder string
	of     uint64 // whose v folder is meant; 0: this build's
}

// The names below a pair's folder.
const (
	pinDataplane = "dataplane"
	pinPayload   = "payload"
	pinArray     = "array"
	pinNext      = "conntrack_next" // of the program that asks connection tracking
)

func (p pins) maps() string               { return filepath.Join(p.base(), "maps") }
func (p pins) mapPath(name string) string { return filepath.Join(p.maps(), name) }
func (p pins) pairs() string              { return filepath.Join(p.base(), "programs") }
func (p pins) pair(id uint32) string {
	return filepath.Join(p.pairs(), strconv.FormatUint(uint64(id), 10))
}
func (p pins) egress() string          { return filepath.Join(p.base(), "egress") }
func (p pins) rootFolder() string      { return filepath.Join(p.folder, "root") }
func (p pins) rootProgram() string     { return filepath.Join(p.rootFolder(), "program") }
func (p pins) rootWords() string       { return filepath.Join(p.rootFolder(), "words") }
func (p pins) rootNext() string        { return filepath.Join(p.rootFolder(), "next") }
func (p pins) links() string           { return filepath.Join(p.rootFolder(), "links") }
func (p pins) link(name string) string { return filepath.Join(p.links(), name) }

func (p pins) slot(slot uint8) string {
	return filepath.Join(p.base(), "slots", strconv.Itoa(int(slot)))
}

func (p pins) slotMap(slot uint8, name string) string { return filepath.Join(p.slot(slot), name) }

// prepare makes the folders, and refuses a place that is not on bpffs.
func (p pins) prepare() error {
	if p.folder == "" {
		return nil
	}
	if err := checkBPFFS(p.folder); err != nil {
		return err
	}
	return makeFolders(p.links())
}

func makeFolders(all ...string) error {
	for _, folder := range all {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return explain("make the pin folder", err)
		}
	}
	return nil
}

// check refuses what Adopt cannot use.
func (p pins) check() error {
	for _, path := range []string{p.rootWords(), p.mapPath(bpf.DataplaneMapWords)} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, ErrNotPinned)
		} else if err != nil {
			return explain("look for pinned state", err)
		}
	}
	return nil
}

func (p pins) openMap(name string) (*ebpf.Map, error) {
	if p.folder == "" {
		return nil, nil
	}
	m, err := ebpf.LoadPinnedMap(p.mapPath(name), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, explain("open pinned map "+name, err)
	}
	return m, nil
}

func (p pins) explainMissing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("map %s: %w: an earlier start did not finish; start the agent, or run `spillway detach`", name,
			ErrNotPinned)
	}
	return explain("open pinned map "+name, err)
}

// checkBPFFS refuses a folder that is not below a BPF file system: pins there would fail one by one.
func checkBPFFS(folder string) error {
	at := folder
	for {
		var st unix.Statfs_t
		err := unix.Statfs(at, &st)
		if err == nil {
			if st.Type != unix.BPF_FS_MAGIC {
				return fmt.Errorf("%s is not on a BPF file system: %w: mount one with %s", folder, ErrUnsupported, mountCommand)
			}
			return nil
		}
		parent := filepath.Dir(at)
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			return unprepared(folder)
		}
		if !errors.Is(err, fs.ErrNotExist) || parent == at {
			return explain("look at "+at, err)
		}
		at = parent
	}
}
