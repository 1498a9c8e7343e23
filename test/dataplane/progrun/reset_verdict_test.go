// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/packet"
)

// What nobody vouches for is dropped, never reset: a stranger would otherwise have other people's connections reset.
func TestResetIsADropWithoutAProvenConnection(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		p.swap(f.resetBots())
		fragment := f.data(f.bot, 1, request)
		fragment.Fragment = &packet.Fragment{More: true, ID: 7}
		later := packet.Frame{Source: f.bot, Dest: f.server, Fragment: &packet.Fragment{Offset: 100, ID: 7},
			Body: packet.Raw{Protocol: packet.ProtoTCP, Data: request}}
		far := f.segment(f.bot, packet.TCP{DestPort: remotePort, Seq: 1, Ack: 1, Flags: packet.ACK, Payload: hello})
		p.wantRows([]row{
			{"a SYN", f.syn(f.bot), drops("prefix")},
			{"a SYN with data", f.segment(f.bot, packet.TCP{Seq: 5, Flags: packet.SYN, Payload: hello}), drops("prefix")},
			{"a hello without a socket", f.data(f.bot, 5, hello), drops("prefix")},
			{"data without a socket", f.data(f.bot, 5, request), drops("prefix")},
			{"a bare ACK", f.ack(f.bot, 5), drops("prefix")},
			{"a FIN", with(f.ack(f.bot, 5), packet.FIN|packet.ACK), drops("prefix")},
			{"an RST", with(f.ack(f.bot, 5), packet.RST), drops("prefix")},
			{"a first fragment", fragment, drops("prefix")},
			{"a later fragment", later, drops("prefix")},
			{"UDP", f.udp(f.bot, dnsPort), drops("prefix").of("dns")},
			{"a hello to sockets elsewhere", far, drops("prefix").of("far")},
		})
		p.wantNoFlow("nobody vouched")
		k := r.visit(f.bot)
		p.want("a payload that starts early", k.acking(f.data(f.bot, k.isn, append([]byte{0}, hello...))), drops("prefix"))
		p.want("data in the middle", k.at(100, request), drops("prefix"))
		p.wantNoFlow("a guess")
		frame := k.at(0, hello)
		p.wantReset("the first payload", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
	})
}

// A SYN of somebody who gets a blocked client's port, and pieces of packets, are nobody's to answer.
func TestResetAnswersNoFragmentWrongly(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		p.swap(f.resetBots())
		k := r.visit(f.bot)
		frame := k.at(0, hello)
		p.wantReset("the first payload", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
		first := k.at(0, hello)
		first.Fragment = &packet.Fragment{More: true, ID: 7}
		whole := first.Bytes()
		k.reset()
		headers := len(whole) - len(hello)
		for cut := headers - packet.TCPLen; cut < len(whole); cut++ {
			piece := slices.Clone(whole[:cut])
			setLength(piece, first)
			got, out := p.exchange(piece)
			if got.Action == "XDP_PASS" {
				t.Errorf("a first fragment cut to %d bytes of its segment: %+v", cut-headers+packet.TCPLen, got)
			}
			if got.Action != "XDP_TX" {
				continue
			}
			answer, err := readReset(out)
			if want := toClient(first); err != nil ||
				answer != (rst{To: want.To, From: want.From, Tags: want.Tags, Source: want.Source,
					Dest: want.Dest, Seq: want.Seq, Ack: want.Ack, Flags: want.Flags}) {
				t.Errorf("a first fragment cut to %d bytes of its segment is answered by %+v, %v",
					cut-headers+packet.TCPLen, answer, err)
			}
		}
	})
}

// setLength makes a frame that was cut say its own length.
func setLength(frame []byte, f packet.Frame) {
	ip := frame[f.L3():]
	if f.Source.Is4() {
		ip[2], ip[3] = byte(len(ip)>>8), byte(len(ip))
		return
	}
	n := len(ip) - packet.IPv6Len
	ip[4], ip[5] = byte(n>>8), byte(n)
}

// The higher threshold that the score reaches decides; `never` is none.
func TestResetThresholds(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		for _, c := range []struct {
			drop, reset config.Threshold
			score       int
			want        string // outcome
		}{
			{80, 95, 79, "pass"}, {80, 95, 80, "drop"}, {80, 95, 94, "drop"}, {80, 95, 95, "reset"}, {80, 95, 100, "reset"},
			{95, 80, 79, "pass"}, {95, 80, 80, "reset"}, {95, 80, 94, "reset"}, {95, 80, 95, "drop"}, {95, 80, 100, "drop"},
			{config.Never, 90, 89, "pass"}, {config.Never, 90, 90, "reset"}, {config.Never, 90, 100, "reset"},
			{90, config.Never, 100, "drop"}, {config.Never, config.Never, 100, "pass"}, {1, 2, 1, "drop"}, {1, 2, 2, "reset"},
		} {
			p.swap(rules().rule("bad", c.score).list("own", "bad", host(f.bot)).resetting(c.drop, c.reset).bundle())
			k := r.connect(l, f.bot, true)
			got, _ := p.exchange(k.at(0, hello).Bytes())
			want := map[string]result{"pass": passes("below_threshold"), "drop": drops("prefix"),
				"reset": resets("prefix")}[c.want]
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("drop %v, reset %v, score %d (-want +got):\n%s", c.drop, c.reset, c.score, diff)
			}
			syn := drops("prefix")
			if c.want == "pass" {
				syn = passes("below_threshold")
			}
			p.want(fmt.Sprintf("a SYN: drop %v, reset %v, score %d", c.drop, c.reset, c.score), f.syn(f.bot), syn)
			k.reset()
		}
	})
}

// "While a generation is not stable a reset is enforced as a drop."
func TestResetByACandidateIsADrop(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		p.try(f.resetBots(), 1000)
		k := r.connect(l, f.bot, true)
		p.want("the first payload", k.at(0, hello), drops("prefix").by("candidate"))
		p.want("again", k.at(0, hello), drops("prefix").by("candidate"))
		p.wantFlow("of the candidate", verdictDrop, confirmed|firstPayload|hasTLS)
		_, err := p.Promote()
		p.must(err)
		p.want("again, promoted: nothing of the old connection is reset", k.at(0, hello), drops("prefix"))
		k.reset()
		k = r.connect(l, f.bot, true)
		frame := k.at(0, hello)
		p.wantReset("the next connection, promoted", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
		p.try(nothing(), 1000)
		p.want("a candidate that passes it takes it back", frame, passes("no_match").by("candidate"))
		_, err = p.Withdraw()
		p.must(err)
	})
}

// Whoever stands above the bundle stands above a reset: the protected, observe mode, a bypass.
func TestResetIsSpared(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		p.swap(rules().rule("bad", 100).list("own", "bad", f.denied).resetting(80, 95).bundle())
		k := r.connect(l, f.protected, true)
		p.want("the protected", k.at(0, hello), passes("protected"))
		p.want("the protected, later", k.at(uint32(len(hello)), hello), known())
		k.reset()

		p.mode(config.ModeObserve)
		k = r.connect(l, f.bot, true)
		p.want("observe mode", k.at(0, hello), result{"XDP_PASS", "web", "stable", "prefix", "would_reset"})
		p.want("observe mode, later", k.at(100, hello), known())
		k.reset()
		p.mode(config.ModeEnforce)

		p.forgetFlows()
		k = r.connect(l, f.bot, true)
		p.SetBypass(math.MaxUint64)
		p.wantUncounted("bypass", k.at(0, hello))
		p.SetBypass(0)
		p.SetServiceBypass(p.id("web"), math.MaxUint64)
		p.want("bypass of the service", k.at(0, hello), undecided("web", "service_bypass"))
		p.SetServiceBypass(p.id("web"), 0)
		frame := k.at(0, hello)
		p.wantReset("neither", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
		p.SetBypass(math.MaxUint64)
		k.reset()
		p.wantUncounted("bypass of a connection that was reset", k.at(0, hello))
		p.SetBypass(0)
		p.wantReset("and off again", frame.Bytes(), answered("prefix"), toClient(frame))
	})
}

// What takes back a block ends the answers too. What does not keeps them, though a block of now would be a drop.
func TestResetHeals(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		for name, way := range ways {
			if way.candidate {
				continue
			}
			p.swap(f.resetBots())
			k := r.connect(l, f.bot, true)
			frame := k.at(0, hello)
			p.wantReset(name+": the first payload", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
			k.reset()
			p.wantReset(name+": again", frame.Bytes(), answered("prefix"), toClient(frame))
			way.takeBack(p, f)
			p.want(name+": the next retransmission", frame, way.want)
			p.want(name+": more data", k.at(100, request), after(way.want))
			p.renew(f, way.host)
		}
		p.swap(f.resetBots())
		k := r.connect(l, f.bot, true)
		frame := k.at(0, hello)
		p.wantReset("the first payload", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
		k.reset()
		relaxed := answered("prefix")
		relaxed.Reason = "prefix"
		for name, b := range map[string]*config.Bundle{"the same bundle": f.resetBots(), "one that drops": deny(f.bot)} {
			p.swap(b)
			p.wantReset(name, frame.Bytes(), relaxed, toClient(frame))
			p.wantReset(name+", stored", frame.Bytes(), answered("prefix"), toClient(frame))
		}
		p.must(p.Ban(host(f.bot), time.Hour))
		p.want("a ban", frame, banned("web"))
		_, err := p.Unban(host(f.bot))
		p.must(err)
		p.wantReset("unbanned", frame.Bytes(), answered("prefix"), toClient(frame))
	})
}
