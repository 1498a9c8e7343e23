// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
	support "github.com/spillway/spillway/test/support/plane"
)

const (
	answerFloor = "answer floor"
	provenFloor = "proven floor"
	// shots are how many connections a row has: each sends its packet once a round.
	shots = 64
)

// answerRows are what the program at the way out makes of packets that leave.
func (r *rig) answerRows() ([]*scenario, error) {
	c, err := r.reload(r.planes["strange"], false, bpf.DataplaneProgSpillwayEgress)
	if err != nil {
		return nil, err
	}
	answer := segment(answeredService, stranger, func(t *packet.TCP) {
		t.Flags, t.Options = packet.SYN|packet.ACK, linuxOptions()
	})
	data := segment(answeredService, stranger, func(t *packet.TCP) { t.Payload = small })
	unspec := ^uint32(0)
	row := func(name string, program *ebpf.Program, frame []byte) *scenario {
		return &scenario{key: "answer " + name, name: name, program: program, frame: frame, action: unspec,
			floor: answerFloor, goal: forgedGoal}
	}
	program := c.Programs[bpf.DataplaneProgSpillwayEgress]
	floor := row("empty program that passes", r.hot.EmptyEgress, data)
	floor.key, floor.floor, floor.goal = answerFloor, "", 0
	return []*scenario{floor, row("answer to a SYN, noted", program, answer), row("any other packet", program, data)}, nil
}

// Denied hellos, of as much work as large and largest.
var (
	deniedLarge   = message(14, 16, 8, 1740)
	deniedLargest = message(98, 99, 64, 1460)
)

// denying adds their JA4 to the lists.
func denying(lists func(*config.Bundle)) func(*config.Bundle) {
	return func(b *config.Bundle) {
		lists(b)
		for _, stream := range [][]byte{deniedLarge, deniedLargest} {
			h, err := reference.ParseStream(stream)
			if err != nil {
				panic(err) // made above
			}
			m, err := signature.ParseJA4(h.JA4())
			if err != nil {
				panic(err)
			}
			b.JA4 = append(b.JA4, config.JA4Feature{Rule: "bad", Match: m})
		}
	}
}

// longest is a hello of 16,384 bytes that is nearly all extensions, or all ciphers.
func longest(ciphers, extensions int) []byte {
	h := clienthello.Hello{Version: 0x0303, Compression: []byte{0}}
	for i := range ciphers {
		h.Ciphers = append(h.Ciphers, uint16(0x0100+i))
	}
	for i := range extensions {
		h.Extensions = append(h.Extensions, clienthello.Extension{Type: uint16(0x4000 + i)})
	}
	return clienthello.Records(h.Bytes())
}

// part of a stream; the last one of a row is what is timed.
type part struct{ from, to int }

// provenRows are packets of real connections, that a socket vouches for.
func (r *rig) provenRows() []*scenario {
	floor := &scenario{key: provenFloor, name: "empty XDP_PASS program", program: r.hot.EmptyPass, action: actionPass}
	for range r.shooters() {
		floor.each = append(floor.each, segment(visitor, service, nil))
	}
	long := longest(6000, 3)
	many := longest(3, 4000)
	records := clienthello.Records(small[5:], clienthello.Every(240)...)
	every := clienthello.Records(large[5:], clienthello.Every(1735)...)
	rows := []*scenario{floor,
		r.proven("strange", "ClientHello, known shape", small, passed, part{0, len(small)}),
		r.tracked("the same, no socket here: connection tracking vouches", small),
		r.proven("shapes", "new shape", small, passed, part{0, len(small)}),
		r.proven("shapes", "new shape: 99 ciphers, 99 extensions, 64 algorithms", largest, passed, part{0, len(largest)}),
		r.proven("shapes", "the same, denied: checksum, socket, a block stored", deniedLargest, dropped,
			part{0, len(deniedLargest)}),
		r.proven("strange", "first of two segments", large, passed, part{0, 1400}),
		r.proven("strange", "second of two segments, known shape", large, passed, part{0, 1400}, part{1400, len(large)}),
		r.proven("shapes", "second of two segments, new shape, denied", deniedLarge, dropped, part{0, 1400},
			part{1400, len(deniedLarge)}),
		r.proven("shapes", "the same backwards: first after second", deniedLarge, dropped,
			part{1400, len(deniedLarge)}, part{0, 1400}),
		r.proven("strange", "in 240 records", records, passed, part{0, len(records)}),
		r.proven("strange", "1,460 bytes of 1,735 records", every, passed, part{0, 1460}),
		r.proven("strange", "6,000 ciphers: the last bytes of 12,000", long, passed,
			append(inSegments(len(long)-900), part{len(long) - 900, len(long)})...),
		r.proven("strange", "4,000 extensions: the last bytes of 16,000", many, passed,
			append(inSegments(len(many)-900), part{len(many) - 900, len(many)})...),
	}
	return rows
}

// shooters are the connections of proven rows.
func (r *rig) shooters() []connection {
	free := r.connections[knownConnections+1:]
	return free[:min(shots, len(free))]
}

func inSegments(n int) (all []part) {
	for at := 0; at < n; at += 1460 {
		all = append(all, part{at, min(at+1460, n)})
	}
	return all
}

// proven is a row of one packet of each connection; those before it are sent untimed.
func (r *rig) proven(name, what string, stream []byte, outcome bpf.Outcome, parts ...part) *scenario {
	p := r.planes[name]
	s := &scenario{key: "proven " + name + " " + what, name: what, program: p.root, action: actionPass,
		floor: provenFloor, goal: provenGoal}
	if outcome == dropped {
		s.action = actionDrop
	}
	var before [][]byte
	for _, c := range r.shooters() {
		for j, part := range parts {
			frame := c.payload(stream, part.from, part.to)
			if j+1 < len(parts) {
				before = append(before, frame)
			} else {
				s.each = append(s.each, frame)
			}
		}
	}
	s.before = func() error {
		if err := clearHellos(p); err != nil {
			return err
		}
		for _, frame := range before {
			if _, err := p.root.Run(&ebpf.RunOptions{Data: frame}); err != nil {
				return fmt.Errorf("prepare %s: %w", what, err)
			}
		}
		return nil
	}
	s.after = func() error { return r.forgetConnections(p) }
	return s
}

// tracked is a row of whole hellos that connection tracking vouches for: that is the path that it must take.
func (r *rig) tracked(what string, stream []byte) *scenario {
	s := r.proven("behind", what, stream, passed, part{0, len(stream)})
	s.path = &path{r.planes["behind"], bpf.ReasonNoMatch, passed}
	return s
}

// behindHost is one whose web is elsewhere: no socket is asked, though the connections end here.
func behindHost(h *config.Host) {
	fewPlaces(h)
	h.Services[0].Local, h.Services[0].Confirm = false, config.ConfirmAuto
}

// forgetConnections takes the flows of the real connections out of a plane.
func (r *rig) forgetConnections(p *plane) error {
	for _, c := range r.shooters() {
		if err := p.flows.Delete(p.NameOf(flowKey(c.client, loopback))); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget a connection's flow: %w", err)
		}
	}
	return nil
}

// clearHellos forgets all ClientHellos that are not whole.
func clearHellos(p *plane) error {
	hellos, err := p.Map(bpf.DataplaneMapHellos)
	if err != nil {
		return err
	}
	sets, err := p.Map(bpf.DataplaneMapHelloSets)
	if err != nil {
		return err
	}
	return errors.Join(support.Fill(hellos, bpf.Hello{}), support.Fill(sets, bpf.HelloSet{}))
}

// fewPlaces is a host with places for unfinished hellos for the connections of a row, twice.
func fewPlaces(h *config.Host) { h.Capacity.Hellos = 4 * shots }
