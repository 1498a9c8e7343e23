// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// ethtoolRequest is struct ifreq of linux/if.h with ifr_data in its union, which
// is 24 bytes long on 64-bit machines.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// disableTxChecksum makes the link's kernel compute whole checksums, which is
// what `ethtool -K NAME tx off` does, and checks that the driver obeyed. The
// calling thread must be in the link's namespace.
func disableTxChecksum(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open ethtool socket: %w", err)
	}
	defer unix.Close(fd)
	v := ethtoolValue{cmd: unix.ETHTOOL_STXCSUM}
	if err := ethtool(fd, name, &v); err != nil {
		return fmt.Errorf("turn off tx checksum offload of %s: %w", name, err)
	}
	v = ethtoolValue{cmd: unix.ETHTOOL_GTXCSUM}
	if err := ethtool(fd, name, &v); err != nil {
		return fmt.Errorf("read tx checksum offload of %s: %w", name, err)
	}
	if v.data != 0 {
		return fmt.Errorf("turn off tx checksum offload of %s: it stays on", name)
	}
	return nil
}

func ethtool(fd int, name string, v *ethtoolValue) error {
	req := ethtoolRequest{data: unsafe.Pointer(v)}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL,
		uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(v)
	if errno != 0 {
		return errno
	}
	return nil
}
