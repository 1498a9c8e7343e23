// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/pins"
)

const (
	agentUser = 60_017
	stranger  = 60_018
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A BPF file system of mode 1777 lets anybody make the pin folder first. It is not used, and the text says why and what
// to do.
func TestF13FoldersOfOthersAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(folder string) error
		want error
		says string
	}{
		{"nothing there", func(string) error { return nil }, nil, ""},
		{"root's", func(f string) error { return os.Mkdir(f, 0o700) }, nil, ""},
		{"the agent's", func(f string) error { return errors.Join(os.Mkdir(f, 0o700), os.Chown(f, agentUser, agentUser)) },
			nil, ""},
		{"a stranger's", func(f string) error {
			return errors.Join(os.Mkdir(f, 0o755), os.Mkdir(filepath.Join(f, "v9"), 0o755), os.Chown(f, stranger, stranger))
		}, pins.ErrForeignPins, "belongs to user 60018"},
		{"a stranger's, with a narrow mode", func(f string) error {
			return errors.Join(os.Mkdir(f, 0o700), os.Chown(f, stranger, stranger))
		}, pins.ErrForeignPins, "belongs to user 60018"},
		{"one that all can write to", func(f string) error { return errors.Join(os.Mkdir(f, 0o700), os.Chmod(f, 0o777)) },
			pins.ErrForeignPins, "mode 0777"},
		{"one that its group can write to", func(f string) error {
			return errors.Join(os.Mkdir(f, 0o700), os.Chmod(f, 0o770))
		}, pins.ErrForeignPins, "mode 0770"},
		{"a link", func(f string) error { return os.Symlink(filepath.Dir(f), f) }, pins.ErrForeignPins, "is no folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := testPins(t)
			must(t, c.make(folder))
			defer os.Remove(folder)
			err := pins.CheckFolder(folder, agentUser)
			if !errors.Is(err, c.want) {
				t.Fatalf("check: %v, want %v", err, c.want)
			}
			if err != nil &&
				(!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "rm -r "+folder) ||
					!strings.Contains(err.Error(), "mode=0700")) {
				t.Errorf("it does not say %q and what to do: %v", c.says, err)
			}
			o, err := pins.Own(folder, agentUser)
			if !errors.Is(err, c.want) {
				t.Errorf("own: %v, want %v", err, c.want)
			}
			if err == nil {
				must(t, o.Close())
			}
			if err := pins.PrepareFolder(folder, agentUser, agentUser); !errors.Is(err, c.want) {
				t.Errorf("prepare: %v, want %v", err, c.want)
			}
			var st unix.Stat_t
			if c.want == nil && (unix.Lstat(folder, &st) != nil || st.Uid != agentUser || st.Mode&0o7777 != 0o700) {
				t.Errorf("the folder is %d's, mode %o", st.Uid, st.Mode)
			}
		})
	}
}

// In a parent without the sticky bit others could put their folder in the place of ours.
func TestF13ParentsOfOthersAreRefused(t *testing.T) {
	parent := testPins(t)
	folder := filepath.Join(parent, "pins")
	must(t, os.Mkdir(parent, 0o700))
	for mode, want := range map[fs.FileMode]error{0o755: nil, 0o777: pins.ErrForeignPins, 0o777 | fs.ModeSticky: nil} {
		must(t, os.Chmod(parent, mode))
		if err := pins.PrepareFolder(folder, agentUser, agentUser); !errors.Is(err, want) {
			t.Errorf("parent of mode %v: %v, want %v", mode, err, want)
		}
		_ = os.Remove(folder)
	}
}

// What root pins is the folder's owner's, and what has a second name elsewhere is given to nobody.
func TestF1PinsKeepTheFoldersOwner(t *testing.T) {
	folder := testPins(t)
	must(t, pins.PrepareFolder(folder, agentUser, agentUser))
	foreign := filepath.Join(filepath.Dir(folder), "spillway-foreign-"+filepath.Base(folder))
	d := openTest(t, Options{Pins: folder, Capacity: testHost().Capacity})
	clone, err := d.maps["flows"].Clone()
	must(t, err)
	must(t, clone.Pin(foreign))
	defer os.Remove(foreign)
	planted := filepath.Join(folder, "planted")
	must(t, os.Link(foreign, planted))
	t.Cleanup(func() { _ = os.Remove(planted) }) // it is not ours, so a detach leaves it
	img, err := compile.HostFile(testHost(), nil, 1)
	must(t, err)
	if _, err := d.BuildHost(img); err != nil {
		t.Fatal(err)
	}
	must(t, pins.PrepareFolder(folder, agentUser, agentUser))
	seen := 0
	must(t, filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		var st syscall.Stat_t
		if err == nil {
			err = syscall.Lstat(path, &st)
		}
		if want := uint32(agentUser); err == nil && st.Uid != want && path != planted {
			t.Errorf("%s belongs to user %d", path, st.Uid)
		}
		seen++
		return err
	}))
	var st syscall.Stat_t
	must(t, syscall.Lstat(foreign, &st))
	if st.Uid != 0 || seen < 30 {
		t.Errorf("the pin elsewhere was given to user %d; %d pins seen", st.Uid, seen)
	}
}

// Symbolic links below the pins lead a detach of root's to nobody else's pins, and do not keep it from its work.
func TestF13DetachFollowsNothing(t *testing.T) {
	folder := testPins(t)
	elsewhere := filepath.Join(filepath.Dir(folder), "spillway-foreign-"+filepath.Base(folder))
	links := filepath.Join(elsewhere, "links")
	must(t, os.MkdirAll(links, 0o700))
	defer os.RemoveAll(elsewhere)
	d := openTest(t, Options{Pins: folder, Capacity: testHost().Capacity})
	clone, err := d.Program().Clone()
	must(t, err)
	foreign := filepath.Join(links, "eth0")
	must(t, clone.Pin(foreign)) // no link, so to open it as one would fail
	must(t, os.Symlink(elsewhere, filepath.Join(folder, "v99")))
	must(t, os.Mkdir(filepath.Join(folder, "v98"), 0o700))
	must(t, os.Symlink(links, filepath.Join(folder, "v98", "links")))
	must(t, os.Symlink(foreign, filepath.Join(folder, "root", "links", "eth1")))
	must(t, DetachPins(folder))
	if _, err := os.Lstat(foreign); err != nil {
		t.Errorf("the pin elsewhere: %v", err)
	}
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the pin folder is still there: %v", err)
	}
}
