// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/packet"
)

// A06 of docs/ACCEPTANCE.md: a corpus of who must be dropped and who must not, which hits and misses every rule of a
// bundle with every kind of feature. Each rule is taken out, and turned round, in turn, and the corpus must notice.

// member is one connection of the corpus, with a source port of its own, and what becomes of its last packet.
type member struct {
	name string
	try  func(p *plane, port uint16) string
	want string
}

const (
	listed4, near4   = "198.51.100.10", "198.51.100.70"
	listed6, near6   = "2001:db8:bad:1::7", "2001:db8:bae:1::7"
	partner          = "198.51.100.20"
	doubted, certain = "198.51.100.130", "198.51.100.140"
)

func corpusBundle(p *plane) *config.Bundle {
	d := bundle().
		rule("net", 100).rule("net6", 100).rule("partner", -60).rule("feed", 60).rule("odd", 30).
		rule("raw", 90).rule("system", 85).
		rule("exact", 100).rule("parts", 90).rule("stable", 95).
		prefix("net", netip.MustParsePrefix("198.51.100.0/26")).prefix("net6", netip.MustParsePrefix("2001:db8:bad::/48")).
		prefix("feed", netip.MustParsePrefix("198.51.100.128/25")).
		reason("odd", "syn_options").
		ja4("exact", p.ja4Of(exactHello)).ja4("parts", "*"+p.ja4Of(partsHello)[10:]).
		stable("stable", p.stableJA4Of(stableHello))
	d.b.Prefixes = append(d.b.Prefixes, config.PrefixList{List: "partners", Rule: "partner",
		Entries: []netip.Prefix{netip.MustParsePrefix(partner + "/32")}})
	d.b.TCP = append(d.b.TCP, config.TCPFeature{Rule: "raw", Fingerprint: must(signature.ParseMuonFP("1024:2:1460:"))})
	d.b.P0F = append(d.b.P0F, config.P0FFeature{Rule: "system",
		Signature: must(signature.ParseP0F("*:64:0:1460:mss*44,7:mss,sok,ts,nop,ws::0"))})
	return d.bundle()
}

var (
	exactHello  = one(tiny(0x1301, 0x1302))
	partsHello  = one(tiny(0x1301, 0x1303))
	stableHello = one(resumed(1))
	nobodys     = one(tiny(0x1302, 0x1303))
)

func corpus() []member {
	says := func(source string, stream []byte) func(*plane, uint16) string {
		return func(p *plane, port uint16) string { return p.visits(source, port, stream).all(1460) }
	}
	knocks := func(source string, window uint16, ttl byte, options ...[]byte) func(*plane, uint16) string {
		return func(p *plane, port uint16) string { return p.run(knock(source, port, window, ttl, options...)) }
	}
	linux := [][]byte{packet.MSS(1460), packet.SACKPermitted(), packet.Timestamps(1, 0), packet.NOP(), packet.Scale(7)}
	raw, broken := packet.MSS(1460), []byte{2, 1, 1, 1}
	return []member{
		{"of the network", says(listed4, nobodys), "XDP_DROP"},
		{"beside the network", says(near4, nobodys), "XDP_PASS"},
		{"of the IPv6 network", says(listed6, nobodys), "XDP_DROP"},
		{"beside the IPv6 network", says(near6, nobodys), "XDP_PASS"},
		{"a partner of the network", says(partner, nobodys), "XDP_PASS"},
		{"of the feed", says(doubted, nobodys), "XDP_PASS"},
		{"of the feed, with options that cannot be read", knocks(certain, 512, 64, broken), "XDP_DROP"},
		{"options that cannot be read", knocks(visitorIP, 512, 64, broken), "XDP_PASS"},
		{"a raw socket", knocks(visitorIP, 1024, 64, raw), "XDP_DROP"},
		{"another window", knocks(visitorIP, 1025, 64, raw), "XDP_PASS"},
		{"the system", knocks("2001:db8:1::7", 44*1460, 64, linux...), "XDP_DROP"},
		{"the system, with another order of options",
			knocks("2001:db8:1::7", 44*1460, 64, linux[0], linux[4], linux[1], linux[2], linux[3]), "XDP_PASS"},
		{"the hello", says(visitorIP, exactHello), "XDP_DROP"},
		{"the hello of these parts", says(visitorIP, partsHello), "XDP_DROP"},
		{"the hello, stable", says(visitorIP, stableHello), "XDP_DROP"},
		{"another hello", says(visitorIP, nobodys), "XDP_PASS"},
	}
}

// knock is a SYN to the service far.
func knock(source string, port, window uint16, ttl byte, options ...[]byte) []byte {
	from := netip.AddrPortFrom(netip.MustParseAddr(source), port)
	to := far(from)
	f := packet.Frame{Source: from.Addr(), Dest: to.Addr(), Body: packet.TCP{SourcePort: port, DestPort: to.Port(),
		Seq: 0x5eed0000 + uint32(port), Flags: packet.SYN, Window: window, Options: packet.Options(options...)}}
	b := f.Bytes()
	if ip := b[f.L3():]; from.Addr().Is6() {
		ip[7] = ttl
	}
	return b
}

// verdicts shows the corpus to a bundle.
func (p *plane) verdicts(b *config.Bundle, port *uint16) []string {
	p.t.Helper()
	p.swap(b)
	p.refillBudgets()
	var all []string
	for _, m := range corpus() {
		*port++
		all = append(all, m.try(p, *port))
	}
	return all
}

func TestA06CorpusNoticesEachRule(t *testing.T) {
	p := open(t)
	port := uint16(1000)
	var want []string
	for _, m := range corpus() {
		want = append(want, m.want)
	}
	whole := p.verdicts(corpusBundle(p), &port)
	for i, m := range corpus() {
		if whole[i] != m.want {
			t.Errorf("%s: %s, want %s", m.name, whole[i], m.want)
		}
	}
	noticed := map[string]int{}
	for i, rule := range corpusBundle(p).Rules {
		for what, change := range map[string]func(*config.Bundle){
			"taken out":    func(b *config.Bundle) { takeOut(b, rule.ID) },
			"turned round": func(b *config.Bundle) { b.Rules[i].Score = -b.Rules[i].Score },
		} {
			b := corpusBundle(p)
			change(b)
			got := p.verdicts(b, &port)
			differ := 0
			for k := range got {
				if got[k] != want[k] {
					differ++
				}
			}
			if noticed[what] += differ; differ == 0 {
				t.Errorf("rule %s %s: nobody of the corpus notices", rule.ID, what)
			}
		}
	}
	t.Logf("%d rules; differences: %v", len(corpusBundle(p).Rules), noticed)
	if again := p.verdicts(corpusBundle(p), &port); !slices.Equal(again, want) {
		t.Errorf("the bundle as it was: %v, want %v", again, want)
	}
}

// takeOut takes a rule and its features out of a bundle.
func takeOut(b *config.Bundle, id string) {
	b.Rules = slices.DeleteFunc(b.Rules, func(r config.Rule) bool { return r.ID == id })
	b.Prefixes = slices.DeleteFunc(b.Prefixes, func(l config.PrefixList) bool { return l.Rule == id })
	b.TCP = slices.DeleteFunc(b.TCP, func(f config.TCPFeature) bool { return f.Rule == id })
	b.JA4 = slices.DeleteFunc(b.JA4, func(f config.JA4Feature) bool { return f.Rule == id })
	b.P0F = slices.DeleteFunc(b.P0F, func(f config.P0FFeature) bool { return f.Rule == id })
	b.Reasons = slices.DeleteFunc(b.Reasons, func(f config.ReasonFeature) bool { return f.Rule == id })
}

// stableJA4Of is ja4Of without what comes and goes.
func (p *plane) stableJA4Of(stream []byte) string {
	p.t.Helper()
	h, err := reference.ParseStream(stream)
	p.must(err)
	return h.StableJA4()
}
