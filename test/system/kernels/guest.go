// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// guestTime bounds one guest; emulated, on a machine that is busy with other tests, it needs less than half of it.
const guestTime = 26 * time.Minute

// result is what one suite made of one kernel.
type result struct {
	ran     bool
	code    string // exit code of the test binary
	seconds string
	log     []string
}

func (r result) passed() bool { return r.ran && r.code == "0" }

// leftOut returns the tests that the suite skipped, each with its reason where it gave one.
func (r result) leftOut() []string {
	var out []string
	for i, line := range r.log {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- SKIP: ")
		if !ok {
			continue
		}
		if why := i - 1; why >= 0 && strings.Contains(r.log[why], "left out") {
			name += ": " + strings.TrimSpace(r.log[why])
		}
		out = append(out, name)
	}
	return out
}

// report is what one guest said.
type report struct {
	release string
	results map[string]result
	ended   bool // init reached its last line
	tail    []string
}

// boot runs a guest until it powers off, and reads its serial line.
func boot(ctx context.Context, img image, initramfs string) (report, error) {
	ctx, cancel := context.WithTimeout(ctx, guestTime)
	defer cancel()
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg,thread=single", "-cpu", "max", "-m", "1024", "-smp", "2", "-nodefaults", "-nographic",
		"-serial", "stdio", "-no-reboot", "-kernel", img.vmlinuz, "-initrd", initramfs,
		"-append", "console=ttyS0 panic=-1 quiet rdinit=/init mitigations=off nokaslr")
	// A test that dies by its time-out, which no deferred function sees, takes its guest along. The kernel watches the
	// thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	serial, err := qemu.StdoutPipe()
	if err != nil {
		return report{}, err
	}
	var complaints strings.Builder
	qemu.Stderr = &complaints
	if err := qemu.Start(); err != nil {
		return report{}, fmt.Errorf("start the guest: %w", err)
	}
	r := read(serial)
	err = qemu.Wait()
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("the guest did not end within %s", guestTime)
	case err != nil:
		return r, fmt.Errorf("run the guest: %w: %s", err, complaints.String())
	case !r.ended:
		return r, fmt.Errorf("the guest stopped before its end")
	}
	return r, nil
}

// read sorts the serial line by suite.
func read(serial io.Reader) report {
	r := report{results: map[string]result{}}
	current := ""
	lines := bufio.NewScanner(serial)
	lines.Buffer(make([]byte, 1<<16), 1<<22)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if r.tail = append(r.tail, line); len(r.tail) > 60 {
			r.tail = slices.Delete(r.tail, 0, 1)
		}
		switch {
		case strings.HasPrefix(line, markKernel):
			r.release = strings.TrimPrefix(line, markKernel)
		case strings.HasPrefix(line, markSuite):
			current = strings.TrimPrefix(line, markSuite)
		case strings.HasPrefix(line, markExit):
			if f := strings.Fields(line); len(f) == 4 {
				done := r.results[f[1]]
				done.ran, done.code, done.seconds = true, f[2], f[3]
				r.results[f[1]] = done
			}
			current = ""
		case line == markEnd:
			r.ended = true
		case current != "":
			done := r.results[current]
			done.log = append(done.log, line)
			r.results[current] = done
		}
	}
	return r
}
