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
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	update   = flag.Bool("update", false, "write what the verifiers count to bpf/instructions.txt")
	onHost   = flag.Bool("host", false, "run the suites on this machine's kernel too")
	keepLogs = flag.Bool("logs", false, "print what every suite said")
)

// leaveOut ends a test that this machine cannot run: visibly, and as a failure in CI.
func leaveOut(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
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
	t.lines = append(t.lines, strings.TrimRight(fmt.Sprintf("%-26s %-28s %-9s %5s  %s", kernel, suite, verdict, seconds, note), " "))
}

func (t *table) String() string {
	head := fmt.Sprintf("%-26s %-28s %-9s %5s  %s", "KERNEL", "SUITE", "VERDICT", "SEC", "NOTE")
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
	if os.Getenv("SPILLWAY_KERNELS") == "" {
		t.Skip("left out: `make kernels` downloads two kernels and boots them, which takes minutes")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("left out: the guests are amd64, and emulating another architecture takes many minutes")
	}
	tools := map[string]string{}
	for tool, pkg := range map[string]string{"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static",
		"apt-get": "apt", "apt-cache": "apt", "dpkg-deb": "dpkg"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			leaveOut(t, "%s is missing: apt-get install %s", tool, pkg)
		}
		tools[tool] = path
	}
	built := t.TempDir()
	build(t, built)
	var all table
	t.Run("guests", func(t *testing.T) {
		for _, k := range series {
			t.Run(k.series, func(t *testing.T) {
				t.Parallel()
				runGuest(t, k, built, tools["busybox"], &all)
			})
		}
	})
	runHost(t, built, &all)
	t.Logf("\n%s", &all)
}

// build compiles the suites into static binaries.
func build(t *testing.T, into string) {
	t.Helper()
	for _, s := range suites {
		cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(into, binaryOf(s)), "./"+s.name)
		cmd.Dir, cmd.Env = moduleRoot, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", s.name, err, out)
		}
	}
}

func runGuest(t *testing.T, k kernel, built, busybox string, all *table) {
	img, err := k.fetch(t.Context(), filepath.Join(moduleRoot, ".cache", "kernels"))
	if missing := (unavailable{}); asUnavailable(err, &missing) {
		all.add(k.series, "all", "left out", "", missing.reason)
		leaveOut(t, "no kernel %s: %s", k.series, missing.reason)
	}
	if err != nil {
		t.Fatal(err)
	}
	initramfs := filepath.Join(t.TempDir(), "initramfs.cpio")
	if err := writeInitramfs(initramfs, moduleRoot, built, busybox, img, suites); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begin := time.Now()
	r, err := boot(ctx, img, initramfs)
	if err != nil {
		t.Errorf("%s: %v; its last words:\n%s", img.release, err, strings.Join(r.tail, "\n"))
	}
	for _, s := range suites {
		done := r.results[s.name]
		all.addResult(img.release, s.name, done)
		if !done.passed() {
			t.Errorf("%s: %s: exit code %q\n%s", img.release, s.name, done.code, strings.Join(done.log, "\n"))
		} else if *keepLogs {
			t.Logf("%s: %s\n%s", img.release, s.name, strings.Join(done.log, "\n"))
		}
	}
	all.add(img.release, "boot to power off", "", fmt.Sprintf("%.0f", time.Since(begin).Seconds()), "")
	if r.release != img.release {
		t.Errorf("the guest runs %q, want %q", r.release, img.release)
	}
	checkInstructions(t, k.series, img.release, r.results[instructionSuite].log)
}

// runHost runs the suites here, or says who does.
func runHost(t *testing.T, built string, all *table) {
	release := hostRelease()
	if os.Geteuid() != 0 {
		all.add(release, "all", "left out", "", "needs root")
		return
	}
	for _, s := range suites {
		if !*onHost && s.name != instructionSuite {
			all.add(release, s.name, "left out", "", "go test ./... runs it; make kernels too")
			continue
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(built, binaryOf(s)), append([]string{"-test.v"}, s.args...)...)
		cmd.Dir, cmd.Env = filepath.Join(moduleRoot, s.name), append(os.Environ(), s.env...)
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		done := result{ran: true, code: "0", seconds: fmt.Sprintf("%.0f", time.Since(begin).Seconds()), log: strings.Split(string(out), "\n")}
		if err != nil {
			done.code = err.Error()
			t.Errorf("%s: %s: %v\n%s", release, s.name, err, out)
		}
		all.addResult(release, s.name, done)
		if s.name == instructionSuite {
			t.Logf("instructions on this machine (told, not compared: its kernel is not named in %s):\n%s",
				instructionsFile, strings.Join(countLines(done.log), "\n"))
		}
	}
}
