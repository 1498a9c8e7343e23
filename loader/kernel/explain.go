// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What callers can tell apart with errors.Is, and every room below loader says.
var (
	// ErrNotPinned: there is no pinned state, so nothing of Spillway runs here.
	ErrNotPinned = errors.New("nothing is pinned")
	// ErrForeignABI: the pinned state was made by a version whose maps this one cannot read.
	ErrForeignABI = errors.New("pinned state of another ABI")
	// ErrUnsupported: the kernel lacks something.
	ErrUnsupported = errors.New("not supported by this kernel")
	// ErrPermission: a capability is missing.
	ErrPermission = errors.New("permission denied")
)

// Explain turns what the kernel says into what a person can act on. The kernel answers EPERM for a missing capability,
// and the library then guesses at RLIMIT_MEMLOCK, which has not mattered since Linux 5.11.
func Explain(what string, err error) error {
	if err == nil {
		return nil
	}
	var verifier *ebpf.VerifierError
	refused := errors.As(err, &verifier)
	denied := errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, fs.ErrPermission)
	unsupported := errors.Is(err, ebpf.ErrNotSupported)
	missing := MissingCapabilities()
	switch {
	case (refused || denied || unsupported) && len(missing) > 0:
		// without CAP_PERFMON the verifier refuses, by one reason or another
		return fmt.Errorf("%s: %w: missing %s", what, ErrPermission, strings.Join(missing, ", "))
	case refused:
		return fmt.Errorf("%s: the verifier refused the program: %w", what, err)
	case errors.Is(err, unix.EACCES) && os.Geteuid() != 0: // a file's answer; the kernel's about a right is EPERM
		return fmt.Errorf("%s: %w: it is another user's: as root, `spillway prepare` gives the pins to the agent's user (%v)",
			what, ErrPermission, RootCause(err))
	case denied:
		return fmt.Errorf(
			"%s: %w: all capabilities are held, so a lockdown mode, an LSM or a container's seccomp profile refuses it (%v)",
			what, ErrPermission, RootCause(err))
	case unsupported:
		return fmt.Errorf("%s: %w: %s (%v)", what, ErrUnsupported, lacking(), err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// VerifierLog returns what the verifier said, line by line, when an error is its refusal; "" otherwise. It may be
// thousands of lines: the error itself has only the last.
func VerifierLog(err error) string {
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) {
		return ""
	}
	return fmt.Sprintf("%+v", verifier)
}

// kernelTypes is where the kernel shows its type information.
const kernelTypes = "/sys/kernel/btf/vmlinux"

// lacking says why a kernel may be without a feature. The library finds out by trying, so a kernel that is short of
// memory or locked down looks as if it were old.
func lacking() string {
	if major, minor, err := Version(); err == nil && (major < 6 || major == 6 && minor < 1) {
		return fmt.Sprintf("it is %d.%d, and 6.1 or newer is needed", major, minor)
	}
	if _, err := os.Stat(kernelTypes); err != nil {
		return "it shows no type information (" + kernelTypes +
			"): one built with CONFIG_DEBUG_INFO_BTF=y is needed, as distributions' are"
	}
	return "it is new enough, so it is short of memory, or a lockdown mode, an LSM or a container's seccomp profile refuses"
}

func RootCause(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
