// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
)

// Rule sends TCP connections elsewhere.
type Rule struct {
	// By is what does it: nftables, iptables (a rule of iptables in nftables), docker-proxy or IPVS.
	By string
	// From and To are the ports, both included.
	From, To uint16
	// Address is the one that connections are for; the zero Addr is any.
	Address netip.Addr
	// Where says where the rule is, for a person.
	Where string
}

// Ports are printed as a person writes them.
func (r Rule) Ports() string {
	switch {
	case r.From == 0 && r.To == 65535:
		return "every port"
	case r.From == r.To:
		return fmt.Sprintf("port %d", r.From)
	}
	return fmt.Sprintf("ports %d to %d", r.From, r.To)
}

// Hits reports whether the rule meets connections to a port and one of the addresses; none stands for all of the host's
// own.
func (r Rule) Hits(port uint16, addresses, own []netip.Addr) bool {
	if port < r.From || port > r.To {
		return false
	}
	if !r.Address.IsValid() {
		return true
	}
	if len(addresses) == 0 {
		addresses = own
	}
	return slices.Contains(addresses, r.Address)
}

// Found is what a host was found to do.
type Found struct {
	Rules []Rule
	// Notes say what may forward besides, and was not read.
	Notes []string
	// Own are the host's addresses.
	Own []netip.Addr
}

// Hitting returns the rules that meet connections to a port and one of the addresses; none stands for all.
func (f *Found) Hitting(port uint16, addresses []netip.Addr) []Rule {
	if f == nil {
		return nil
	}
	var all []Rule
	for _, r := range f.Rules {
		if r.Hits(port, addresses, f.Own) {
			all = append(all, r)
		}
	}
	return all
}

// Look finds what forwards in this network namespace. proc looks like /proc.
func Look(proc fs.FS) *Found {
	f := &Found{Own: ownAddresses()}
	rules, err := netfilter()
	if err != nil {
		f.Notes = append(f.Notes, fmt.Sprintf("the rules of nftables cannot be read: %v", err))
	}
	f.Rules = append(rules, ipvs(proc)...)
	f.processes(proc)
	f.legacy(proc)
	return f
}
