// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolFlagLRO is ETH_FLAG_LRO of linux/ethtool.h, in what ETHTOOL_GFLAGS returns.
const ethtoolFlagLRO = 1 << 15

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// ifreq is struct ifreq of linux/if.h with ifr_data in its union of 24 bytes.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// lro says whether large receive offload is on; unknown when the driver does not answer.
func lro(name string) Tri {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Unknown
	}
	defer unix.Close(fd)
	v := &ethtoolValue{cmd: unix.ETHTOOL_GFLAGS}
	req := ifreq{data: unsafe.Pointer(v)}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(v)
	if errno != 0 {
		return Unknown
	}
	return tri(v.data&ethtoolFlagLRO != 0)
}
