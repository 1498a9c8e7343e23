// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// span is some ports, both included.
type span struct{ from, to uint16 }

// narrowed is what a packet must be to get to a rule.
type narrowed struct {
	ports   []span // nil: every one
	address netip.Addr
	other   bool // no TCP comes here
}

func (n narrowed) with(ports []span) narrowed {
	if n.ports == nil {
		n.ports = ports
		return n
	}
	both := []span{}
	for _, a := range n.ports {
		for _, b := range ports {
			if s := (span{max(a.from, b.from), min(a.to, b.to)}); s.from <= s.to {
				both = append(both, s)
			}
		}
	}
	n.ports = both
	return n
}

func (n narrowed) empty() bool { return n.other || n.ports != nil && len(n.ports) == 0 }

// walkDepth is deeper than any packet goes: the kernel has room for 16 jumps.
const walkDepth = 16

func (rs *ruleset) forwards() (all []Rule) {
	for _, base := range rs.base {
		rs.walk(base, base, narrowed{}, 0, &all)
	}
	slices.SortFunc(all, func(a, b Rule) int { return int(a.From) - int(b.From) })
	return slices.Compact(all)
}

func (rs *ruleset) walk(base, chain chainKey, n narrowed, depth int, all *[]Rule) {
	if depth > walkDepth {
		return
	}
	for _, rule := range rs.rules[chain] {
		r := reader{rs: rs, chain: chain, n: n, loaded: map[int64]what{}}
		for _, e := range rule {
			r.read(e)
		}
		if r.forwards && !r.n.empty() {
			*all = append(*all, r.rules()...)
		}
		for _, to := range r.jumps {
			if !to.n.empty() {
				rs.walk(base, chainKey{chain.family, chain.table, to.chain}, to.n, depth+1, all)
			}
		}
	}
}

// what a register holds.
type what int

const (
	unknown what = iota
	port
	protocol
	address
)

type jump struct {
	chain string
	n     narrowed
}

// reader reads the expressions of one rule.
type reader struct {
	rs       *ruleset
	chain    chainKey
	n        narrowed
	loaded   map[int64]what
	forwards bool
	iptables bool
	jumps    []jump
}

func (r *reader) rules() (all []Rule) {
	by := "nftables"
	if r.iptables {
		by = "iptables"
	}
	family := map[uint8]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6",
		unix.NFPROTO_INET: "inet"}[r.chain.family]
	ports := r.n.ports
	if ports == nil {
		ports = []span{{0, 65535}}
	}
	for _, s := range ports {
		all = append(all,
			Rule{By: by, From: s.from, To: s.to, Address: r.n.address,
				Where: "table " + family + " " + r.chain.table + ", chain " + r.chain.name})
	}
	return all
}

// Attributes of the expressions, and what they mean there.
const (
	payloadDreg, payloadBase, payloadOffset, payloadLen = 1, 2, 3, 4
	networkHeader, transportHeader                      = 1, 2
	metaDreg, metaKey, metaL4Proto                      = 1, 2, 16
	cmpSreg, cmpOp, cmpData                             = 1, 2, 3
	cmpEq, cmpNeq, cmpLT, cmpLTE, cmpGT, cmpGTE         = 0, 1, 2, 3, 4, 5
	rangeSreg, rangeOp, rangeFrom, rangeTo              = 1, 2, 3, 4
	lookupSet, lookupSreg, lookupDreg, lookupFlags      = 1, 2, 3, 5
	immediateDreg, immediateData                        = 1, 2
	natType, natDestination                             = 1, 1
	compatName, compatInfo                              = 1, 3
)

func (r *reader) read(e expression) {
	a := e.attrs
	switch e.name {
	case "payload":
		if reg := a.number(payloadDreg); reg >= 0 {
			r.loaded[reg] = inPacket(a.number(payloadBase), a.number(payloadOffset), a.number(payloadLen))
		}
	case "meta":
		if reg := a.number(metaDreg); reg >= 0 {
			r.loaded[reg] = unknown
			if a.number(metaKey) == metaL4Proto {
				r.loaded[reg] = protocol
			}
		}
	case "bitwise", "byteorder":
		delete(r.loaded, a.number(2)) // what it leaves is no plain value any more
	case "cmp":
		r.compare(r.loaded[a.number(cmpSreg)], a.number(cmpOp), a.in(cmpData)[dataValue])
	case "range":
		from, to := a.in(rangeFrom)[dataValue], a.in(rangeTo)[dataValue]
		if r.loaded[a.number(rangeSreg)] == port && a.number(rangeOp) == cmpEq && len(from) == 2 && len(to) == 2 {
			r.n = r.n.with([]span{{binary.BigEndian.Uint16(from), binary.BigEndian.Uint16(to)}})
		}
	case "lookup":
		r.lookup(a)
	case "immediate":
		if chain := a.in(immediateData).in(dataVerdict).text(verdictChain); chain != "" {
			r.jumps = append(r.jumps, jump{chain, r.n})
		}
	case "nat":
		r.forwards = r.forwards || a.number(natType) == natDestination
	case "redir", "tproxy":
		r.forwards = true
	case "match":
		r.match(a.text(compatName), a[compatInfo])
	case "target":
		r.iptables = true
		switch a.text(compatName) {
		case "DNAT", "REDIRECT", "TPROXY":
			r.forwards = true
		}
	}
}

func inPacket(base, offset, length int64) what {
	switch {
	case base == transportHeader && offset == 2 && length == 2:
		return port
	case base == networkHeader && (offset == 9 || offset == 6) && length == 1:
		return protocol
	case base == networkHeader && (offset == 16 && length == 4 || offset == 24 && length == 16):
		return address
	}
	return unknown
}

func (r *reader) compare(with what, op int64, value []byte) {
	switch {
	case with == port && len(value) == 2 && op != cmpNeq:
		r.n = r.n.with(comparedPorts(op, binary.BigEndian.Uint16(value)))
	case op != cmpEq:
	case with == protocol && len(value) == 1:
		r.n.other = r.n.other || value[0] != unix.IPPROTO_TCP
	case with == address:
		if a, ok := netip.AddrFromSlice(value); ok {
			r.n.address = a
		}
	}
}

// comparedPorts are those of a comparison; nft writes a range as two of them.
func comparedPorts(op int64, p uint16) []span {
	switch {
	case op == cmpLT && p > 0:
		return []span{{0, p - 1}}
	case op == cmpLTE:
		return []span{{0, p}}
	case op == cmpGT && p < 65535:
		return []span{{p + 1, 65535}}
	case op == cmpGTE:
		return []span{{p, 65535}}
	case op == cmpEq:
		return []span{{p, p}}
	}
	return []span{}
}

// lookup narrows by a set of ports, or goes where a map of them says.
func (r *reader) lookup(a attributes) {
	const inverted = 1
	if r.loaded[a.number(lookupSreg)] != port || max(a.number(lookupFlags), 0)&inverted != 0 {
		if a.number(lookupDreg) == 0 { // a verdict map by something else: wherever it goes
			for _, e := range r.rs.elements(chainKey{r.chain.family, r.chain.table, a.text(lookupSet)}) {
				if e.chain != "" {
					r.jumps = append(r.jumps, jump{e.chain, r.n})
				}
			}
		}
		return
	}
	all := r.rs.elements(chainKey{r.chain.family, r.chain.table, a.text(lookupSet)})
	ports := []span{}
	for i, e := range all {
		if e.end || len(e.key) < 2 {
			continue
		}
		s := span{binary.BigEndian.Uint16(e.key), binary.BigEndian.Uint16(e.key)}
		if i+1 < len(all) && all[i+1].end {
			s.to = binary.BigEndian.Uint16(all[i+1].key) - 1
		}
		ports = append(ports, s)
		if e.chain != "" {
			r.jumps = append(r.jumps, jump{e.chain, r.n.with([]span{s})})
		}
	}
	if a.number(lookupDreg) != 0 || a[lookupDreg] == nil {
		r.n = r.n.with(ports)
	}
}

// match reads the matches of iptables that name ports: struct xt_tcp, struct xt_multiport_v1.
func (r *reader) match(name string, info []byte) {
	r.iptables = true
	at := func(i int) uint16 { return binary.NativeEndian.Uint16(info[i:]) }
	switch {
	case name == "udp":
		r.n.other = true
	case name == "tcp" && len(info) >= 12 && info[11]&2 == 0:
		r.n = r.n.with([]span{{at(4), at(6)}})
	case name == "multiport" && len(info) >= 48 && info[0] != 0 && info[47] == 0:
		var ports []span
		for i := 0; i < min(int(info[1]), 15); i++ {
			s := span{at(2 + 2*i), at(2 + 2*i)}
			if info[32+i] != 0 && i+1 < min(int(info[1]), 15) {
				i++
				s.to = at(2 + 2*i)
			}
			ports = append(ports, s)
		}
		r.n = r.n.with(ports)
	}
}
