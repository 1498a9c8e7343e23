// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// architecture is whose numbers of system calls count; 0: none are known, and a child refuses to run.
var architecture = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]

// refusedHere are refused calls by their older names, which arm64 does not have: open, rename, mkdir, rmdir, creat,
// link, unlink, symlink, chmod, chown, lchown, mknod (arch/x86/entry/syscalls/syscall_64.tbl).
var refusedHere = map[string][]uint32{"amd64": {2, 82, 83, 84, 85, 86, 87, 88, 90, 92, 94, 133}}[runtime.GOARCH]
