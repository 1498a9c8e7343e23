// SPDX-License-Identifier: Apache-2.0

package folder

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// agent is the user of a folder that root works in.
const agent = 60_017

func agents(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("a folder of another user needs root")
		}
		t.Skip("left out: a folder of another user needs root")
	}
	dir := filepath.Join(t.TempDir(), "state")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Lchown(dir, agent, agent))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever the agent's user puts into its folder, root writes to nothing outside of it, and does not wait for anybody.
func TestF13RootWritesThroughNothing(t *testing.T) {
	dir := agents(t)
	victim := filepath.Join(filepath.Dir(dir), "victim")
	must(t, os.WriteFile(victim, []byte("root's"), 0o600))
	must(t, os.Symlink(victim, filepath.Join(dir, "absolute")))
	must(t, os.Symlink("../victim", filepath.Join(dir, "relative")))
	must(t, os.Symlink("..", filepath.Join(dir, "up")))
	must(t, os.Link(victim, filepath.Join(dir, "second")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666))
	must(t, os.Symlink("../new", filepath.Join(dir, "dangling")))
	f, err := Open(dir)
	must(t, err)
	defer f.Close()
	for _, name := range []string{"absolute", "relative", "up/victim", "../victim", victim, "second", "pipe", "dangling"} {
		for _, flag := range []int{os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREATE, os.O_WRONLY | os.O_TRUNC} {
			begun := time.Now()
			if file, err := f.OpenFile(name, flag, 0o600); err == nil {
				t.Errorf("%s was opened with flags %#x", name, flag)
				_ = file.Close()
			}
			if took := time.Since(begun); took > 30*time.Second {
				t.Errorf("%s held us for %s", name, took)
			}
		}
	}
	for _, name := range []string{"up/moved", "../moved", filepath.Join(filepath.Dir(dir), "moved")} {
		if f.Rename("absolute", name) == nil {
			t.Errorf("a file was moved to %s", name)
		}
	}
	if _, err := f.OpenFile("second", os.O_RDWR, 0); !errors.Is(err, ErrNotPlain) {
		t.Errorf("a file with a second name: %v, want %v", err, ErrNotPlain)
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "root's" {
		t.Errorf("the file outside holds %q, %v", data, err)
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(dir), "new")); err == nil {
		t.Error("a file was made outside")
	}
	if uid := ownerOf(t, victim); uid != 0 {
		t.Errorf("the file outside was given to user %d", uid)
	}
}

func ownerOf(t *testing.T, path string) int {
	t.Helper()
	var st syscall.Stat_t
	must(t, syscall.Lstat(path, &st))
	return int(st.Uid)
}

// What root makes belongs to the folder's owner; what it made before it could, too, once it is written to.
func TestF13FilesKeepTheFoldersOwner(t *testing.T) {
	dir := agents(t)
	must(t, os.WriteFile(filepath.Join(dir, "before"), nil, 0o600))
	f, err := Open(dir)
	must(t, err)
	defer f.Close()
	must(t, f.Mkdir("sub", 0o750))
	must(t, f.Mkdir("sub", 0o750))
	for _, name := range []string{"new", "before", "sub/new"} {
		file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		must(t, err)
		must(t, file.Close())
	}
	file, temporary, err := f.CreateTemp("sub/.new-")
	must(t, err)
	must(t, file.Close())
	must(t, f.Rename(temporary, "sub/renamed"))
	must(t, f.Sync("sub"))
	for _, name := range []string{"new", "before", "sub", "sub/new", "sub/renamed"} {
		if uid := ownerOf(t, filepath.Join(dir, name)); uid != agent {
			t.Errorf("%s belongs to user %d, want %d", name, uid, agent)
		}
	}
}
