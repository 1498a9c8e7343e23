// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// architecture is whose numbers of system calls count; 0: none are known, and a child refuses to run.
var architecture = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
