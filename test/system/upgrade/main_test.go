// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
)

// everything is set where there is time: make soak.
var everything = os.Getenv("SPILLWAY_FAULTS") == "all"

// The last commit of each layout that this build takes over from. The dataplane of rootless had no root of its own.
const (
	rootless = "5b20cdb" // layout 2
	layout3  = "d07d65f"
	layout4  = "e2797a6"
	layout5  = "284110b"
	layout6  = "f9b1a13"
	layout7  = "f8f506f"
)

// variable gives the binary of laterBinary its layout.
const variable = "SPILLWAY_TEST_LAYOUT"

var built string // folder of the binaries

func TestMain(m *testing.M) {
	inject.Main()
	code := m.Run()
	world.RemoveBinary()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// folder keeps the binaries for all tests.
func folder(t *testing.T) string {
	t.Helper()
	if built == "" {
		var err error
		built, err = os.MkdirTemp("", "spillway-upgrade-")
		world.Must(t, err)
		world.Must(t, os.Chmod(built, 0o755)) // the agent's user starts them
	}
	return built
}

// laterBinary builds this tree as a build whose layout the environment says.
func laterBinary(t *testing.T) string {
	t.Helper()
	return build(t, filepath.Join("..", "..", ".."), filepath.Join(folder(t), "later"), "-ldflags",
		"-X github.com/spillway/spillway/loader/pins.layoutVariable="+variable)
}

// earlierBinary builds the command of a commit from the history of this tree.
func earlierBinary(t *testing.T, commit string) string {
	t.Helper()
	path := filepath.Join(folder(t), "build-"+commit)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	source := filepath.Join(folder(t), "source-"+commit)
	if err := unpack(commit, source); err != nil {
		message := fmt.Sprintf("the tree of commit %s is needed, and this one has no history: %v", commit, err)
		if os.Getenv("CI") != "" {
			t.Fatal(message)
		}
		t.Skip("left out: " + message)
	}
	return build(t, source, path)
}

// unpack writes the tree of a commit, without touching this one's worktrees.
func unpack(commit, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	archive, tar := exec.Command("git", "archive", commit), exec.Command("tar", "-x", "-C", to)
	archive.Dir = filepath.Join("..", "..", "..")
	from, into := io.Pipe()
	archive.Stdout, tar.Stdin = into, from
	if err := tar.Start(); err != nil {
		return err
	}
	err := archive.Run()
	return errors.Join(err, into.Close(), tar.Wait())
}

func build(t *testing.T, source, path string, flags ...string) string {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	absolute, err := filepath.Abs(path)
	world.Must(t, err)
	args := append([]string{"build", "-buildvcs=false", "-o", absolute}, flags...)
	cmd := exec.Command("go", append(args, "./cmd/spillway")...)
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", path, err, out)
	}
	return absolute
}
