// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The library guesses at RLIMIT_MEMLOCK and at an old kernel; neither is the matter on a kernel that runs Spillway.
func TestExplainNamesTheCause(t *testing.T) {
	needKernel(t) // a kernel that is new enough, and root
	refused := explain("create rules", fmt.Errorf("map create: %w (MEMLOCK may be too low, consider rlimit.RemoveMemlock)", unix.EPERM))
	if !errors.Is(refused, ErrPermission) || strings.Contains(refused.Error(), "MEMLOCK") || !strings.Contains(refused.Error(), "lockdown") {
		t.Errorf("EPERM: %v", refused)
	}
	probe := explain("fill rules", fmt.Errorf("map batch api: %w", ebpf.ErrNotSupported))
	if !errors.Is(probe, ErrUnsupported) || !strings.Contains(probe.Error(), "short of memory") || strings.Contains(probe.Error(), "6.1 or newer is needed") {
		t.Errorf("a probe that was refused: %v", probe)
	}
	if err := explain("read", nil); err != nil {
		t.Errorf("no error: %v", err)
	}
}

// The log of a refusal may have thousands of lines: the message has the last one, and VerifierLog all of them.
func TestVerifierLogIsNotTheMessage(t *testing.T) {
	needKernel(t)
	verifier := &ebpf.VerifierError{Cause: unix.EACCES, Log: []string{"0: first line", "1: second line", "2: R1 is not a pointer"}}
	refused := explain("load the dataplane", verifier)
	if text := refused.Error(); strings.Contains(text, "first line") || strings.Contains(text, "\n") || !strings.Contains(text, "R1 is not a pointer") {
		t.Errorf("message %q", text)
	}
	if log := VerifierLog(refused); !strings.Contains(log, "first line") || !strings.Contains(log, "second line") {
		t.Errorf("log %q", log)
	}
	if log := VerifierLog(unix.EACCES); log != "" {
		t.Errorf("log of another error: %q", log)
	}
}
