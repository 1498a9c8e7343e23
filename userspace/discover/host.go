// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/forward"
)

// Source is where a host is looked at.
type Source struct {
	// Proc looks like /proc.
	Proc fs.FS
	// SSHConnection is the environment variable SSH_CONNECTION; empty when there is none.
	SSHConnection string
	// Forwards is what sends connections elsewhere; nil when nobody looked.
	Forwards *forward.Found
}

// Host is what was found.
type Host struct {
	Services []config.ServiceFact
	// LeftOut are reachable ports that are no services, with the reason.
	LeftOut []Listener
	// SSHPeers are connected by SSH right now.
	SSHPeers []netip.Addr
	// Routes are the default routes with their gateways.
	Routes []Route
	// Notes say what may forward connections, and could not be read.
	Notes []string
}

// Look reads the host. It fails only when the socket tables cannot be read.
func Look(src Source) (*Host, error) {
	sockets, err := Sockets(src.Proc)
	if err != nil {
		return nil, fmt.Errorf("look for services: %w", err)
	}
	owners := Owners(src.Proc)
	ssh := sshPorts(sockets, owners, src.SSHConnection)
	ephemeral := EphemeralPorts(src.Proc)
	h := &Host{SSHPeers: sshPeers(sockets, ssh, src.SSHConnection), Routes: DefaultRoutes(src.Proc)}
	room := config.DefaultHost().Capacity.Services
	for _, l := range listeners(sockets, owners) {
		l.Why = l.judge(ssh, ephemeral)
		if l.Why == "" && len(h.Services) == room {
			l.Why = fmt.Sprintf("the host file has room for %d services (capacity.services)", room)
		}
		if l.Why != "" {
			h.LeftOut = append(h.LeftOut, l)
			continue
		}
		h.Services = append(h.Services, src.forwarded(l))
	}
	h.addForwarded(src.Forwards, ssh, room)
	return h, nil
}

// HostFacts is what the host file of this host should say when Spillway attaches to the interface. A host file needs a
// service: when nothing listens yet, it is a TLS service on port 443, and its note says so.
func (h *Host) HostFacts(iface config.Interface) config.HostFacts {
	facts := config.HostFacts{Interfaces: []config.Interface{iface}, Services: h.Services}
	if len(facts.Services) == 0 {
		facts.Services = []config.ServiceFact{{
			Service: config.Service{Name: "web", Port: 443, Kind: config.KindTLS, Local: true},
			Note:    "nothing listens here yet: change it to what you serve",
		}}
	}
	seen := map[netip.Addr]bool{}
	allow := func(a netip.Addr, note string) {
		if !seen[a] {
			seen[a] = true
			facts.Allowlist = append(facts.Allowlist, config.AllowEntry{Prefix: netip.PrefixFrom(a, a.BitLen()), Note: note})
		}
	}
	for _, a := range h.SSHPeers {
		allow(a, "connected by SSH when this file was written")
	}
	for _, r := range h.Routes {
		allow(r.Gateway.WithZone(""), "default gateway of "+r.Interface)
	}
	return facts
}
