// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h, ethtoolRequest struct ifreq of linux/if.h around it.
type (
	ethtoolValue   struct{ cmd, data uint32 }
	ethtoolRequest struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
)

// receiveAnswers lets a veth receive what a program at its other end sends back (XDP_TX): the kernel gives it the queue
// that it needs only together with GRO. The calling thread must be in the link's namespace.
func receiveAnswers(link string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open ethtool socket: %w", err)
	}
	defer unix.Close(fd)
	v := ethtoolValue{cmd: unix.ETHTOOL_SGRO, data: 1}
	req := ethtoolRequest{data: unsafe.Pointer(&v)}
	copy(req.name[:unix.IFNAMSIZ-1], link)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(&v)
	if errno != 0 {
		return fmt.Errorf("turn on GRO of %s: %w", link, errno)
	}
	return nil
}
