// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

// scrape returns the packets and connections of all series, and the matches of all rules.
func (r *rig) scrape() (packets, connections, matches uint64) {
	r.t.Helper()
	s, err := r.agent.Metrics()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range s.Counts {
		packets, connections = packets+c.Packets, connections+c.Connections
	}
	for _, rule := range s.Rules {
		matches += rule.Matches
	}
	return packets, connections, matches
}

// count lets the stable generation count.
func (r *rig) count(packets, connections uint64) {
	m := r.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	slot := m.control.Stable
	m.counters = append(m.counters, loader.Counter{Service: 1, Slot: slot, Reason: bpf.ReasonPrefix,
		Outcome: bpf.OutcomeDrop, Packets: packets, Connections: connections})
	hits := map[uint16]uint64{0: packets}
	for rule, n := range m.hits[slot] {
		hits[rule] += n
	}
	m.hits[slot] = hits
}

// Totals keep their meaning whatever becomes of slots and agents: nothing is counted twice and nothing is lost.
func TestTotalsOverRollbackRefillAndRestart(t *testing.T) {
	r := newRig(t)
	var packets, connections, matches uint64
	look := func(what string) {
		t.Helper()
		if p, c, m := r.scrape(); p != packets || c != connections || m != matches {
			t.Errorf("%s: %d packets, %d connections, %d matches; want %d, %d, %d", what, p, c, m, packets, connections, matches)
		}
	}
	step := func(what string) {
		t.Helper()
		r.count(8, 2)
		packets, connections, matches = packets+8, connections+2, matches+8
		look(what)
	}
	r.mustApply("one", api.ApplyOptions{})
	step("the first bundle")
	for i := range 3 * bpf.Slots { // every slot is filled again and again
		r.mustApply(fmt.Sprintf("b%d", i), api.ApplyOptions{})
		look("applied")
		step("counted")
	}
	if _, err := r.agent.release.Rollback(context.Background(), root, api.RollbackRequest{Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	look("rolled back")
	step("counted after a rollback")
	// The kernel counts on while no agent lives: packets and connections are its own. Matches of rules are the agent's,
	// and begin again; what the kernel has of them was in the last agent's total.
	r.stop()
	r.count(8, 2)
	packets, connections, matches = packets+8, connections+2, 0
	r.start()
	look("restarted")
	step("counted after a restart")
	r.restart()
	matches = 0
	look("restarted at once")
	r.mustApply("last", api.ApplyOptions{})
	step("applied and counted")
}

// The same on a real kernel, with packets over a wire and agents that are killed.
func TestKernelCountsOverRefillsAndRestarts(t *testing.T) {
	s := newSite(t)
	s.start()
	var sent uint64
	look := func(what string) {
		t.Helper()
		st, err := s.client.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var packets, connections uint64
		for _, c := range st.Packets {
			if c.Service == "web" {
				packets, connections = packets+c.Packets, connections+c.Connections
			}
		}
		if packets != sent || connections != sent {
			t.Errorf("%s: %d packets and %d connections, want %d of each", what, packets, connections, sent)
		}
	}
	for i := range bpf.Slots + 3 { // the last ones fill slots again
		s.apply(fmt.Sprintf("b%d", i), api.ApplyOptions{})
		look("applied")
		for range 3 {
			sent++
			s.in(func() error { return s.sendSYN(uint32(sent)) })
		}
		eventually(t, "the packets arrive", func() error {
			st, err := s.client.Status(context.Background())
			if err != nil {
				return err
			}
			var packets uint64
			for _, c := range st.Packets {
				if c.Service == "web" {
					packets += c.Packets
				}
			}
			if packets < sent {
				return fmt.Errorf("%d of %d packets", packets, sent)
			}
			return nil
		})
		look("sent")
		if i%3 == 2 {
			s.kill()
			s.start()
			look("killed and started")
		}
	}
	if _, err := s.client.Rollback(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
	look("rolled back")
}

// sendSYN sends a SYN of a denied source over the wire; each is another connection's.
func (s *site) sendSYN(isn uint32) error {
	peer, err := net.InterfaceByName("sw1")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	frame := make([]byte, 14, 14+20+20)
	frame[12] = 8 // IPv4
	frame = append(frame, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, unix.IPPROTO_TCP, 0, 0, 198, 51, 100, 9, 192, 0, 2, 1)
	frame = append(frame, 0x9c, 0x40, 443>>8, 443&0xff)
	frame = binary.BigEndian.AppendUint32(frame, isn)
	frame = append(frame, 0, 0, 0, 0, 5<<4, 2, 4, 0, 0, 0, 0, 0)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: peer.Index})
}

// The bundles in force have an age, and one whose rules have no end has none itself.
func TestA08LivesAreExported(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	s, err := r.agent.Metrics()
	if err != nil || len(s.Lives) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if l := s.Lives[0]; l.Bundle != "one" || l.Since.IsZero() || !l.End.IsZero() {
		t.Errorf("%+v", l)
	}
}
