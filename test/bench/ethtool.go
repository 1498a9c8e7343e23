// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of linux/ethtool.h.
const (
	stringsOfStats = 1  // ETH_SS_STATS
	stringLen      = 32 // ETH_GSTRING_LEN
)

// deviceStats asks the driver what `ethtool -S` shows. The calling thread must be in the device's namespace.
func deviceStats(device string) (map[string]uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket for ethtool: %w", err)
	}
	defer unix.Close(fd)
	native := binary.NativeEndian

	info := make([]byte, 20) // ethtool_sset_info: cmd, reserved, mask, one length
	native.PutUint32(info, unix.ETHTOOL_GSSET_INFO)
	native.PutUint64(info[8:], 1<<stringsOfStats)
	if err := ethtool(fd, device, info); err != nil {
		return nil, fmt.Errorf("count the statistics of %s: %w", device, err)
	}
	n := int(native.Uint32(info[16:]))

	names := make([]byte, 12+n*stringLen) // ethtool_gstrings: cmd, set, length, strings
	native.PutUint32(names, unix.ETHTOOL_GSTRINGS)
	native.PutUint32(names[4:], stringsOfStats)
	native.PutUint32(names[8:], uint32(n))
	if err := ethtool(fd, device, names); err != nil {
		return nil, fmt.Errorf("name the statistics of %s: %w", device, err)
	}
	values := make([]byte, 8+n*8) // ethtool_stats: cmd, number, values
	native.PutUint32(values, unix.ETHTOOL_GSTATS)
	native.PutUint32(values[4:], uint32(n))
	if err := ethtool(fd, device, values); err != nil {
		return nil, fmt.Errorf("read the statistics of %s: %w", device, err)
	}
	stats := make(map[string]uint64, n)
	for i := range n {
		name, _, _ := strings.Cut(string(names[12+i*stringLen:][:stringLen]), "\x00")
		stats[name] = native.Uint64(values[8+i*8:])
	}
	return stats, nil
}

func ethtool(fd int, device string, buffer []byte) error {
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&buffer[0])}
	copy(request.name[:unix.IFNAMSIZ-1], device)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(buffer)
	if errno != 0 {
		return errno
	}
	return nil
}

// received returns what a veth device's XDP program has seen and dropped, over all queues.
func received(device string) (packets, drops uint64, err error) {
	stats, err := deviceStats(device)
	if err != nil {
		return 0, 0, err
	}
	for name, n := range stats {
		switch {
		case !strings.HasPrefix(name, "rx_queue_"):
		case strings.HasSuffix(name, "_xdp_packets"):
			packets += n
		case strings.HasSuffix(name, "_xdp_drops"), strings.HasSuffix(name, "_drops"):
			drops += n
		}
	}
	return packets, drops, nil
}
