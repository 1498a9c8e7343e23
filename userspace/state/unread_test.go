// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
)

// refusals is what a kernel may say of a file that is whole.
var refusals = []unix.Errno{unix.EACCES, unix.EPERM, unix.EIO, unix.EMFILE, unix.ENFILE, unix.ENOMEM,
	unix.EINTR, unix.EAGAIN,
	unix.ENOTDIR, unix.ELOOP, unix.ESTALE, unix.ETIMEDOUT, unix.EBUSY, unix.ENODEV, unix.ENXIO, unix.EROFS, unix.ENOSPC}

// filled is a folder with something in every file.
func filled(t *testing.T) (dir string, names []string) {
	t.Helper()
	dir = t.TempDir()
	s, err := Open(dir, Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	b := bundle(t, "one")
	if err := errors.Join(s.Save(sample()), s.SaveBundle(b), s.Append(Entry{Verb: "apply"}),
		s.Bans().Change([]Ban{banOf(1), banOf(2)}, nil), s.Close()); err != nil {
		t.Fatal(err)
	}
	return dir, []string{recordFile, quarantineFile, bansFile, filepath.Base(s.bundlePath(b.Digest))}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*", "bundles/*"} {
		paths, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, path := range paths {
			if data, err := os.ReadFile(path); err == nil {
				all[path] = string(data)
			}
		}
	}
	return all
}

// F10: an error of reading is no damage, whatever it is: it is told, the file stays where it is, nothing is written
// over it, and what it says counts as soon as it can be read.
func TestF10AnErrorOfReadingIsNoDamage(t *testing.T) {
	b := bundle(t, "one")
	for _, errno := range refusals {
		dir, names := filled(t)
		before := contents(t, dir)
		for _, name := range names {
			what := errno.Error() + " on " + name
			var refuse error = &os.PathError{Op: "read", Path: name, Err: errno}
			s := open(t, dir, func(op, path string) error {
				if op == opRead && filepath.Base(path) == name {
					return refuse
				}
				return nil
			})
			r, err := s.Load()
			_, berr := s.Bundle(b.Digest)
			if err = errors.Join(err, berr); !errors.Is(err, errno) || errors.Is(err, ErrNoBundle) {
				t.Errorf("%s: Load and Bundle say %v", what, err)
			}
			r.LastNumber++
			isRecord, isBans := slices.Contains([]string{recordFile, quarantineFile}, name), name == bansFile
			if err := s.Save(r); isRecord && !errors.Is(err, ErrUnread) {
				t.Errorf("%s: Save says %v", what, err)
			}
			if err := errors.Join(s.Bans().Change([]Ban{banOf(3)}, nil), s.Bans().Flush()); isBans &&
				!errors.Is(err, ErrUnread) {
				t.Errorf("%s: a ban says %v", what, err)
			}
			if (s.Unread() != nil) != (isRecord || isBans) || len(s.Damaged()) > 0 {
				t.Errorf("%s: unread %v, damaged %v", what, s.Unread(), s.Damaged())
			}
			after := contents(t, dir)
			for path, data := range before {
				if isRecord && strings.Contains(path, "bans.log") || isBans && !strings.Contains(path, "bans.log") || !isRecord &&
					!isBans && !strings.Contains(path, "bundles") {
					continue // that file could be read, and was written
				}
				if after[path] != data {
					t.Errorf("%s: %s changed", what, path)
				}
			}
			refuse = nil
			disk, err := s.Reopen()
			if err != nil || (disk != nil) != (isRecord || isBans) || disk != nil && disk.LastKnownGood == nil {
				t.Errorf("%s: once it can be read: %+v, %v", what, disk, err)
			}
			if _, err := s.Bundle(b.Digest); err != nil {
				t.Errorf("%s: once it can be read: %v", what, err)
			}
			if err := errors.Join(s.Save(sample()), s.Bans().Flush()); err != nil || s.Unread() != nil {
				t.Errorf("%s: once it can be read: %v, unread %v", what, err, s.Unread())
			}
			if bans := s.Bans().All(); len(bans) != 3 {
				t.Errorf("%s: bans %+v", what, bans)
			}
			if err := errors.Join(s.Bans().Change(nil, []netipPrefix{banOf(3).Prefix}), s.Close()); err != nil {
				t.Fatal(err)
			}
			before = contents(t, dir)
		}
	}
}

// F10: what a person did while the bans could not be read counts more than what the disk says.
func TestF10BansThatComeLater(t *testing.T) {
	dir, _ := filled(t)
	var refuse error = unix.EIO
	s := open(t, dir, func(op, path string) error {
		if op == opRead && filepath.Base(path) == bansFile {
			return refuse
		}
		return nil
	})
	if _, err := s.Load(); !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	found := banOf(1)
	found.By, found.Reason, found.Expires = FoundBy, "", noon.AddDate(0, 0, 1)
	_ = s.Bans().Change([]Ban{found, banOf(7)}, []netipPrefix{banOf(2).Prefix})
	refuse = nil
	if _, err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := s.Bans().Flush(); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = open(t, dir, nil)
	mustLoad(t, s)
	all := s.Bans().All()
	if len(all) != 2 || all[0].By != "ann" || !all[0].Expires.Equal(found.Expires) || all[1].Prefix != banOf(7).Prefix {
		t.Errorf("bans %+v", all)
	}
}

// Only a checksum or a parse fault sets a file aside, and then it does, for each file.
func TestDamageOfEachFileIsSetAside(t *testing.T) {
	dir, names := filled(t)
	whole := contents(t, dir)
	for _, name := range names {
		path := filepath.Join(dir, name)
		if len(name) == 64 {
			path = filepath.Join(dir, bundleDir, name)
		}
		data := []byte(whole[path])
		for i := 0; i < len(data); i += 3 {
			changed := bytes.Clone(data)
			changed[i] ^= 1
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir, nil)
			r := mustLoad(t, s)
			_, err := s.Bundle(bundle(t, "one").Digest)
			// A line's own end, changed in the last line, tears it off: that is no damage.
			if len(s.Damaged()) != 1 && i < len(data)-1 {
				t.Fatalf("%s, byte %d: damaged %v, record %+v, %v", name, i, s.Damaged(), r, err)
			}
			for _, aside := range s.Damaged() {
				_ = os.Remove(aside)
			}
			_ = s.Close()
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// F10: a list of a set that cannot be read keeps what it may name: pruning waits.
func TestF10NothingIsPrunedForWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	one, two := bundle(t, "one"), bundle(t, "two")
	set := config.NewSet(one).With(two)
	if err := s.SaveSet(set); err != nil {
		t.Fatal(err)
	}
	for i := range keptBundles + 5 {
		if err := s.SaveBundle(bundle(t, fmt.Sprintf("b%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	old := noon.AddDate(-1, 0, 0)
	for _, b := range set.Bundles {
		if err := os.Chtimes(s.bundlePath(b.Digest), old, old); err != nil {
			t.Fatal(err)
		}
	}
	s.disk.opts.Fault = func(op, path string) error {
		if op == opRead && path == s.bundlePath(set.Digest) {
			return unix.EIO
		}
		return nil
	}
	if err := s.Prune([]config.Digest{set.Digest}); !errors.Is(err, unix.EIO) {
		t.Errorf("prune says %v", err)
	}
	if err := s.Whole(set.Digest); !errors.Is(err, unix.EIO) {
		t.Errorf("whole says %v", err)
	}
	s.disk.opts.Fault = nil
	if err := s.Prune([]config.Digest{set.Digest}); err != nil {
		t.Error(err)
	}
	if _, err := s.Set(set.Digest); err != nil {
		t.Errorf("a bundle of a kept set is gone: %v", err)
	}
}

// Who does not hold the lock changes nothing, whatever it finds: another process may be writing.
func TestReadingWithoutTheLockChangesNothing(t *testing.T) {
	dir, _ := filled(t)
	for _, name := range []string{recordFile, bansFile, hostFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{\"damaged\":1}\n{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, dir)
	if _, err := ReadRecord(dir); err == nil {
		t.Error("a damaged record was read")
	}
	if _, err := ReadHost(dir); !errors.Is(err, ErrNoHost) {
		t.Errorf("a damaged host file: %v", err)
	}
	if bans := ReadBans(dir); len(bans) != 0 {
		t.Errorf("damaged bans: %+v", bans)
	}
	s := Unusable(dir, errors.New("read-only file system"), Options{})
	mustLoad(t, s)
	if len(s.Damaged()) != 2 {
		t.Errorf("damaged: %v", s.Damaged())
	}
	after := contents(t, dir)
	if len(after) != len(before) {
		t.Errorf("files were made or moved: %d, were %d", len(after), len(before))
	}
}
