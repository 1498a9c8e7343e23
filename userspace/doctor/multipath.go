// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"os"
	"strconv"
	"strings"

	"github.com/spillway/spillway/config"
)

// collectMultipath asks whether this network namespace speaks Multipath TCP, and how many sockets do now.
func (f *Facts) collectMultipath() {
	f.MPTCP = line("/proc/sys/net/mptcp/enabled") == "1"
	data, err := os.ReadFile("/proc/net/protocols")
	f.MPTCPSockets = Unknown
	if err == nil {
		f.MPTCPSockets = tri(multipathSockets(string(data)) > 0)
	}
}

// multipathSockets counts the sockets of Multipath TCP in /proc/net/protocols: name, size, sockets, and more.
func multipathSockets(table string) (n int) {
	for row := range strings.Lines(table) {
		if c := strings.Fields(row); len(c) > 2 && strings.HasPrefix(c[0], "MPTCP") {
			count, _ := strconv.Atoi(c[2])
			n += count
		}
	}
	return n
}

// checkMultipath names the services behind which a ClientHello can be put together by Multipath TCP: the order of its
// bytes is then that of options (DSS, RFC 8684), and not TCP's.
func checkMultipath(f Facts) Finding {
	names := f.named(func(s Service) bool { return s.Kind == config.KindTLS && s.MPTCP != config.MPTCPStrip })
	if !f.MPTCP || names == "" {
		return Finding{}
	}
	const fix = "mptcp: strip for the service in the host file: its connections are plain TCP then; or in a Go server " +
		"GODEBUG=multipathtcp=0 or ListenConfig.SetMultipathTCP(false); or: sysctl -w net.mptcp.enabled=0"
	switch f.MPTCPSockets {
	case Yes:
		return warn("mptcp", "net.mptcp.enabled is 1 and sockets here use Multipath TCP: where a server of "+names+
			" does (Go's do by default), a client can hide its ClientHello from Spillway", fix)
	case No:
		return ok("mptcp", "net.mptcp.enabled is 1, and no socket here uses Multipath TCP now; Go's servers do by default, "+
			"and a ClientHello can hide in it (GODEBUG=multipathtcp=0, or mptcp: strip for "+names+")")
	}
	return warn("mptcp", "net.mptcp.enabled is 1: where a server of "+names+
		" uses Multipath TCP (Go's do by default), a client can hide its ClientHello from Spillway", fix)
}
