// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"fmt"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// The kernel runs no frame that is shorter than an Ethernet header.
const shortestFrame = packet.EthernetLen

// dressed returns a frame in every clothing that the parser knows.
func dressed(f packet.Frame) map[string]packet.Frame {
	tagged, deep, options, part := f, f, f, first(f)
	tagged.Tags = packet.Tags(8, packet.EtherQinQ)
	all := map[string]packet.Frame{"plain": f, "behind 8 tags": tagged, "first fragment": part,
		"last fragment": later(f, 3, false)}
	if f.Source.Is4() {
		options.Options = make([]byte, 40)
		all["with IPv4 options"] = options
		return all
	}
	for _, kind := range extensionKinds {
		deep.Extensions = append(deep.Extensions, packet.Extensions(1, kind)...)
	}
	all["behind extension headers"] = deep
	deep.Extensions = packet.Extensions(extensionsMax+1, packet.AH)
	all["too deep"] = deep
	return all
}

// Every valid packet at every truncated length: nothing aborts, a visitor is never dropped, and a bot is dropped from
// the byte on that its addresses can be read.
func TestA37EveryTruncatedLength(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().rule("odd", 100).reason("odd", "malformed").reason("odd", "fragment").bundle())
		header := packet.IPv6Len
		if f.name == "IPv4" {
			header = packet.IPv4Len
		}
		for _, k := range f.kinds() {
			visitors := dressed(k.visitor)
			for name, bot := range dressed(k.bot) {
				name = fmt.Sprintf("%s %s", k.name, name)
				readable := bot.L3() + header
				for n, cut := range packet.Truncations(bot.Bytes(), shortestFrame) {
					want := "XDP_PASS"
					if n >= readable {
						want = "XDP_DROP"
					}
					if got := p.run(cut); got != want {
						t.Errorf("%s, %d bytes of a bot's: %s, want %s", name, n, got, want)
					}
				}
				visitor := visitors[name[len(k.name)+1:]]
				for n, cut := range packet.Truncations(visitor.Bytes(), shortestFrame) {
					if got := p.run(cut); got != "XDP_PASS" {
						t.Errorf("%s, %d bytes of a visitor's: %s, want XDP_PASS", name, n, got)
					}
				}
			}
		}
		if p.sent < 3000 {
			t.Errorf("only %d frames were cut", p.sent)
		}
	})
}

// A fingerprint is read from the whole SYN or not at all.
func TestTruncatedSYNHasNoFingerprint(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		whole := f.scan(f.visitor).Bytes()
		for n, cut := range packet.Truncations(whole, shortestFrame) {
			want := "XDP_PASS"
			if n == len(whole) {
				want = "XDP_DROP"
			}
			if got := p.run(cut); got != want {
				t.Errorf("%d of %d bytes of a scanner's SYN: %s, want %s", n, len(whole), got, want)
			}
		}
	})
}

// The smallest frame that the kernel runs, of every byte.
func TestBareEthernetHeaderPasses(t *testing.T) {
	p := borrow(t).site(families[0], families[0].usual().bundle())
	for v := range 256 {
		frame := make([]byte, shortestFrame)
		for i := range frame {
			frame[i] = byte(v)
		}
		if got := p.run(frame); got != "XDP_PASS" {
			t.Errorf("14 bytes of %#x: %s", v, got)
		}
	}
}
