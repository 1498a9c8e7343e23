// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"encoding/hex"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Route is a default route.
type Route struct {
	Interface string
	Gateway   netip.Addr
}

// DefaultRoutes returns the default routes that have a gateway, IPv4 first. It reads what the kernel shows, and
// returns none when it shows nothing.
func DefaultRoutes(proc fs.FS) []Route {
	return append(defaultRoutes4(proc), defaultRoutes6(proc)...)
}

// Columns of /proc/net/route: Iface Destination Gateway Flags RefCnt Use Metric Mask …
func defaultRoutes4(proc fs.FS) []Route {
	var routes []Route
	for _, f := range fields(proc, "net/route") {
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		gw, err := hex.DecodeString(f[2])
		if err != nil || len(gw) != 4 {
			continue
		}
		slices.Reverse(gw)
		if a, _ := netip.AddrFromSlice(gw); !a.IsUnspecified() {
			routes = append(routes, Route{f[0], a})
		}
	}
	return routes
}

// Columns of /proc/net/ipv6_route: destination, length, source, length, next hop, metric, references, uses, flags,
// device. Bytes are in network order here. RTF_REJECT routes to lo are no gateways; their next hop is unspecified.
func defaultRoutes6(proc fs.FS) []Route {
	var routes []Route
	for _, f := range fields(proc, "net/ipv6_route") {
		if len(f) < 10 || f[0] != strings.Repeat("0", 32) || f[1] != "00" {
			continue
		}
		gw, err := hex.DecodeString(f[4])
		if err != nil || len(gw) != 16 {
			continue
		}
		if a, _ := netip.AddrFromSlice(gw); !a.IsUnspecified() {
			routes = append(routes, Route{f[9], a})
		}
	}
	return routes
}

// EphemeralPorts returns the first port that the kernel gives to outgoing connections.
func EphemeralPorts(proc fs.FS) uint16 {
	const usual = 32768 // Documentation/networking/ip-sysctl.rst, ip_local_port_range
	for _, f := range fields(proc, "sys/net/ipv4/ip_local_port_range") {
		if n, err := strconv.ParseUint(f[0], 10, 16); err == nil {
			return uint16(n)
		}
	}
	return usual
}

func fields(proc fs.FS, name string) [][]string {
	data, err := fs.ReadFile(proc, name)
	if err != nil {
		return nil
	}
	var rows [][]string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 0 {
			rows = append(rows, f)
		}
	}
	return rows
}
