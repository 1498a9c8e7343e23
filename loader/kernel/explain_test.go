// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// needRights skips what a process without rights would be told otherwise.
func needRights(t *testing.T) {
	t.Helper()
	if missing := MissingCapabilities(); len(missing) > 0 {
		if os.Getenv("CI") != "" {
			t.Fatalf("this test wants the rights to load programs; missing: %v", missing)
		}
		t.Skipf("left out: loading programs needs %v", missing)
	}
}

// The library guesses at RLIMIT_MEMLOCK and at an old kernel; neither is the matter on a kernel that runs Spillway.
func TestExplainNamesTheCause(t *testing.T) {
	needRights(t)
	refused := Explain("create rules",
		fmt.Errorf("map create: %w (MEMLOCK may be too low, consider rlimit.RemoveMemlock)", unix.EPERM))
	if !errors.Is(refused, ErrPermission) || strings.Contains(refused.Error(), "MEMLOCK") ||
		!strings.Contains(refused.Error(), "lockdown") {
		t.Errorf("EPERM: %v", refused)
	}
	probe := Explain("fill rules", fmt.Errorf("map batch api: %w", ebpf.ErrNotSupported))
	if !errors.Is(probe, ErrUnsupported) || !strings.Contains(probe.Error(), "short of memory") ||
		strings.Contains(probe.Error(), "6.1 or newer is needed") {
		t.Errorf("a probe that was refused: %v", probe)
	}
	if err := Explain("read", nil); err != nil {
		t.Errorf("no error: %v", err)
	}
}

// The log of a refusal may have thousands of lines: the message has the last one, and VerifierLog all of them.
func TestVerifierLogIsNotTheMessage(t *testing.T) {
	needRights(t)
	verifier := &ebpf.VerifierError{Cause: unix.EACCES,
		Log: []string{"0: first line", "1: second line", "2: R1 is not a pointer"}}
	refused := Explain("load the dataplane", verifier)
	if text := refused.Error(); strings.Contains(text, "first line") || strings.Contains(text, "\n") ||
		!strings.Contains(text, "R1 is not a pointer") {
		t.Errorf("message %q", text)
	}
	if log := VerifierLog(refused); !strings.Contains(log, "first line") || !strings.Contains(log, "second line") {
		t.Errorf("log %q", log)
	}
	if log := VerifierLog(unix.EACCES); log != "" {
		t.Errorf("log of another error: %q", log)
	}
}
