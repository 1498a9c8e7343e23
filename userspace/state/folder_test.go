// SPDX-License-Identifier: Apache-2.0

package state

import (
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A command of root's works in the state folder of the agent's user: what it writes is that user's, and a link that the
// user put there leads it nowhere.
func TestF13RootInTheAgentsFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: a folder of another user needs root")
	}
	const agent = 60_017
	for _, link := range []string{"", lockFile, recordFile, historyFile, bansFile, quarantineFile, bundleDir} {
		dir := filepath.Join(t.TempDir(), "state")
		outside := filepath.Join(filepath.Dir(dir), "outside")
		for _, folder := range []string{dir, outside} {
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		victim := filepath.Join(outside, "victim")
		if err := os.WriteFile(victim, []byte("root's"), 0o600); err != nil {
			t.Fatal(err)
		}
		target := victim
		if link == bundleDir {
			target = outside
		}
		if link != "" {
			if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Lchown(dir, agent, agent); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, Options{})
		if link == "" && err != nil {
			t.Fatal(err)
		}
		if err == nil {
			_ = s.Append(Entry{Verb: "bypass on", Outcome: "done"})
			_ = s.Save(sample())
			_ = s.SaveBundle(bundle(t, "a"))
			_ = s.Bans().Change([]Ban{{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Expires: time.Now().Add(time.Hour)}}, nil)
			_ = s.Close()
		}
		if data, err := os.ReadFile(victim); err != nil || string(data) != "root's" {
			t.Errorf("through %s the file outside became %q, %v", link, data, err)
		}
		if all, _ := os.ReadDir(outside); len(all) != 1 {
			t.Errorf("through %s something was made outside: %v", link, all)
		}
		err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var st syscall.Stat_t
			if err := syscall.Lstat(path, &st); err != nil {
				return err
			}
			if filepath.Base(path) != link && st.Uid != agent {
				t.Errorf("beside %q, %s belongs to user %d", link, path, st.Uid)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
