// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// sshPorts returns the ports that SSH answers on: 22, what a process named sshd listens on, and the server's port of
// SSH_CONNECTION ("client port server port"), which also finds a socket-activated one.
func sshPorts(sockets []Socket, owners map[uint64]string, connection string) map[uint16]bool {
	ports := map[uint16]bool{22: true}
	for _, s := range sockets {
		if s.State == StateListen && !s.UDP && strings.HasPrefix(owners[s.Inode], "sshd") {
			ports[s.Local.Port()] = true
		}
	}
	if f := strings.Fields(connection); len(f) == 4 {
		if n, err := strconv.ParseUint(f[3], 10, 16); err == nil {
			ports[uint16(n)] = true
		}
	}
	return ports
}

// sshPeers returns who is connected by SSH right now, the caller's own connection first: sudo drops SSH_CONNECTION, so
// the established connections count as well.
func sshPeers(sockets []Socket, ports map[uint16]bool, connection string) []netip.Addr {
	var peers []netip.Addr
	add := func(a netip.Addr) {
		a = a.Unmap().WithZone("")
		if a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() && !slices.Contains(peers, a) {
			peers = append(peers, a)
		}
	}
	if f := strings.Fields(connection); len(f) == 4 {
		if a, err := netip.ParseAddr(f[0]); err == nil {
			add(a)
		}
	}
	for _, s := range sockets {
		if !s.UDP && s.State == StateEstablished && ports[s.Local.Port()] {
			add(s.Remote.Addr())
		}
	}
	return peers
}
