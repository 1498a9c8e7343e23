// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

const fakeChild = "fake-child"

// fakes are children that do not what they should. Each has read its request, and has its limits.
var fakes = map[string]func(*Request){
	"passes":     func(r *Request) { answer(r, r.Number) },
	"another":    func(r *Request) { answer(r, r.Number+1) },
	"salted":     func(r *Request) { r.Salt++; answer(r, r.Number) },
	"late":       func(r *Request) { r.Clock.MonotonicNS++; answer(r, r.Number) },
	"dated":      func(r *Request) { r.Clock.Wall = r.Clock.Wall.Add(1); answer(r, r.Number) },
	"compiled":   func(r *Request) { tell(r, Result{Taste: rollout.Taste{Number: r.Number}}) },
	"empty":      func(r *Request) { fmt.Print(`{}`) },
	"unheard_of": func(r *Request) { tell(r, Result{Taste: rollout.Taste{Outcome: rollout.TasteFailed + 1}}) },
	"panics":     func(*Request) { panic("at the disco") },
	"exits":      func(*Request) { os.Exit(3) },
	"nothing":    func(*Request) {},
	"truncated":  func(*Request) { fmt.Print(`{"Outcome": 0, "Num`) },
	"killed":     func(*Request) { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} },
	"segfaults":  func(*Request) { _ = syscall.Kill(os.Getpid(), syscall.SIGSEGV); select {} },
	"hangs":      func(*Request) { signal.Ignore(syscall.SIGTERM, os.Interrupt); hang() },
	"endless":    func(*Request) { pour(os.Stdout) },
	"works":      func(*Request) { work(nil) },
	"complains":  func(*Request) { _, _ = os.Stderr.Write(make([]byte, 4<<20)); hang() },
	"reads":      func(*Request) { waitInTheKernel() },
	"bomb":       func(*Request) { bomb() },
	"large_bomb": func(*Request) { bomb() },
	"has_a_file": func(r *Request) { _ = os.WriteFile(filepath.Join(r.Folder(), "generations"), nil, 0o600); os.Exit(1) },
	"has_a_child": func(r *Request) {
		c := exec.Command("/proc/self/exe", fakeChild, "hangs")
		c.Stdin, c.Stdout = bytes.NewReader([]byte(`{}`)), os.Stdout
		if err := c.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintf(os.Stderr, "pid %d", c.Process.Pid)
		os.Exit(1)
	},
}

func answer(r *Request, number uint32) {
	tell(r, Result{Taste: rollout.Taste{Number: number}, Compiled: state.Compiled{Number: number, Salt: r.Salt,
		Wall: r.Clock.Wall, MonotonicNS: r.Clock.MonotonicNS}})
}

func tell(r *Request, what Result) {
	what.ID, what.Digest = r.ID, r.Digest
	_ = json.NewEncoder(os.Stdout).Encode(what)
}

func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

// work takes every processor until it is told to stop.
func work(stop *atomic.Bool) {
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for stop == nil || !stop.Load() {
			}
		}()
	}
	if stop == nil {
		hang()
	}
}

// A child that a busy host leaves no processor says nothing of its bundle; one that has them, and does not end, does.
func TestStarvedChild(t *testing.T) {
	var stop atomic.Bool
	defer stop.Store(true)
	work(&stop)
	r, _ := taste(t, context.Background(), "works", 3*time.Second)
	if r.Outcome != rollout.TasteFailed || !strings.Contains(r.Detail, "too busy") {
		t.Errorf("outcome %d, %q", r.Outcome, r.Detail)
	}
}

func TestStarvedIsWhoWaits(t *testing.T) {
	proc := fstest.MapFS{
		"7/task/7/schedstat": {Data: []byte("900000000 400000000 12\n")},
		"7/task/8/schedstat": {Data: []byte("0 200000000 1\n")},
		"8/task/8/schedstat": {Data: []byte("900000000 9000000000 12\n")},
	}
	for wall, want := range map[time.Duration]bool{time.Second: true, 1200 * time.Millisecond: false} {
		if got := hindered(proc, 7, wall) != ""; got != want {
			t.Errorf("of %s: starved %t", wall, got)
		}
	}
}

// waitInTheKernel sleeps as who reads from a disk that does not answer: a parent waits so for what it begins by
// vfork(2).
func waitInTheKernel() {
	pid, _, _ := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_VFORK|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	for pid == 0 { // nothing of Go's runtime works here
		_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// A child that the kernel does not let go says nothing of its bundle: here who traces one of its threads has not seen
// its end yet.
func TestKilledAndDoesNotEnd(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread() // only who traces may wait
	defer runtime.UnlockOSThread()
	ended := make(chan Result)
	req := Request{ID: "r-1", Digest: config.Digest{1}, Number: 7, Base: 6, Pins: t.TempDir()}
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	go func() {
		ended <- Start(ctx, req, Options{
			Limits:  Limits{Wall: time.Minute, Memory: 384 << 20, Output: 64 << 10, Stuck: 100 * time.Millisecond},
			Program: []string{"/proc/self/exe", fakeChild, "hangs", t.Name()},
		})
	}()
	thread := threadOf(t, t.Name())
	if err := unix.PtraceSeize(thread); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Wait4(thread, nil, unix.WALL, nil) }()
	kill()
	if r := <-ended; r.Outcome != rollout.TasteFailed || !strings.Contains(r.Detail, "does not end") {
		t.Errorf("outcome %d, %q", r.Outcome, r.Detail)
	}
}

// threadOf waits for a process with this argument and a second thread, and returns that.
func threadOf(t *testing.T, argument string) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range all {
			text, _ := os.ReadFile(name)
			if !strings.HasSuffix(strings.Split(string(text)+"\x00--", "\x00--")[0], "\x00"+argument) {
				continue
			}
			pid := filepath.Base(filepath.Dir(name))
			threads, _ := filepath.Glob("/proc/" + pid + "/task/*")
			for _, thread := range threads {
				if filepath.Base(thread) != pid {
					n, _ := strconv.Atoi(filepath.Base(thread))
					return n
				}
			}
		}
	}
	t.Fatal("no such process")
	return 0
}

func pour(f *os.File) {
	for b := bytes.Repeat([]byte("x"), 1<<16); ; {
		_, _ = f.Write(b)
	}
}

// bomb takes memory without end, and touches none of it: others run beside it.
func bomb() {
	var kept [][]byte
	for {
		kept = append(kept, make([]byte, 16<<20))
		if len(kept) > 1<<10 { // 16 GiB: nothing limits it
			os.Exit(0)
		}
	}
}

func TestChildrenThatEndBadly(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		fake    string
		outcome rollout.TasteEnd
		detail  string
	}{
		{"passes", rollout.TastePassed, ""},
		{"another", rollout.TasteWrong, "generation 8"},
		{"salted", rollout.TasteWrong, "clock or salt"},
		{"late", rollout.TasteWrong, "clock or salt"},
		{"dated", rollout.TasteWrong, "clock or salt"},
		{"compiled", rollout.TasteWrong, "compiled generation 0"},
		{"empty", rollout.TasteWrong, "generation 0"},
		{"unheard_of", rollout.TasteWrong, "nobody knows: 6"},
		{"panics", rollout.TasteCrashed, "at the disco"},
		{"exits", rollout.TasteCrashed, "exit status 3"},
		{"nothing", rollout.TasteCrashed, "0 bytes"},
		{"truncated", rollout.TasteCrashed, "unexpected end"},
		{"killed", rollout.TasteFailed, "killed"},
		{"segfaults", rollout.TasteCrashed, "SIGSEGV"},
		{"hangs", rollout.TasteHung, "It was killed after "},
		{"endless", rollout.TasteWrong, "more than 65536 bytes"},
		{"reads", rollout.TasteFailed, "waited for a disk"},
		{"complains", rollout.TasteHung, "It was killed after "},
		{"bomb", rollout.TasteFailed, "no more than 384 MiB"},
		{"large_bomb", rollout.TasteWrong, "more than 2048 MiB"},
		{"has_a_file", rollout.TasteCrashed, "exit status 1"},
	} {
		t.Run(row.fake, func(t *testing.T) {
			t.Parallel()
			asWanted := func(r Result) bool { return r.Outcome == row.outcome && strings.Contains(r.Detail, row.detail) }
			const most = 32 * time.Second
			wall := most // whoever ends by itself needs no limit
			if row.outcome == rollout.TasteHung || row.fake == "reads" {
				wall = time.Second
			}
			r, req := taste(t, context.Background(), row.fake, wall)
			for ; !asWanted(r) && wall < most; wall *= 2 { // on a busy machine a second shows only that it is busy
				r, req = taste(t, context.Background(), row.fake, 2*wall)
			}
			// Go's collector itself may read a nil pointer where the kernel gives it no memory: seen once in some dozen runs.
			for n := 0; n < 3 && !asWanted(r) && strings.HasSuffix(row.fake, "bomb"); n++ {
				r, req = taste(t, context.Background(), row.fake, wall)
			}
			if !asWanted(r) {
				t.Errorf("outcome %d, %q; want %d, %q", r.Outcome, r.Detail, row.outcome, row.detail)
			}
			if r.ID != req.ID || r.Base != req.Base {
				t.Errorf("it is of %q on %d", r.ID, r.Base)
			}
			if _, err := os.Stat(req.Folder()); (err == nil) != (row.outcome == rollout.TastePassed) {
				t.Errorf("the folder: %v", err)
			}
			if passed := r.Outcome == rollout.TastePassed; passed != (r.Number != 0) {
				t.Errorf("number %d", r.Number)
			}
			if r.Outcome != rollout.TastePassed {
				if slot, got := r.Adopt(slots{}); slot != 0 || got != r.Taste {
					t.Errorf("adopted into slot %d: %+v", slot, got)
				}
			}
		})
	}
}

// slots take everything, but for an error.
type slots struct{ err error }

func (s slots) Adopt(t loader.Tasted, beside ...uint8) (uint8, error) { return 5, s.err }

func TestAdopt(t *testing.T) {
	for _, row := range []struct {
		err     error
		outcome rollout.TasteEnd
		slot    uint8
	}{
		{nil, rollout.TastePassed, 5},
		{fmt.Errorf("rules: %w", loader.ErrWrongTable), rollout.TasteWrong, 0},
		{unix.ENOMEM, rollout.TasteFailed, 0},
	} {
		r, _ := taste(t, context.Background(), "passes", time.Minute)
		slot, got := r.Adopt(slots{row.err})
		if slot != row.slot || got.Outcome != row.outcome || (got.Number == 0) != (row.err != nil) {
			t.Errorf("%v: slot %d, %+v", row.err, slot, got)
		}
		if _, err := os.Stat(r.Folder); err == nil {
			t.Errorf("%v: the folder stays", row.err)
		}
	}
}

func taste(t *testing.T, ctx context.Context, fake string, wall time.Duration) (Result, Request) {
	t.Helper()
	req := Request{ID: "r-1", Digest: config.Digest{1}, Number: 7, Base: 6, Pins: t.TempDir()}
	memory := uint64(384 << 20)
	if fake == "large_bomb" {
		memory = memoryMost
	}
	return Start(ctx, req, Options{
		Limits:  Limits{Wall: wall, Memory: memory, Output: 64 << 10, Stuck: time.Minute},
		Program: []string{"/proc/self/exe", fakeChild, fake},
	}), req
}

// What a child started ends with it, although it holds the child's answer open.
func TestGrandchildrenEnd(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	r, _ := taste(t, context.Background(), "has_a_child", time.Minute)
	_, said, _ := strings.Cut(r.Detail, "pid ")
	pid, err := strconv.Atoi(strings.TrimSpace(said))
	if r.Outcome != rollout.TasteCrashed || err != nil {
		t.Fatalf("outcome %d, %q", r.Outcome, r.Detail)
	}
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil && letter(pid) != "Z"; {
		if time.Now().After(deadline) {
			t.Fatalf("process %d lives", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

// letter is the letter of a process in /proc/PID/stat; "" when it is gone.
func letter(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if _, rest, ok := strings.Cut(string(text), ") "); ok {
		return rest[:1]
	}
	return ""
}

// An agent that stops takes its child along, and condemns nobody for it.
func TestTheAgentEndsIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, _ := taste(t, ctx, "hangs", time.Minute); r.Outcome != rollout.TasteFailed {
		t.Errorf("outcome %d, %q", r.Outcome, r.Detail)
	}
}

func TestRequestsThatLeadElsewhere(t *testing.T) {
	for _, id := range []string{"", ".", "..", "../v4", "a/b"} {
		pins := t.TempDir()
		keep := filepath.Join(pins, "v4")
		if err := os.Mkdir(keep, 0o700); err != nil {
			t.Fatal(err)
		}
		r := Start(context.Background(), Request{ID: id, Pins: pins, Number: 1}, Options{Program: []string{"/bin/true"}})
		if _, err := os.Stat(keep); err != nil || r.Outcome != rollout.TasteFailed {
			t.Errorf("%q: outcome %d, %v", id, r.Outcome, err)
		}
	}
}

func TestSweep(t *testing.T) {
	pins := t.TempDir()
	if err := os.MkdirAll(filepath.Join(pins, "taste", "r-9"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Sweep(pins); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(pins); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
