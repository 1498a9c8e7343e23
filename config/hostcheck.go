// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math/bits"
	"net/netip"
	"path/filepath"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// checkHost adds the faults that no single field shows.
func (d *reader) checkHost(h *Host) {
	d.checkInterfaces(h)
	d.checkServices(h)
	d.checkSources(h)
	d.checkGolden(h)
	d.checkCanary(h)
	d.checkHealth(h)
	d.checkReasons(h)
	d.powerOfTwo("capacity.syns", h.Capacity.Syns)
	d.powerOfTwo("capacity.hellos", h.Capacity.Hellos)
	if t := h.Guards.AgentTimeout; !t.Never() && t.Duration() <= h.Guards.Lease && !d.Bad["guards.agent_timeout"] {
		d.FaultAt(yaml.CodeRange, "guards.agent_timeout", t.String(),
			"guards.agent_timeout is not longer than guards.lease ("+shortDuration(h.Guards.Lease)+")",
			"longer than the lease, or never")
	}
	if m := h.Listen.Metrics; m != "" {
		if at, err := netip.ParseAddrPort(m); err != nil || at.Port() == 0 {
			d.FaultAt(yaml.CodeSyntax, "listen.metrics", fmt.Sprintf("%q", m), "listen.metrics is no IP address with a port",
				`127.0.0.1:9717, [::1]:9717, or "" for off`)
		}
	}
	if !d.IsSet("listen.read.socket") && filepath.IsAbs(h.Listen.Socket) {
		h.Listen.Read.Socket = filepath.Join(filepath.Dir(h.Listen.Socket), readSocketName)
		if len(h.Listen.Read.Socket) > maxSocketPath { // nobody asked for it
			h.Listen.Read.Socket = ""
		}
	}
	paths := map[string]string{"listen.socket": h.Listen.Socket, "paths.state": h.Paths.State, "paths.pins": h.Paths.Pins}
	if r := h.Listen.Read.Socket; r != "" {
		paths["listen.read.socket"] = r
		if r == h.Listen.Socket {
			d.FaultAt(yaml.CodeDuplicate, "listen.read.socket", fmt.Sprintf("%q", r), "listen.read.socket is listen.socket",
				"a socket of its own for each role")
		}
	}
	if s := h.Paths.CanarySecret; s != "" {
		paths["paths.canary_secret"] = s
	}
	for path, value := range paths {
		if (!filepath.IsAbs(value) || filepath.Clean(value) != value || value == "/") && !d.Bad[path] {
			d.FaultAt(yaml.CodeSyntax, path, fmt.Sprintf("%q", value), path+" is no absolute, clean path",
				"a path that begins with / and has no . or .. in it")
		}
	}
}

// powerOfTwo adds a fault for another number: the dataplane masks a hash to find the place.
func (d *reader) powerOfTwo(path string, n int) {
	if bits.OnesCount(uint(n)) != 1 {
		d.FaultAt(yaml.CodeRange, path, fmt.Sprint(n), path+" is no power of two",
			fmt.Sprintf("%d or %d", 1<<(bits.Len(uint(n))-1), 1<<bits.Len(uint(n))))
	}
}

func (d *reader) checkInterfaces(h *Host) {
	first := map[string]string{}
	for i, itf := range h.Interfaces {
		d.unique(first, itf.Name, fmt.Sprintf("interfaces[%d].name", i), "the interface")
	}
}

// unique adds a fault when key was there before, naming both lines. It keeps paths by key.
func (d *reader) unique(first map[string]string, key, path, what string) bool {
	if key == "" || d.Bad[path] {
		return false
	}
	if other, ok := first[key]; ok {
		d.FaultAt(yaml.CodeDuplicate, path, fmt.Sprintf("%q", key),
			fmt.Sprintf("%s %s is here a second time; the first is in line %d", what, words.Shorten(key),
				d.Where(other).Line), "each once")
		return false
	}
	first[key] = path
	return true
}

func (d *reader) checkServices(h *Host) {
	if n := len(h.Services); n > h.Capacity.Services {
		d.capacity("services", n, "services", h.Capacity.Services, "services")
	}
	first := map[string]string{}
	for i, s := range h.Services {
		path := fmt.Sprintf("services[%d]", i)
		d.unique(first, s.Name, path+".name", "the service")
		if s.Name == DefaultPolicy {
			d.FaultAt(yaml.CodeReserved, path+".name", `"default"`, "the name default stands for the policy of all services",
				"another name")
		}
		d.checkAddresses(s, path+".addresses")
		if s.ProxyProtocol && s.Kind != KindTLS && s.Kind != "" {
			d.FaultAt(yaml.CodeRange, path+".proxy_protocol", "true",
				fmt.Sprintf("the service %s is %s, and a PROXY header is stepped over to read a ClientHello", s.Name, s.Kind),
				"proxy_protocol on services of kind tls")
		}
		if s.MaxVerdict.Rank() == MaxReset.Rank() {
			h.Services[i].MaxVerdict = MaxReset
		}
		if s.MPTCP != MPTCPStrip {
			h.Services[i].MPTCP = MPTCPPass
		} else if s.Protocol() != protocolTCP {
			d.FaultAt(yaml.CodeReference, path+".mptcp", string(s.MPTCP),
				fmt.Sprintf("the service %s is %s, and only TCP has Multipath TCP", s.Name,
					s.Kind), "mptcp: strip for tls, http and tcp services")
		}
		for j, other := range h.Services[:i] {
			if s.Port == other.Port && s.Port != 0 && s.Protocol() == other.Protocol() && overlap(s, other) {
				d.FaultAt(yaml.CodeDuplicate, path+".port", fmt.Sprint(s.Port),
					fmt.Sprintf("the service %s has the addresses and the port of %s in line %d", s.Name, other.Name,
						d.Where(fmt.Sprintf("services[%d]", j)).Line),
					"each address and port in one service")
			}
		}
	}
}

func (d *reader) checkAddresses(s Service, path string) {
	first := map[string]string{}
	for i, a := range s.Addresses {
		p := fmt.Sprintf("%s[%d]", path, i)
		d.unique(first, a.String(), p, "the address")
		if a.Any() && len(s.Addresses) > 1 && !d.Bad[p] {
			d.FaultAt(yaml.CodeDuplicate, p, "any", "any holds all other addresses", "any alone, or addresses")
		}
	}
}

// overlap reports whether two services share an address.
func overlap(a, b Service) bool {
	for _, x := range a.Addresses {
		for _, y := range b.Addresses {
			if x.Any() || y.Any() || x.IP == y.IP {
				return true
			}
		}
	}
	return false
}

func (d *reader) checkReasons(h *Host) {
	first := map[string]string{}
	for i, name := range h.AcceptReasons {
		d.unique(first, name, fmt.Sprintf("accept_reasons[%d]", i), "the reason")
	}
}

// capacity adds the fault with both numbers.
func (d *reader) capacity(path string, count int, what string, room int, name string) {
	d.FaultAt(yaml.CodeCapacity, path, fmt.Sprintf("%d %s", count, what), fmt.Sprintf("%d %s, capacity %d", count, what,
		room),
		fmt.Sprintf("at most %d (capacity.%s in the host file)", room, name))
}
