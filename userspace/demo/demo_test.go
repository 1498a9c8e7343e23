// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/userspace/lab"
)

// output collects what the demo prints, and calls at once when the text appears.
type output struct {
	text string
	call func() error

	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.text != "" && strings.Contains(o.buf.String(), o.text)
	o.buf.Write(p)
	if o.text != "" && !before && strings.Contains(o.buf.String(), o.text) {
		if err := o.call(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Runs at the same time, whole ones and interrupted ones, each leave nothing behind.
func TestDemo(t *testing.T) {
	exe := executable(t)
	links := interfaces(t)
	t.Run("runs", func(t *testing.T) {
		t.Run("whole", func(t *testing.T) { t.Parallel(); testWhole(t, Options{Executable: exe}) })
		t.Run("embedded", func(t *testing.T) {
			t.Parallel()
			testWhole(t, Options{Executable: exe, ForceEmbedded: true, TTY: true, Width: 80})
		})
		// With a browser, one of them: two cores have enough to do.
		for _, moment := range []string{"$ spillway run &", "$ spillway reload", "No agent runs."} {
			t.Run("interrupted at "+moment, func(t *testing.T) {
				t.Parallel()
				testInterrupted(t, exe, moment, moment != "$ spillway reload")
			})
		}
		t.Run("broken promise", func(t *testing.T) { t.Parallel(); testBrokenPromise(t, exe) })
		t.Run("reader leaves", func(t *testing.T) { t.Parallel(); testReaderLeaves(t, exe) })
	})
	if left := leftOf(os.Getpid()); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	if diff := cmp.Diff(links, interfaces(t)); diff != "" {
		t.Errorf("this machine's interfaces changed (-before +after)\n%s", diff)
	}
}

func testWhole(t *testing.T, o Options) {
	out := &output{}
	o.Out = out
	err := Run(t.Context(), o)
	text := out.String()
	t.Log("\n" + text)
	if err != nil {
		t.Fatal(err)
	}
	promises := len(newLedger())
	if o.ForceEmbedded {
		promises -= 3 // of Python, and of a browser twice
	}
	want := fmt.Sprintf("All %d promises held", promises)
	if !strings.Contains(text, want) {
		t.Errorf("no %q at the end", want)
	}
	if !o.TTY && strings.Contains(text, "\x1b") {
		t.Error("a pipe got an escape sequence")
	}
	for line := range strings.Lines(text) {
		if !o.TTY && columnsOf(strings.TrimSuffix(line, "\n")) > maxWidth {
			t.Errorf("wider than %d columns: %s", maxWidth, line)
		}
	}
	if o.TTY {
		terminal(t, text, maxWidth)
	}
	for _, left := range []string{"without nginx, as asked", "Chromium is left out: as asked",
		mimicName + " is left out: as asked"} {
		if o.ForceEmbedded && !strings.Contains(text, left) {
			t.Errorf("does not say %q", left)
		}
	}
}

func testInterrupted(t *testing.T, exe, moment string, embedded bool) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &output{text: moment, call: func() error { cancel(); return nil }}
	err := Run(ctx, Options{Out: out, Executable: exe, ForceEmbedded: embedded})
	if !errors.Is(err, context.Canceled) || !strings.Contains(out.String(), "Interrupted. Nothing is left behind.") {
		t.Errorf("error %v, printed\n%s", err, out)
	}
	if strings.Contains(out.String(), "promised") {
		t.Errorf("a table after an interruption:\n%s", out)
	}
}

func testReaderLeaves(t *testing.T, exe string) {
	gone := errors.New("reader is gone")
	out := &output{text: "2  Enforce", call: func() error { return gone }}
	if err := Run(t.Context(), Options{Out: out, Executable: exe, ForceEmbedded: true}); !errors.Is(err, gone) {
		t.Errorf("error %v, want %v", err, gone)
	}
}

// With a binary that says that it applied what it did not, the demo must say so.
func testBrokenPromise(t *testing.T, exe string) {
	script := filepath.Join(t.TempDir(), "spillway")
	text := fmt.Sprintf("#!/bin/sh\n[ \"$1 $2\" = 'apply %s' ] && exit 0\nexec %s \"$@\"\n", declaredFile, exe)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	out := &output{}
	if err := Run(t.Context(), Options{Out: out, Executable: script, ForceEmbedded: true}); !errors.Is(err, ErrNotHeld) {
		t.Errorf("error %v, want %v", err, ErrNotHeld)
	}
	if want := "1 of 14 promises did not hold"; !strings.Contains(out.String(), want) ||
		strings.Count(out.String(), "NO\n") != 1 {
		t.Errorf("no %q, or not one NO:\n%s", want, out)
	}
}

// A binary that is none of ours must end as an error with what it said, and leave nothing.
func TestAgentThatDoesNotStart(t *testing.T) {
	requireRoot(t)
	exe := filepath.Join(t.TempDir(), "spillway")
	if err := os.WriteFile(exe, []byte("#!/bin/sh\necho no luck >&2\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out := &output{}
	err := Run(t.Context(), Options{Out: out, Executable: exe, ForceEmbedded: true})
	if err == nil || !strings.Contains(err.Error(), "no luck") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(out.String(), "not reached") {
		t.Errorf("the table does not say what was not reached:\n%s", out)
	}
	if left := leftOf(os.Getpid()); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
}

// What a killed demo left, the next one removes; until then its agent is dead already.
func TestSweepAfterKill(t *testing.T) {
	exe := executable(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+exe)
	out := &output{}
	killed := make(chan struct{})
	out.text, out.call = "$ spillway reload", func() error {
		defer close(killed)
		return cmd.Process.Kill()
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err == nil {
		t.Fatalf("it was not killed:\n%s", out)
	}
	select {
	case <-killed:
	default:
		t.Fatalf("it ended before it was killed:\n%s", out)
	}
	pid := cmd.Process.Pid
	left := leftOf(pid)
	t.Logf("a killed demo leaves %s", strings.Join(left, ", "))
	if len(left) == 0 {
		t.Error("nothing was left: this test tests nothing")
	}
	// A child that the kill met between fork and exec holds the lock for a moment longer.
	deadline := time.Now().Add(30 * time.Second)
	for left := leftOf(pid); len(left) > 0; left = leftOf(pid) {
		if err := errors.Join(sweep(), lab.Sweep()); err != nil {
			t.Error(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the sweep: %s", strings.Join(left, ", "))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A demo whose owner lives is not swept.
func TestSweepSparesTheLiving(t *testing.T) {
	requireRoot(t)
	w, err := newWorkspace()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(w.Close(), w.Close()); err != nil {
			t.Error(err)
		}
		if exists(w.dir) {
			t.Errorf("%s is still there", w.dir)
		}
	}()
	if err := sweep(); err != nil {
		t.Error(err)
	}
	if !exists(w.dir) || !isBPFFS(w.bpffs()) {
		t.Error("a living demo was swept")
	}
}

// leftOf lists what demos and labs of a process have left: names, mounts, and processes that run a demo's agent.
func leftOf(pid int) []string {
	var left []string
	for _, pattern := range []string{root + "/%d-*", root + "/.%d-*", "/run/spillway-lab/spw-%d-*",
		"/run/spillway-lab/.spw-%d-*", "/run/netns/spw-%d-*"} {
		found, err := filepath.Glob(fmt.Sprintf(pattern, pid))
		if err != nil {
			left = append(left, err.Error())
		}
		left = append(left, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		left = append(left, err.Error())
	}
	if strings.Contains(string(mounts), fmt.Sprintf("%s/%d-", root, pid)) {
		left = append(left, "a mount")
	}
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, e := range environs {
		data, err := os.ReadFile(e)
		if err == nil && bytes.Contains(data, fmt.Appendf(nil, "SPILLWAY_CONFIG=%s/%d-", root, pid)) {
			left = append(left, filepath.Dir(e))
		}
	}
	return left
}

func interfaces(t *testing.T) []string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, fmt.Sprint(i.Index, i.Name, i.Flags))
	}
	return names
}
