// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Listener is a port of this host that others can reach.
type Listener struct {
	UDP  bool
	Port uint16
	// Addresses are empty when the listener accepts on all of them.
	Addresses []netip.Addr
	// Process is empty when it cannot be told.
	Process string
	// Why says why the port is no service, for a person; empty when it is one.
	Why string
}

// listeners merges the listening sockets by protocol and port. Loopback is left out: no interface of Spillway sees it.
func listeners(sockets []Socket, owners map[uint64]string) []Listener {
	var all []Listener
	for _, s := range sockets {
		listens := s.State == StateListen
		if s.UDP {
			listens = s.State == StateClose && s.Remote.Port() == 0
		}
		if !listens || s.Local.Addr().IsLoopback() || s.Local.Port() == 0 {
			continue
		}
		i := slices.IndexFunc(all, func(l Listener) bool { return l.UDP == s.UDP && l.Port == s.Local.Port() })
		if i < 0 {
			all = append(all, Listener{UDP: s.UDP, Port: s.Local.Port(), Addresses: []netip.Addr{}})
			i = len(all) - 1
		}
		all[i].merge(s.Local.Addr(), owners[s.Inode])
	}
	for i := range all {
		slices.SortFunc(all[i].Addresses, netip.Addr.Compare)
	}
	slices.SortFunc(all, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Port, b.Port), cmp.Compare(proto(a.UDP), proto(b.UDP)))
	})
	return all
}

// merge adds one address. A wildcard, of either family, makes it "any" for good (nil, not empty).
func (l *Listener) merge(a netip.Addr, process string) {
	if l.Process == "" {
		l.Process = process
	}
	switch {
	case a.IsUnspecified():
		l.Addresses = nil
	case l.Addresses != nil && !slices.Contains(l.Addresses, a.WithZone("")):
		l.Addresses = append(l.Addresses, a.WithZone(""))
	}
}

// judge says why a listener is no service that visitors use. TCP listeners are services unless they are the
// operator's way in or speak to neighbours only. UDP sockets mostly are clients waiting for answers, so a UDP port
// counts only when visitors are known to use it.
func (l Listener) judge(ssh map[uint16]bool, ephemeral uint16) string {
	linkLocal := l.Addresses != nil && !slices.ContainsFunc(l.Addresses, func(a netip.Addr) bool {
		return !a.IsLinkLocalUnicast() && !a.IsMulticast()
	})
	switch {
	case !l.UDP && ssh[l.Port], strings.HasPrefix(l.Process, "sshd"):
		return "SSH is never a service: a mistake must not lock you out"
	case linkLocal:
		return "it answers neighbours only"
	case !l.UDP && (l.Port == 5355 || l.Port == 111):
		return "it answers neighbours only"
	case l.UDP && kindOf(l) == "":
		return "a UDP port that visitors seldom use"
	case l.Port >= ephemeral && kindOf(l) == "tcp":
		return "a port from the range of outgoing connections"
	}
	return ""
}

// String returns the port as 443/tcp, and who listens there.
func (l Listener) String() string {
	s := fmt.Sprintf("%d/%s", l.Port, proto(l.UDP))
	if l.Process != "" {
		s += " (" + l.Process + ")"
	}
	return s
}

func proto(udp bool) string {
	if udp {
		return "udp"
	}
	return "tcp"
}
