// SPDX-License-Identifier: Apache-2.0

package reset

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/world"
)

// lose has every packet of at least so many bytes get lost between the dataplane and the sockets, until found is
// called.
func (s *site) lose(least int32) (found func()) {
	s.t.Helper()
	const ok, shot = 0, 2 // TC_ACT_OK, TC_ACT_SHOT
	var program *ebpf.Program
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: s.EdgeIndex, Handle: netlink.MakeHandle(0xffff, 0),
		Parent: netlink.HANDLE_CLSACT}}
	world.Must(s.t, s.Edge.Do(func() (err error) {
		program, err = ebpf.NewProgram(
			&ebpf.ProgramSpec{Name: "lose", Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: asm.Instructions{
				asm.LoadMem(asm.R1, asm.R1, 0, asm.Word), // the length
				asm.Mov.Imm(asm.R0, shot),
				asm.JGE.Imm(asm.R1, least, "lost"),
				asm.Mov.Imm(asm.R0, ok),
				asm.Return().WithSymbol("lost"),
			}})
		if err != nil {
			return err
		}
		if err := netlink.QdiscAdd(qdisc); err != nil {
			return err
		}
		return netlink.FilterAdd(
			&netlink.BpfFilter{Fd: program.FD(), Name: "lose", DirectAction: true, FilterAttrs: netlink.FilterAttrs{
				LinkIndex: s.EdgeIndex, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1}})
	}))
	return func() {
		s.t.Helper()
		world.Must(s.t, s.Edge.Do(func() error { return netlink.QdiscDel(qdisc) }))
		_ = program.Close()
	}
}

// The RST for the server gets lost, or the first segment of the ClientHello does, so that the RST is ahead of what the
// socket waits for. What the bot sends again frees the socket then, and what it sends after that tells it.
func TestWhatGetsLostComesAgain(t *testing.T) {
	s := newSite(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			outer := s.t
			s.t = t
			defer func() { s.t = outer }()
			one, two := hello(t, tls.X25519), hello(t)
			s.publish(nothing())
			for name, lost := range map[string]struct {
				sends []byte
				least int32
			}{"the RST": {one, 0}, "the first segment": {two, 1000}} {
				before, resets := s.accepted(), s.resets()
				bot := s.connect(f, attempt{port: 443, bundle: denyHello(t, two)}, 1)[0]
				s.wantAccepted(before, 1)
				found := s.lose(lost.least)
				_, err := bot.Write(lost.sends)
				world.Must(t, err)
				world.Eventually(t, name+" gets lost", func() bool { return s.resets() > resets })
				if lost.least == 0 && len(s.sockets(local(bot))) == 0 {
					t.Errorf("%s did not get lost", name)
				}
				since := time.Now()
				if lost.least == 0 {
					found()
				}
				if err := ended(bot); !errors.Is(err, unix.ECONNRESET) {
					t.Errorf("%s lost: the bot sees %v, want %v", name, err, unix.ECONNRESET)
				}
				t.Logf("%s lost: the bot knew after %v", name, time.Since(since))
				s.wantForgotten(local(bot), time.Now())
				s.wantAccepted(before, 1)
				if lost.least != 0 {
					found()
				}
			}
		})
	}
}
