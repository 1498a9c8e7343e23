// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"errors"
	"io"
	"net/netip"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
)

// rst is the client's RST with a number that lies n behind what the server waits for.
func (k *conn) rst(n uint32) packet.Frame {
	return k.acking(k.r.f.segment(k.src, packet.TCP{Seq: k.isn + 1 + k.sent + n, Flags: packet.RST}))
}

// split returns the connections of those groups that are the candidate's, and of the others.
func (p *plane) split(all []*conn) (canary, control []*conn) {
	p.t.Helper()
	p.forgetFlows()
	for _, k := range all {
		p.run(k.first())
		if p.counted(loader.LaneMain).Arms.Canary.Sources > int64(len(canary)) {
			canary = append(canary, k)
		} else {
			control = append(control, k)
		}
	}
	return canary, control
}

// A prefix counts once a run as a source of its arm, and once as one that fails: when the candidate newly blocks it by
// what was not declared, or when its client resets a connection that was not served with the number that only it
// knows.
func TestArmsCountAPrefixOnce(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		all := r.crowd(r.listen(), f.sources(0, 40)...)
		c := p.compare(nothing(), 500)
		canary, control := p.split(all)
		if len(canary) < 3 || len(control) < 3 {
			t.Fatalf("%d in the canary, %d not", len(canary), len(control))
		}
		p.forgetFlows()
		for _, k := range all {
			p.run(k.first())
		}
		want := loader.Arms{Canary: loader.Arm{Sources: int64(len(canary))},
			Control: loader.Arm{Sources: int64(len(control))}}
		check := func(what string) {
			t.Helper()
			if got := p.counted(loader.LaneMain).Arms; got != want {
				t.Errorf("%s: arms %+v, want %+v", what, got, want)
			}
		}
		check("each once")
		for _, n := range []uint32{1, 1000, 1 << 31} {
			p.run(canary[0].rst(n).Bytes())
		}
		check("an RST that anybody could have sent")
		p.run(canary[0].rst(0).Bytes())
		p.run(canary[0].rst(0).Bytes())
		want.Canary.Bad++
		check("the client's RST")
		p.run(control[0].rst(0).Bytes())
		want.Control.Bad++
		check("one of the other arm")

		// A rebase: the new candidate blocks two of each arm. Those of the other arm pass, and do not fail.
		slot := p.build(deny(canary[1].src, canary[0].src, control[1].src))
		p.change(loader.Change{Candidate: &slot})
		c.New = p.number("candidate")
		p.must(p.Compare(loader.LaneMain, c))
		p.forgetFlows()
		for _, k := range []*conn{canary[0], canary[1], control[1]} {
			p.run(k.first())
			p.run(k.first())
		}
		want.Canary.Bad++
		check("blocked by what was not declared")

		// Another run, in which a person accepted new blocks by any rule: who is blocked is no source.
		c.Run, c.Allowed = p.NextRun(), 300
		p.must(p.Compare(loader.LaneMain, c))
		p.forgetFlows()
		for _, k := range []*conn{canary[0], canary[1], canary[2], control[1], control[2]} {
			p.run(k.first())
		}
		want = loader.Arms{Canary: loader.Arm{Sources: 1}, Control: loader.Arm{Sources: 1}}
		check("blocked by what was accepted")
	})
}

// take sends data to the server, and the end of the client's stream after them. It returns the client's RST.
func (k *conn) take(data []byte, ends bool) packet.Frame {
	k.r.t.Helper()
	k.pending = data
	k.deliver()
	if !ends {
		return k.rst(0)
	}
	if err := k.client.CloseWrite(); err != nil {
		k.r.t.Fatalf("end the stream: %v", err)
	}
	if _, err := k.server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		k.r.t.Fatalf("the server did not see the end: %v", err)
	}
	return k.rst(1)
}

// Many clients reset each connection at its end. A source fails when the server had nothing of it, or not all of its
// ClientHello; a FIN is no byte.
func TestWhoWasServedFailsInNoArm(t *testing.T) {
	all := len(hello)
	rows := []struct {
		what       string
		kind       config.Kind
		seen, took int
		ends       bool
		fails      int64
	}{
		{"a hello, nothing taken", config.KindTLS, all, 0, false, 1},
		{"a hello, nothing but a FIN taken", config.KindTLS, all, 0, true, 1},
		{"a hello, a part taken", config.KindTLS, all, 20, false, 1},
		{"a part that came and was taken", config.KindTLS, 20, 20, false, 1},
		{"a hello but for its last byte, and a FIN", config.KindTLS, all, all - 1, true, 1},
		{"a hello", config.KindTLS, all, all, false, 0},
		{"a hello and a FIN", config.KindTLS, all, all, true, 0},
		{"plain, nothing taken", config.KindHTTP, all, 0, false, 1},
		{"plain, nothing but a FIN taken", config.KindHTTP, all, 0, true, 1},
		{"plain, a byte", config.KindHTTP, all, 1, false, 0},
		{"plain, a byte and a FIN", config.KindHTTP, all, 1, true, 0},
	}
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		l := r.listen()
		for i, row := range rows {
			h := f.site()
			h.Services[0].Kind = row.kind
			p.publish(h, nothing())
			p.compare(nothing(), 500)
			src := f.sources(i, i+1)[0]
			p.run(r.connectFree(l, src.Next()).first())
			k := r.connectFree(l, src)
			p.run(k.at(0, hello[:row.seen]).Bytes())
			p.run(k.take(hello[:row.took], row.ends).Bytes())
			arms := p.counted(loader.LaneMain).Arms
			sources, bad := arms.Canary.Sources+arms.Control.Sources, arms.Canary.Bad+arms.Control.Bad
			if sources != 1 || bad != row.fails {
				t.Errorf("%s: %d sources and %d of them fail, want 1 and %d", row.what, sources, bad, row.fails)
			}
		}
	})
}

// What stable alone blocks fails in no arm: it would excuse what the candidate does to the other.
func TestWhatStableBlocksFailsInNoArm(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		all := r.crowd(r.listen(), f.sources(0, 40)...)
		var sources []netip.Addr
		for _, k := range all {
			sources = append(sources, k.src)
		}
		p.swap(deny(sources...))
		p.compare(nothing(), 500)
		for _, k := range all {
			p.run(k.first())
		}
		arms := p.counted(loader.LaneMain).Arms
		if arms.Control.Sources < 3 || arms.Canary.Sources < 3 || arms.Canary.Bad+arms.Control.Bad != 0 {
			t.Errorf("arms %+v", arms)
		}
	})
}

// A prefix of which the candidate newly blocks something declared is no source any more: its owner knows its arm, and
// could have the rest of its connections fail.
func TestADeclaredBlockTakesAPrefixOutOfTheArms(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		l := r.listen()
		first := f.sources(0, 1)[0]
		bot, neighbour := r.connectFree(l, first), r.connectFree(l, first.Next())
		late := r.crowd(l, f.sources(1, 2)[0], f.sources(1, 2)[0].Next())
		p.compare(denyDeclared(bot.src, late[0].src), 999)
		p.run(bot.first())
		p.run(neighbour.first())
		p.run(neighbour.rst(0).Bytes())
		if got := p.counted(loader.LaneMain).Arms; got != (loader.Arms{}) {
			t.Errorf("arms %+v", got)
		}
		p.run(late[1].first())
		p.run(late[0].first())
		p.run(late[1].rst(0).Bytes())
		arms := p.counted(loader.LaneMain).Arms
		if arms.Canary.Sources+arms.Control.Sources != 1 || arms.Canary.Bad+arms.Control.Bad != 0 {
			t.Errorf("of one that was a source before: arms %+v", arms)
		}
	})
}
