// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// script makes four calls below the folder, and some elsewhere.
const script = `echo elsewhere >/dev/null; echo first >"$0/file" || exit 9; echo second >"$0/file"`

// parent has a child that makes the first call, and makes two itself.
const parent = `cp /dev/null "$0/file"; echo after >"$0/file"`

// run runs the script with a fault at one call.
func run(t *testing.T, at int, f Fault) (code int, text string, r Report) {
	t.Helper()
	return runScript(t, script, at, f)
}

func runScript(t *testing.T, script string, at int, f Fault) (code int, text string, r Report) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("a filter without no_new_privs needs root")
		}
		t.Skip("left out: a filter without no_new_privs needs root")
	}
	folder := t.TempDir()
	l, err := Listen(t.TempDir(), Disk, folder)
	if err != nil {
		t.Fatal(err)
	}
	l.Arm(at, f)
	cmd := exec.Command(l.Wrapper()[0], append(l.Wrapper()[1:], "sh", "-c", script, folder)...)
	out, _ := cmd.CombinedOutput()
	r, err = l.Disarm()
	if err != nil {
		t.Errorf("the listener: %v; the script: %s", err, out)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	data, _ := os.ReadFile(filepath.Join(folder, "file"))
	return cmd.ProcessState.ExitCode(), string(data), r
}

// A child that is killed leaves its parent, unless all shall end.
func TestFaultsOfAChild(t *testing.T) {
	for _, c := range []struct {
		f    Fault
		code int
		text string
	}{
		{Fault{}, 0, "after\n"},
		{Fault{Kill: true}, 0, "after\n"},
		{Fault{Kill: true, Whole: true}, -1, ""},
		{Fault{Errno: unix.ENOSPC}, 0, "after\n"},
	} {
		code, text, r := runScript(t, parent, 1, c.f)
		if code != c.code || text != c.text || r.Hit != "child: create /file" {
			t.Errorf("%s: exit %d, file %q, report %+v; want exit %d, file %q", c.f, code, text, r, c.code, c.text)
		}
	}
}

func TestFaults(t *testing.T) {
	all := []string{"create /file", "write /file", "create /file", "write /file"}
	for _, c := range []struct {
		at   int
		f    Fault
		code int
		text string
		hit  string
		seen int
	}{
		{0, Fault{}, 0, "second\n", "", 4},
		{1, Fault{Errno: unix.ENOSPC}, 9, "", all[0], 1},
		{4, Fault{Errno: unix.EIO}, 1, "", all[3], 4},
		{5, Fault{Errno: unix.EIO}, 0, "second\n", "", 4},
		{3, Fault{Kill: true}, -1, "first\n", all[2], 3},
		{4, Fault{Kill: true, Torn: true}, -1, "sec", all[3], 4},
		{4, Fault{Errno: unix.ENOSPC, Torn: true}, 1, "sec", all[3], 5},
	} {
		code, text, r := run(t, c.at, c.f)
		if code != c.code || text != c.text || r.Hit != c.hit || r.Seen != c.seen ||
			!slices.Equal(r.All[:min(4, len(r.All))], all[:min(4, c.seen)]) {
			t.Errorf("%s at %d: exit %d, file %q, report %+v; want exit %d, file %q, hit %q of %d", c.f, c.at, code, text, r,
				c.code, c.text, c.hit, c.seen)
		}
	}
}
