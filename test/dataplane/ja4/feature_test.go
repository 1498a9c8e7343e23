// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
)

// resumed is browser's hello with a session ticket's resumption and padding, so that JA4 and stable JA4 differ.
func resumed(seed uint64) clienthello.Hello {
	h := browser(seed)
	h.Extensions = append(h.Extensions, clienthello.Extension{Type: 0x0015, Data: make([]byte, 9)},
		clienthello.Extension{Type: 0x0029, Data: make([]byte, 40)})
	return h
}

// forms are the ways in which a feature may name a JA4.
func forms(ja4 string) []string {
	part := strings.Split(ja4, "_")
	a, b, c := part[0], part[1], part[2]
	return []string{ja4, a + "_" + b + "_*", a + "_*_" + c, "*_" + b + "_" + c, a + "_*_*", "*_" + b + "_*", "*_*_" + c}
}

// Every form catches its hello, exact and stable, and no hello that differs in one of the named parts.
func TestForms(t *testing.T) {
	p := open(t)
	stream := one(resumed(1))
	h, err := reference.ParseStream(stream)
	p.must(err)
	others := [][]byte{one(browser(1))} // another a and c
	for _, change := range []func(*clienthello.Hello){
		func(h *clienthello.Hello) { h.Version = 0x0301; h.Extensions = without(h.Extensions, 0x002b) }, // a and c
		func(h *clienthello.Hello) { h.Ciphers[3] = 0x00ff },                                            // b
		func(h *clienthello.Hello) { h.Ciphers = append(h.Ciphers, 0x00ff) },                            // a and b
		func(h *clienthello.Hello) { h.Extensions[1].Type = 0x4001; h.Extensions[1].Data = nil },        // c, perhaps a
		func(h *clienthello.Hello) { replace(h.Extensions, 0x0010, []byte("\x00\x09\x08http/1.1")) },    // a
		func(h *clienthello.Hello) { replace(h.Extensions, 0x000d, []byte{0, 4, 8, 4, 4, 3}) },          // c
		func(h *clienthello.Hello) { h.Extensions = without(h.Extensions, 0x0000) },                     // a
		func(h *clienthello.Hello) {
			h.Extensions = append(h.Extensions, clienthello.Extension{Type: 0x0012 + 1})
		}, // a and c
	} {
		other := resumed(2)
		change(&other)
		others = append(others, one(other))
	}
	port := uint16(0)
	for _, stable := range []bool{false, true} {
		ja4 := h.JA4()
		if stable {
			ja4 = h.StableJA4()
		}
		for _, form := range forms(ja4) {
			p.swap(bundle().rule("bot", 100).feature("bot", form, stable).bundle())
			name := config.JA4Feature{Match: must(signature.ParseJA4(form)), Stable: stable}.String()
			port++
			p.wants(name+" and its hello", "XDP_DROP", p.visits(botIP, port, stream).all(1460))
			for i, other := range others {
				o, err := reference.ParseStream(other)
				p.must(err)
				got := o.JA4()
				if stable {
					got = o.StableJA4()
				}
				want := "XDP_PASS"
				if matches(form, got) {
					want = "XDP_DROP"
				}
				port++
				p.wants(name+" and "+got, want, p.visits(visitorIP, port+uint16(100*i), other).all(1460))
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func without(extensions []clienthello.Extension, kind uint16) (rest []clienthello.Extension) {
	for _, e := range extensions {
		if e.Type != kind {
			rest = append(rest, e)
		}
	}
	return rest
}

func replace(extensions []clienthello.Extension, kind uint16, data []byte) {
	for i := range extensions {
		if extensions[i].Type == kind {
			extensions[i].Data = data
		}
	}
}

func matches(form, ja4 string) bool {
	want, got := strings.Split(form, "_"), strings.Split(ja4, "_")
	for i, part := range want {
		if part != "*" && part != got[i] {
			return false
		}
	}
	return true
}

// Of all features that fit one hello the most specific counts, and it alone: exact before stable where as many parts
// are named.
func TestTheMostSpecificFeatureCounts(t *testing.T) {
	p := open(t)
	stream := one(resumed(1))
	h, err := reference.ParseStream(stream)
	p.must(err)
	var order []config.JA4Feature
	exact, stable := forms(h.JA4()), forms(h.StableJA4())
	for _, group := range [][]int{{0}, {1, 2, 3}, {4, 5, 6}} {
		for _, i := range group {
			order = append(order, config.JA4Feature{Match: must(signature.ParseJA4(exact[i]))})
		}
		for _, i := range group {
			order = append(order, config.JA4Feature{Match: must(signature.ParseJA4(stable[i])), Stable: true})
		}
	}
	for first := range order {
		d := bundle()
		for i, f := range order[first:] {
			id := f.String()
			d.rule(id, i+1)
			f.Rule = id
			d.b.JA4 = append(d.b.JA4, f)
		}
		p.swap(d.bundle())
		v := p.visits(visitorIP, uint16(1+first), stream)
		v.all(1460)
		flow, _ := v.flow()
		if flow.Score != 1 {
			t.Errorf("with %d features, the first %s: score %d, want that of the first alone", len(order)-first,
				order[first], flow.Score)
		}
	}
}

// A feature adds to what speaks against the source otherwise; a mild one alone does not block, and a good one relieves.
func TestScoresAddUp(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	ja4 := p.ja4Of(stream)
	bot, both := netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24")
	p.swap(bundle().rule("ja4", 50).rule("list", 40).ja4("ja4", ja4).prefix("list", bot).bundle())
	p.wants("a listed source with a listed hello", "XDP_DROP", p.visits(botIP, 1, stream).all(1460))
	p.wants("a listed hello", "XDP_PASS", p.visits(visitorIP, 1, stream).all(1460))
	p.wants("a listed source", "XDP_PASS", p.visits(botIP, 2, one(tiny(1))).all())

	p.swap(bundle().rule("ja4", -30).rule("list", 100).ja4("ja4", ja4).prefix("list", both).bundle())
	p.wants("a hello that relieves a listed source", "XDP_PASS", p.visits(visitorIP, 2, stream).all())
	p.wants("another hello of a listed source", "XDP_DROP", p.visits(visitorIP, 3, one(tiny(1))).all())

	p.swap(bundle().rule("ja4", 100).ja4("ja4", ja4).bundle())
	p.wants("a protected source", "XDP_PASS", p.visits(protected.String(), 1, stream).all(1460))
}

// A rule counts until it expires.
func TestExpiry(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	ja4 := p.ja4Of(stream)
	p.swap(bundle().ruleUntil("bot", 100, time.Now().Add(time.Hour)).ja4("bot", ja4).bundle())
	p.wants("before its end", "XDP_DROP", p.visits(botIP, 1, stream).all(1460))
	end := time.Now().Add(time.Second)
	p.swap(bundle().ruleUntil("bot", 100, end).ja4("bot", ja4).bundle())
	for port, deadline := uint16(2), time.Now().Add(20*time.Second); ; port++ {
		action := p.visits(botIP, port, stream).all(1460)
		if past := time.Now(); action == "XDP_PASS" {
			if past.Before(end) {
				t.Error("the rule ended before its time")
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the rule outlives its end")
		}
	}
}

// What only says that a hello could not be read, or came oddly, never blocks, whatever its score and however many.
func TestWeakReasonsNeverBlock(t *testing.T) {
	p := open(t)
	d := bundle()
	for _, reason := range append([]string{"unconfirmed", "midstream", "syn_options"}, weak...) {
		d.rule(reason, 100).reason(reason, reason)
	}
	p.swap(d.bundle())
	stream := one(browser(1))
	for i, s := range [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), withCiphers(run(0xc000, 100)),
		at(stream, 44, 99), stream[:60]} {
		p.wants("in order", "XDP_PASS", p.visits(visitorIP, uint16(1+i), s).all())
		v := p.visits(visitorIP, uint16(100+i), s)
		for _, piece := range [][2]int{{0, 2}, {9, 11}, {4, 9}, {0, len(s)}, {2, len(s)}} {
			p.wants("out of order", "XDP_PASS", v.bytes(piece[0], min(piece[1], len(s))))
			p.wants("contradicted", "XDP_PASS", v.data(0, []byte{0x16, 3, 9, 9}))
		}
	}
	for n := range 200 { // of one prefix, so that some are busy
		p.wants("a new shape", "XDP_PASS", p.visits(visitorIP, uint16(1000+n), one(tiny(uint16(n+1)))).all())
	}
}

// With something strong beside it, a weak reason counts.
func TestWeakReasonsAdd(t *testing.T) {
	p := open(t)
	p.swap(bundle().rule("list", 50).rule("odd", 40).prefix("list", netip.MustParsePrefix("198.51.100.0/24")).
		reason("odd", "not_hello").bundle())
	p.wants("a listed source without a hello", "XDP_DROP", p.visits(botIP, 1, []byte("GET / HTTP/1.1\r\n\r\n")).all())
	p.wants("a listed source with one", "XDP_PASS", p.visits(botIP, 2, one(tiny(1))).all())
	p.wants("another source without one", "XDP_PASS", p.visits(visitorIP, 3, []byte("GET / HTTP/1.1\r\n\r\n")).all())
}

// A candidate's features count where it decides for everybody, and while its lease lives. Of a share of the sources it
// decides what somebody vouches for, which nobody does here: test/dataplane/progrun has connections.
func TestCanary(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	b := against(p.ja4Of(stream)).bundle()
	p.try(b, 0)
	p.wants("a shadow", "XDP_PASS", p.visits(botIP, 1, stream).all(1460))
	p.try(b, 999)
	p.wants("a share, and nobody vouches for it", "XDP_PASS", p.visits(botIP, 2, stream).all(1460))
	full := uint16(1000)
	p.change(loader.Change{Canary: &full})
	p.wants("all are the canary's", "XDP_DROP", p.visits(botIP, 3, stream).all(1460))
	p.SetLease(loader.In(0))
	p.wants("the lease ended", "XDP_PASS", p.visits(botIP, 4, stream).all(1460))
	p.SetLease(loader.In(time.Hour))
	p.wants("the lease lives again", "XDP_DROP", p.visits(botIP, 5, stream).all(1460))
	for _, g := range must(p.Generations()) {
		if g.Slot == p.Control().Candidate {
			p.SetTripped(g.Number)
		}
	}
	p.wants("its breaker tripped", "XDP_PASS", p.visits(botIP, 6, stream).all(1460))
}

// In observe mode everything passes and the fingerprint is kept.
func TestObserve(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	p.swap(against(p.ja4Of(stream)).bundle())
	mode := loader.ModeOf(config.ModeObserve)
	p.change(loader.Change{Mode: &mode})
	v := p.visits(botIP, 1, stream)
	p.wants("observed", "XDP_PASS", v.all(1460))
	v.wantJA4("observed", p.ja4Of(stream))
}

// Only services of kind tls have their payloads looked into.
func TestOtherKinds(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	p.swap(against(p.ja4Of(stream)).bundle())
	v := p.visits(botIP, 1, stream)
	v.k.Dest = netip.AddrPortFrom(v.k.Dest.Addr(), 8080)
	p.run(v.k.SYN())
	p.wants("a hello to a tcp service", "XDP_PASS", v.all(1460))
	v.wantJA4("a hello to a tcp service", "")
	v.k.Dest = netip.AddrPortFrom(v.k.Dest.Addr(), 9999)
	p.wants("a hello to no service", "XDP_PASS", v.all(1460))
}
