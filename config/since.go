// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"reflect"
	"slices"
)

// HostMember is the name under which a set has the change of the host file that it was compiled for. No bundle can
// have it: their names have no blank.
const HostMember = "host file"

// Inspection is what of a host file decides, beside the bundles, who can be blocked.
type Inspection struct {
	Interfaces []string       `json:"interfaces,omitempty"`
	Services   []Service      `json:"services,omitempty"`
	Sources    []netip.Prefix `json:"sources,omitempty"` // protected
	Reasons    []string       `json:"reasons,omitempty"` // accepted
}

// Inspection returns that of a host file.
func (h *Host) Inspection() Inspection {
	in := Inspection{Services: h.Services, Reasons: slices.Sorted(slices.Values(h.AcceptReasons))}
	for _, i := range h.Interfaces {
		in.Interfaces = append(in.Interfaces, i.Name)
	}
	for _, s := range h.Sources() {
		in.Sources = append(in.Sources, s.Prefix)
	}
	slices.SortFunc(in.Sources, comparePrefix)
	return in
}

// Host returns a host file that says nothing else.
func (in Inspection) Host() *Host {
	h := &Host{Services: in.Services, AcceptReasons: in.Reasons}
	for _, name := range in.Interfaces {
		h.Interfaces = append(h.Interfaces, Interface{Name: name})
	}
	for _, p := range in.Sources {
		h.Allowlist = append(h.Allowlist, AllowEntry{Prefix: p})
	}
	return h
}

// Unprotected returns the sources of a host file that the next one does not protect.
func (h *Host) Unprotected(next *Host) []ProtectedSource {
	protected := next.Sources()
	return slices.DeleteFunc(h.Sources(), func(s ProtectedSource) bool {
		return slices.ContainsFunc(protected, func(n ProtectedSource) bool { return within(s.Prefix, n.Prefix) })
	})
}

// NewInterfaces names those of the next host file that this one does not name.
func (h *Host) NewInterfaces(next *Host) []string {
	var out []string
	for _, i := range next.Interfaces {
		if !slices.ContainsFunc(h.Interfaces, func(o Interface) bool { return o.Name == i.Name }) {
			out = append(out, i.Name)
		}
	}
	return out
}

// Reads reports whether the host file has a service of that name whose traffic is read in the same way, and at which
// addresses.
func (h *Host) Reads(s Service) (at []Address, same bool) {
	for _, o := range h.Services {
		at, o.Addresses, s.Addresses = o.Addresses, nil, nil
		o.MaxVerdict = s.MaxVerdict // what may become of it is no way to read it
		if reflect.DeepEqual(o, s) {
			return at, true
		}
	}
	return nil, false
}

// Inspects reports whether traffic of a service to one of its addresses was inspected in the same way with this host
// file.
func (h *Host) Inspects(s Service, to Address) bool {
	at, same := h.Reads(s)
	return same && slices.ContainsFunc(at, func(a Address) bool { return a.Any() || a == to })
}

// NewServices are those of the next host file of which some traffic was not inspected, or in another way.
func (h *Host) NewServices(next *Host) []Service {
	return slices.DeleteFunc(slices.Clone(next.Services), func(s Service) bool {
		return !slices.ContainsFunc(s.Addresses, func(a Address) bool { return !h.Inspects(s, a) })
	})
}

// NewReasons are those that the next host file accepts, and this one does not.
func (h *Host) NewReasons(next *Host) []string {
	return slices.DeleteFunc(slices.Clone(next.AcceptReasons), h.Accepts)
}

// RaisedCaps are the services of the next host file whose strongest verdict is stronger there than in this one. A
// service that this one does not name is new, and has none of before.
func (h *Host) RaisedCaps(next *Host) []Service {
	return slices.DeleteFunc(slices.Clone(next.Services), func(s Service) bool {
		return s.MaxVerdict.Rank() <= h.most(s.Name).Rank()
	})
}

// most returns the strongest verdict of the service of a name; reset where there is none.
func (h *Host) most(service string) MaxVerdict {
	for _, s := range h.Services {
		if s.Name == service {
			return s.MaxVerdict
		}
	}
	return MaxReset
}

// Meet returns what of two host files lets less be blocked: what both inspect, the weaker of both strongest verdicts,
// whom one of them protects, what both accept. All else is empty.
func (h *Host) Meet(other *Host) *Host {
	out := &Host{}
	for _, i := range h.Interfaces {
		if slices.ContainsFunc(other.Interfaces, func(o Interface) bool { return o.Name == i.Name }) {
			out.Interfaces = append(out.Interfaces, i)
		}
	}
	for _, s := range h.Services {
		at, same := other.Reads(s)
		if !same {
			continue
		}
		if most := other.most(s.Name); most.Rank() < s.MaxVerdict.Rank() {
			s.MaxVerdict = most
		}
		if s.Addresses = meetAddresses(s.Addresses, at); len(s.Addresses) > 0 {
			out.Services = append(out.Services, s)
		}
	}
	known := map[netip.Prefix]bool{}
	for _, s := range append(h.Sources(), other.Sources()...) {
		if !known[s.Prefix] {
			known[s.Prefix] = true
			out.Allowlist = append(out.Allowlist, AllowEntry{Prefix: s.Prefix, Note: s.Name})
		}
	}
	for _, reason := range h.AcceptReasons {
		if slices.Contains(other.AcceptReasons, reason) {
			out.AcceptReasons = append(out.AcceptReasons, reason)
		}
	}
	return out
}

func meetAddresses(a, b []Address) []Address {
	switch {
	case slices.ContainsFunc(a, Address.Any):
		return b
	case slices.ContainsFunc(b, Address.Any):
		return a
	}
	return slices.DeleteFunc(slices.Clone(a), func(x Address) bool { return !slices.Contains(b, x) })
}
