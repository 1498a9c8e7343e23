// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// giveUp leaves this process CAP_BPF alone, for good, and a filter of system calls that lets it make and fill maps, pin
// them, and run programs that it has: it can neither load nor attach any, nor open what is pinned. All threads lose
// them, which a build with cgo cannot do.
func giveUp() error {
	if err := drop(); err != nil {
		return err
	}
	return filter()
}

func drop() error {
	if err := threads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("give up rights: %w", err)
	}
	// Only who has CAP_SETPCAP, root, has a bounding set that says more than the unit's.
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := threads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); err != nil && !errors.Is(err, unix.EPERM) &&
			!errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("give up rights: %w", err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	data[unix.CAP_BPF/32].Permitted = 1 << (unix.CAP_BPF % 32)
	data[unix.CAP_BPF/32].Effective = data[unix.CAP_BPF/32].Permitted
	// What is not inheritable is not ambient either.
	err := threads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if err != nil {
		return fmt.Errorf("give up rights: %w", err)
	}
	return nil
}

// Possible reports whether a child of this program can give up its rights. It asks once: every thread stops for that.
var Possible = sync.OnceValue(func() bool { return threads(unix.SYS_GETPPID, 0, 0, 0) == nil && architecture != 0 })

// threads makes a system call in every thread of this process.
func threads(call, a, b, c uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(call, a, b, c, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
