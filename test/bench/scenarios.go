// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
)

// Keys of rows that others are compared with.
const (
	hotFloor     = "hot floor"
	hotLookup    = "hot lookup"
	randomFloor  = "random floor"
	randomLookup = "random lookup"
)

const (
	passed  = bpf.Outcome(bpf.OutcomePass)
	dropped = bpf.Outcome(bpf.OutcomeDrop)
)

// on returns a row of the dataplane in one state.
func (r *rig) on(name, what string, frame []byte, reason bpf.Reason, outcome bpf.Outcome) *scenario {
	p := r.planes[name]
	s := &scenario{
		key: "hot " + what, name: what, program: p.root, frame: frame, action: actionPass,
		path: &path{p, reason, outcome}, floor: hotFloor,
	}
	if outcome == dropped {
		s.action = actionDrop
	}
	return s
}

// fedWith makes a row of one with packets of that part of the steps.
func (r *rig) fedWith(part string, s *scenario) *scenario {
	span := r.parts[part]
	s.key, s.fed, s.floor = "random "+s.name, &span, randomFloor
	return s
}

func (s *scenario) against(key string) *scenario {
	s.versus = key
	return s
}

// hotRows send one packet again and again.
func (r *rig) hotRows() []*scenario {
	toElsewhere := segment(visitor, netip.AddrPortFrom(service.Addr(), 8080), nil)
	data := segment(visitor, service, nil)
	return []*scenario{
		{key: hotFloor, name: "empty XDP_PASS program", program: r.hot.EmptyPass, frame: data, action: actionPass},
		{key: hotLookup, name: "comparison: parse, one LRU lookup", program: r.hot.OneLookup, frame: data,
			action: actionPass, floor: hotFloor},
		{key: "hot bypass", name: "bypass on", program: r.planes["bypass"].root, frame: data, action: actionPass,
			floor: hotFloor},
		r.on("hot", "not a service", toElsewhere, bpf.ReasonNotService, passed),
		r.on("hot", "established, pass", data, bpf.ReasonKnownFlow, passed).against(hotLookup),
		r.on("hot", "established, pass, IPv6", segment(visitor6, service6, nil),
			bpf.ReasonKnownFlow, passed).against(hotLookup),
		r.on("hot", "established, pass, behind two VLAN tags", tagged(data, 2), bpf.ReasonKnownFlow, passed),
		r.on("hot", "established, blocked", segment(blocked, service, nil),
			bpf.ReasonPrefix, dropped).against(hotLookup),
		r.on("hot", "established, pass, after a FIN: data asks its socket", r.connections[0].payload(small, 0, len(small)),
			bpf.ReasonKnownFlow, passed),
		r.on("hot", "handshake's ACK", segment(stranger, service, nil), bpf.ReasonHandshake, passed),
		r.on("hot", fmt.Sprintf("SYN, pass, %s prefixes", number(r.smallList)), synFrame(newcomer, service),
			bpf.ReasonNoMatch, passed),
		r.on("hot", "SYN, drop by prefix", synFrame(denied, service), bpf.ReasonPrefix, dropped),
		r.on("hot", "SYN, drop by fingerprint", scanFrame(newcomer, service),
			bpf.ReasonTCPFingerprint, dropped),
		r.on("banned", "SYN, drop by ban", synFrame(banned, service), bpf.ReasonBan, dropped),
	}
}

// tagged puts n VLAN tags into a frame.
func tagged(frame []byte, n int) []byte {
	return slices.Concat(frame[:12], bytes.Repeat([]byte{0x81, 0, 0, 0}, n), frame[12:])
}

// stranger has no flow and no feature.
var stranger = netip.MustParseAddrPort("198.51.100.22:40000")

// randomRows send as many different packets as there are in a part, in random order.
func (r *rig) randomRows() []*scenario {
	data, syn := segment(visitor, service, nil), synFrame(newcomer, service)
	known, none := bpf.Reason(bpf.ReasonKnownFlow), bpf.Reason(bpf.ReasonNoMatch)
	ofHuge := fmt.Sprintf("SYN, pass, %s prefixes", number(r.hugeList))
	huge := r.fedWith("anywhere", r.on("huge", ofHuge, syn, none, passed))
	huge.action = anyAction // one in twelve meets a row
	six := r.fedWith("anywhere", r.on("six", fmt.Sprintf("SYN, pass, IPv6, %s prefixes", number(len(r.prefixes6))),
		synFrame(visitor6, service6), none, passed))
	six.action = anyAction
	rows := []*scenario{
		r.fedWith("flows",
			&scenario{name: "empty XDP_PASS program", program: r.compare.EmptyPass, frame: data, action: actionPass}),
		r.fedWith("flows",
			&scenario{name: "comparison: parse, one LRU lookup", program: r.compare.OneLookup, frame: data, action: actionPass}),
		r.fedWith("flows", r.on("base", "established, pass", data, known, passed)).against(randomLookup),
		r.fedWith("flows", r.on("base", "established, blocked", segment(visitor, blockedService, nil),
			bpf.ReasonPrefix, dropped)).against(randomLookup),
		r.fedWith("anywhere", r.on("bare", "SYN, pass, no features", syn, none, passed)),
		r.fedWith("anywhere", r.on("base", fmt.Sprintf("SYN, pass, %s prefixes", number(r.smallList)), syn, none, passed)),
		huge,
		r.fedWith("listed", r.on("huge", fmt.Sprintf("SYN, drop, %s prefixes", number(r.hugeList)), syn,
			bpf.ReasonPrefix, dropped)),
		six,
		r.fedWith("denied", r.on("base", "SYN, drop by prefix, each another connection", syn, bpf.ReasonPrefix, dropped)),
		r.fedWith("anywhere", r.on("base", "first payload without a socket (forged)", helloFrame(visitor, service, 1),
			bpf.ReasonUnconfirmed, passed)),
		r.firstPayload("sockets"),
	}
	rows[0].key, rows[0].floor = randomFloor, ""
	rows[1].key = randomLookup
	return rows
}

// firstPayload sends the first payload of each real connection, confirmed by its socket, and forgets the flows again.
func (r *rig) firstPayload(plane string) *scenario {
	p, span := r.planes[plane], r.parts["payloads"]
	s := r.fedWith("payloads",
		r.on(plane, fmt.Sprintf("first payload of a connection (%s sockets)", number(int(span.Count))),
			helloFrame(visitor, loopback, 1), bpf.ReasonNoMatch, passed))
	s.after = func() error { return forgetFlows(p.flows, int(span.Count)) }
	return s
}

// forgetFlows empties a table, and fails when not as many flows were there as packets should have made.
func forgetFlows(m *ebpf.Map, want int) error {
	var keys []bpf.FlowName
	var key bpf.FlowName
	var value bpf.Flow
	for all := m.Iterate(); all.Next(&key, &value); {
		keys = append(keys, key)
	}
	if _, err := m.BatchDelete(keys, nil); err != nil {
		return fmt.Errorf("forget %d flows: %w", len(keys), err)
	}
	if len(keys) > want {
		return fmt.Errorf("%d flows, at most %d were made", len(keys), want)
	}
	return nil
}

// lookupRows send random sources through single lookups.
func (r *rig) lookupRows() []*scenario {
	var rows []*scenario
	frame := segment(visitor, service, nil)
	for _, l := range r.lookups {
		n := number(l.entries)
		exact := r.fedWith("anywhere",
			&scenario{name: "exact hash, " + n + " addresses", program: l.objects.ExactLookup, frame: frame, action: actionPass})
		trie := r.fedWith("anywhere",
			&scenario{name: "kernel trie, " + n + " prefixes", program: l.objects.TrieLookup, frame: frame})
		trie.action = anyAction // whether the last of random packets meets a row
		table := r.fedWith("anywhere",
			&scenario{name: "table of a generation, " + n + " prefixes", program: l.objects.TableLookup, frame: frame})
		table.action = anyAction
		rows = append(rows, exact, trie.against(exact.key), table.against(exact.key))
	}
	frame6 := segment(visitor6, service6, nil)
	for _, l := range []struct {
		name    string
		program *ebpf.Program
	}{{"kernel trie", r.lookup6.TrieLookup6}, {"table of a generation", r.lookup6.TableLookup6}} {
		row := r.fedWith("anywhere", &scenario{name: fmt.Sprintf("%s, IPv6, %s prefixes", l.name, number(len(r.prefixes6))),
			program: l.program, frame: frame6})
		row.action = anyAction
		rows = append(rows, row)
	}
	return rows
}

// number writes a number as people read it.
func number(n int) string {
	if n >= 1000 {
		return fmt.Sprintf("%s,%03d", number(n/1000), n%1000)
	}
	return fmt.Sprint(n)
}
