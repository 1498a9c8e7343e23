// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	rewrite  = flag.Bool("update", false, "write what the verifiers count to bpf/instructions.txt, and run nothing else")
	onHost   = flag.Bool("host", false, "run all of the suites, and on this machine's kernel too")
	keepLogs = flag.Bool("logs", false, "print what every suite said")
)

// leaveOut ends a test that this machine cannot run: visibly, and as a failure in CI or when the file is to be written.
func leaveOut(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" || *rewrite {
		t.Fatalf(format, args...)
	}
	t.Skipf("left out: "+format, args...)
}

// table collects one line for each kernel and suite, for people.
type table struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (t *table) add(kernel, suite, verdict, seconds, note string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines,
		strings.TrimRight(fmt.Sprintf("%-26s %-31s %-9s %5s  %s", kernel, suite, verdict, seconds, note), " "))
}

func (t *table) String() string {
	head := fmt.Sprintf("%-26s %-31s %-9s %5s  %s", "KERNEL", "SUITE", "VERDICT", "SEC", "NOTE")
	return head + "\n" + strings.Join(t.lines, "\n")
}

func (t *table) addResult(kernel, name string, r result) {
	verdict := "passed"
	switch {
	case !r.ran:
		verdict = "not run"
	case !r.passed():
		verdict = "FAILED"
	}
	note := ""
	if skipped := r.leftOut(); len(skipped) > 0 {
		note = fmt.Sprintf("%d left out: %s", len(skipped), strings.Join(skipped, "; "))
	}
	t.add(kernel, name, verdict, r.seconds, note)
}

func TestKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("left out: booting two kernels takes minutes; make kernels does it")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("not here: the guests are amd64, and emulating another architecture takes many minutes")
	}
	for tool, pkg := range map[string]string{"qemu-system-x86_64": "qemu-system-x86", "apt-get": "apt",
		"apt-cache": "apt", "dpkg-deb": "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			leaveOut(t, "%s is missing: apt-get install --no-install-recommends %s", tool, pkg)
		}
	}
	run := slices.Clone(suites)
	if *rewrite {
		run = suites[:1]
	}
	if !*onHost {
		run = slices.DeleteFunc(run, func(s suite) bool { return s.isLong })
	}
	for i := range run {
		if *onHost {
			run[i] = run[i].long()
		}
	}
	b := &bench{built: t.TempDir(), suites: run}
	b.build(t)
	b.unpack(t)
	t.Run("guests", func(t *testing.T) {
		for _, k := range series {
			t.Run(k.series, func(t *testing.T) {
				img, note := b.fetch(t, k) // one after the other: apt locks
				t.Parallel()
				b.runGuest(t, k, img, note)
			})
		}
	})
	if !*rewrite {
		b.runHost(t)
	}
	fmt.Printf("%s\n\n", &b.table)
}

// bench is what all guests share.
type bench struct {
	suites  []suite
	built   string // folder of the test binaries
	store   store
	busybox string
	table   table
}

// build compiles the suites into static binaries, and looks whether they have the tests that are named.
func (b *bench) build(t *testing.T) {
	t.Helper()
	for _, s := range b.suites {
		binary := filepath.Join(b.built, binaryOf(s))
		cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-trimpath", "-ldflags", "-s -w",
			"-o", binary, "./"+s.name)
		cmd.Dir, cmd.Env = moduleRoot, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", s.name, err, out)
		}
		// a run of all checks what it ran
		list := exec.CommandContext(t.Context(), binary, "-test.list", ".", "-test.run", "none")
		list.Dir = filepath.Join(moduleRoot, s.name)
		out, err := list.Output()
		if err != nil {
			t.Fatalf("list the tests of %s: %v", s.name, err)
		}
		if missing := s.missing(strings.Fields(string(out))); len(missing) > 0 {
			t.Errorf("%s has no test %s: mend suites.go", s.name, strings.Join(missing, ", "))
		}
	}
}

// unpack opens the store and finds the guests' shell there. Installing it would throw out another busybox.
func (b *bench) unpack(t *testing.T) {
	t.Helper()
	var err error
	if b.store, err = openStore(); err != nil {
		t.Fatal(err)
	}
	folder, err := b.store.get(t.Context(), "busybox-static")
	if err != nil && os.Geteuid() == 0 && update(t.Context()) == nil {
		folder, err = b.store.get(t.Context(), "busybox-static")
	}
	if err != nil {
		leaveOut(t, "no shell for the guests can be had: %v", err)
	}
	b.busybox = filepath.Join(folder, "bin", "busybox")
}

// fetch gets the kernel that the committed counts are of, or else says so.
func (b *bench) fetch(t *testing.T, k kernel) (img image, note string) {
	t.Helper()
	release := ""
	if !*rewrite {
		want, err := readInstructions(instructionsPath())
		if err != nil {
			t.Fatal(err)
		}
		release = releaseOf(want, k.series)
	}
	img, err := k.fetch(t.Context(), b.store, b.busybox, release)
	if err != nil {
		b.table.add(k.series, "all", "left out", "", "no kernel")
		leaveOut(t, "%v", err)
	}
	if release != "" && img.release != release {
		note = fmt.Sprintf("counts not compared: %s cannot be had; go test ./test/system/kernels -update", release)
	}
	return img, note
}

func (b *bench) runGuest(t *testing.T, k kernel, img image, note string) {
	initramfs := filepath.Join(t.TempDir(), "initramfs.cpio")
	if err := writeInitramfs(initramfs, b.built, b.busybox, img, b.suites); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	r, err := boot(context.Background(), img, initramfs)
	if err != nil {
		t.Errorf("%s: %v; its last words:\n%s", img.release, err, strings.Join(r.tail, "\n"))
	}
	for _, s := range b.suites {
		done := r.results[s.name]
		name := s.name
		if s.lockdown {
			name += ", locked down"
		}
		b.table.addResult(img.release, name, done)
		if !done.passed() {
			t.Errorf("%s: %s: exit code %q\n%s", img.release, s.name, done.code, strings.Join(done.log, "\n"))
		} else if *keepLogs {
			t.Logf("%s: %s\n%s", img.release, s.name, strings.Join(done.log, "\n"))
		}
	}
	b.table.add(img.release, "boot to power off", "", fmt.Sprintf("%.0f", time.Since(begin).Seconds()), note)
	if r.release != img.release {
		t.Errorf("the guest runs %q, want %q", r.release, img.release)
	}
	checkInstructions(t, k.series, img.release, r.results[instructionSuite].log)
}

// runHost runs the suites here, or says who does.
func (b *bench) runHost(t *testing.T) {
	release := hostRelease()
	if os.Geteuid() != 0 {
		b.table.add(release, "all", "left out", "", "needs root")
		return
	}
	for _, s := range b.suites {
		if !*onHost && s.name != instructionSuite {
			b.table.add(release, s.name, "elsewhere", "", "go test ./"+s.name+" is this kernel's")
			continue
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(b.built, binaryOf(s)), "-test.v", "-test.run", s.pattern())
		cmd.Dir, cmd.Env = filepath.Join(moduleRoot, s.name), append(os.Environ(), s.env...)
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		done := result{ran: true, code: "0", seconds: fmt.Sprintf("%.0f", time.Since(begin).Seconds()),
			log: strings.Split(string(out), "\n")}
		if err != nil {
			done.code = err.Error()
			t.Errorf("%s: %s: %v\n%s", release, s.name, err, out)
		}
		b.table.addResult(release, s.name, done)
		if s.name == instructionSuite {
			t.Logf("instructions on this machine (told, not compared: its kernel is not named in %s):\n%s",
				instructionsFile, strings.Join(countLines(done.log), "\n"))
		}
	}
}
