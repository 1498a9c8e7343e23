// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/support/packet"
)

// resetting gives the bundle a policy of drop and reset.
func (d *draft) resetting(drop, reset config.Threshold) *draft {
	d.b.Policy[config.DefaultPolicy] = config.Policy{Drop: drop, Reset: reset}
	return d
}

// resetBots resets the family's bot.
func (f family) resetBots() *config.Bundle {
	return rules().rule("bad", 100).list("own", "bad", host(f.bot)).resetting(80, 95).bundle()
}

// plain makes web a service without TLS.
func (f family) plain() *config.Host {
	h := f.site()
	h.Services[0].Kind = config.KindHTTP
	return h
}

// bent are forms of a frame that change nothing about its connection.
func bentFrames(f packet.Frame) map[string]packet.Frame {
	all := map[string]packet.Frame{"plain": f}
	one, two, padded := f, f, f
	one.Tags = packet.Tags(1, packet.EtherVLAN)
	two.Tags = append(packet.Tags(1, packet.EtherQinQ), packet.Tags(1, packet.EtherVLAN)...)
	padded.Padding = 30
	all["a VLAN tag"], all["two tags"], all["padding behind it"] = one, two, padded
	tcp := f.Body.(packet.TCP)
	// for experiments, RFC 4727
	tcp.Options = packet.Options(packet.NOP(), packet.NOP(), packet.Option(254, make([]byte, 8)...))
	options := f
	options.Body = tcp
	all["TCP options"] = options
	if f.Source.Is4() {
		odd := f
		odd.Options = []byte{7, 7, 4, 0, 0, 0, 0, 0}
		all["IP options"] = odd
		odd.Tags = one.Tags
		all["IP options behind a tag"] = odd
		return all
	}
	chain := f
	chain.Extensions = append(packet.Extensions(1, packet.HopByHop), packet.Extensions(2, packet.DestOptions)...)
	all["extension headers"] = chain
	chain.Tags = one.Tags
	all["extension headers behind a tag"] = chain
	return all
}

// The first payload leaves as an RST that the server's socket takes: with the number that this socket waits for,
// whatever the frame looked like, whatever has come before. What comes later is answered.
func TestResetFirstPayload(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		for kind, site := range map[string]*config.Host{"tls": f.site(), "http": f.plain()} {
			payload := map[string][]byte{"tls": hello, "http": request}[kind]
			p.publish(site, f.resetBots())
			for name := range bentFrames(f.data(f.bot, 1, payload)) {
				k := r.connect(l, f.bot, true)
				frame := bentFrames(k.at(0, payload))[name]
				what := kind + ", " + name
				p.wantReset(what+": the first payload", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
				flags := confirmed | firstPayload
				if kind == "tls" {
					flags |= hasTLS
				}
				p.wantFlow(what, verdictReset, flags)
				p.wantReset(what+": again, and the socket is still there", frame.Bytes(), freedLater("prefix"),
					k.toServer(frame, k.isn+1))
				k.reset()
				p.wantReset(what+": again", frame.Bytes(), answered("prefix"), toClient(frame))
			}
			k := r.connect(l, f.bot, true)
			k.write(payload)
			k.deliver()
			p.want(kind+": data that the socket has taken in already", k.at(0, payload), passes("not_taken"))
			k.reset()
		}
	})
}

// A ClientHello in two segments: the first passes, and when the second makes it whole the server's socket, which has
// taken in the first, is freed.
func TestResetWithTheSecondSegment(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		for _, cut := range []int{1, 5, 6, 20, len(hello) - 1} {
			k := r.connect(l, f.visitor, true)
			what := fmt.Sprintf("cut at %d", cut)
			p.swap(denyJA4(helloJA4, false))
			p.wantBytes(what+": the first part", k.write(hello[:cut]), passes("hello_partial"))
			rest := k.at(uint32(cut), hello[cut:])
			p.wantReset(what+": the rest", rest.Bytes(), resets("ja4"), k.toServer(rest, k.isn+1+uint32(cut)))
			p.wantFlow(what, verdictReset, confirmed|firstPayload|hasTLS)
			first := k.at(0, hello[:cut])
			k.reset()
			p.wantReset(what+": the rest again", rest.Bytes(), answered("ja4"), toClient(rest))
			p.wantReset(what+": the first part again", first.Bytes(), answered("ja4"), toClient(first))
		}
	})
}

// Whatever got lost between the dataplane and the socket, the first part of a ClientHello or the RST itself: as long as
// the socket is there, what comes again frees it, with the later of the number that it waits for and the packet's own.
func TestResetComesAgainWhileThereIsASocket(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		p.swap(denyJA4(helloJA4, false))
		k := r.connect(l, f.visitor, true)
		first, rest := k.at(0, hello[:20]), k.at(20, hello[20:])
		p.want("a first part that gets lost", first, passes("hello_partial"))
		p.wantReset("the rest: the first part may be on its way", rest.Bytes(), resets("ja4"), k.toServer(rest, k.isn+21))
		p.wantReset("the first part again: that is what the socket waits for", first.Bytes(), freedLater("ja4"),
			k.toServer(first, k.isn+1))
		for name, segment := range map[string]packet.Frame{"a bare ACK": f.ack(k.src, k.isn+1),
			"a FIN":       with(f.ack(k.src, k.isn+1), packet.FIN|packet.ACK),
			"without ACK": with(first, packet.PSH)} {
			p.wantReset(name, segment.Bytes(), freedLater("ja4"), k.toServer(segment, k.isn+1))
		}
		early := f.data(k.src, k.isn-100, hello)
		p.wantReset("from before the connection", early.Bytes(), freedLater("ja4"), k.toServer(early, k.isn+1))
		k.write(hello[:20])
		k.deliver()
		p.wantReset("the first part, which the socket has by now", first.Bytes(), freedLater("ja4"),
			k.toServer(first, k.isn+21))
		k.reset()
		p.wantReset("and then the client is told", first.Bytes(), answered("ja4"), toClient(first))
	})
}

// helloJA4 is the fingerprint of hello.
const helloJA4 = "t12i010000_0f2cb44170f4_000000000000"

func denyJA4(text string, stable bool) *config.Bundle {
	d := rules().rule("bad", 100).resetting(80, 95)
	ja4, err := signature.ParseJA4(text)
	if err != nil {
		panic(err)
	}
	d.b.JA4 = []config.JA4Feature{{Rule: "bad", Match: ja4, Stable: stable}}
	return d.bundle()
}

// The handshake may still rest in a request socket; a listener for both families has IPv6 sockets for IPv4 connections.
func TestResetOfRequestSocket(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		p.swap(f.resetBots())
		k := r.connect(r.listenWith(deferring, false), f.bot, false)
		frame := k.at(0, hello)
		p.wantReset("a first payload", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
		p.wantReset("again", frame.Bytes(), freedLater("prefix"), k.toServer(frame, k.isn+1))
	})
}

// Every later segment is answered, however it looks and whatever it carries, and nothing of it passes.
func TestResetAnswersEverySegment(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		p.swap(f.resetBots())
		k := r.visit(f.bot)
		frame := k.at(0, hello)
		p.wantReset("the first payload", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
		k.reset()
		numbers := []uint32{k.isn, k.isn + 1 + uint32(len(hello)), k.isn + 1<<30}
		for _, flags := range []uint8{packet.ACK, packet.ACK | packet.PSH, packet.ACK | packet.FIN,
			packet.ACK | packet.URG | packet.ECE,
			packet.SYN | packet.ACK, 0, packet.PSH, packet.FIN, packet.FIN | packet.URG | packet.PSH} {
			for i, seq := range numbers {
				for _, payload := range [][]byte{nil, {1}, make([]byte, 1400)} {
					segment := f.segment(f.bot, packet.TCP{Seq: seq, Ack: 0 - numbers[i], Flags: flags, Payload: payload})
					what := fmt.Sprintf("flags %#x, number %d, %d bytes", flags, i, len(payload))
					p.wantReset(what, segment.Bytes(), answered("prefix"), toClient(segment))
				}
			}
			for name, bent := range bentFrames(f.segment(f.bot, packet.TCP{Seq: k.isn + 1, Ack: math.MaxUint32, Flags: flags})) {
				p.wantReset(fmt.Sprintf("flags %#x, %s", flags, name), bent.Bytes(), answered("prefix"), toClient(bent))
			}
		}
	})
}

// An RST is never answered: without data it passes, as all RSTs of blocked flows do; with data it is dropped.
func TestResetNeverAnswersAnRST(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		p.swap(f.resetBots())
		k := r.visit(f.bot)
		frame := k.at(0, hello)
		p.wantReset("the first payload", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
		for _, flags := range []uint8{packet.RST, packet.RST | packet.ACK, packet.RST | packet.FIN,
			packet.RST | packet.ACK | packet.PSH} {
			bare := f.segment(f.bot, packet.TCP{Seq: k.isn + 1, Ack: 1, Flags: flags})
			p.want(fmt.Sprintf("flags %#x", flags), bare, undecided("web", "handshake"))
			full := f.segment(f.bot, packet.TCP{Seq: k.isn + 1, Ack: 1, Flags: flags, Payload: request})
			got, _ := p.exchange(full.Bytes())
			if diff := cmp.Diff(result{"XDP_DROP", "web", "stable", "prefix", "reset"}, got); diff != "" {
				t.Errorf("flags %#x with data (-want +got):\n%s", flags, diff)
			}
		}
	})
}

// Frames that lie in several pieces of memory: 9,000 bytes, and what a card that joins segments hands over.
func TestResetOfLongFrames(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		p.publish(f.plain(), f.resetBots())
		l := r.listen()
		for _, size := range []int{1, 1460, 3500, 8960, 65_000} {
			for name := range bentFrames(f.data(f.bot, 1, nil)) {
				k := r.connect(l, f.bot, true)
				frame := bentFrames(k.at(0, slices.Repeat([]byte{'x'}, size)))[name]
				what := fmt.Sprintf("%d bytes, %s", size, name)
				p.wantReset(what+": the first payload", frame.Bytes(), resets("prefix"), k.toServer(frame, k.isn+1))
				k.reset()
				p.wantReset(what+": again", frame.Bytes(), answered("prefix"), toClient(frame))
			}
		}
	})
}
