// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Version returns the first two numbers of the running kernel.
func Version() (major, minor int, err error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return 0, 0, fmt.Errorf("read the kernel's version: %w", err)
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		return 0, 0, fmt.Errorf("read the kernel's version: %w", err)
	}
	return major, minor, nil
}

// IsRealtime reports whether the kernel is one with PREEMPT_RT; its version says so.
func IsRealtime() bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && strings.Contains(unix.ByteSliceToString(u.Version[:]), "PREEMPT_RT")
}
