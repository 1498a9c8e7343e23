// SPDX-License-Identifier: Apache-2.0

package oracle_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/model/oracle"
	"github.com/spillway/spillway/test/support/packet"
)

// denied is a world in which half of the scores come from a network and half from what is the matter with a packet.
func denied() oracle.World {
	b := &config.Bundle{
		Rules:  []config.Rule{{ID: "net", Score: 60}, {ID: "odd", Score: 40}, {ID: "syn", Score: 100}},
		Policy: map[string]config.Policy{config.DefaultPolicy: {Drop: 80}, "dns": {Drop: 60}},
		Prefixes: []config.PrefixList{{List: "own", Rule: "net", Entries: []netip.Prefix{
			netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:a::/48")}}},
	}
	b.Reasons = []config.ReasonFeature{{Rule: "odd", Reason: "fragment"}, {Rule: "odd", Reason: "malformed"}}
	fp, err := signature.ParseMuonFP("1024:::")
	if err != nil {
		panic(err)
	}
	b.TCP = []config.TCPFeature{{Rule: "syn", Fingerprint: fp}}
	return oracle.World{
		Now: time.Now(), Mode: config.ModeEnforce, Services: servicePool(), SynPlaces: 16,
		Stable: &oracle.Generation{Bundle: b, Services: []string{"web", "behind", "dns"}, Slot: 2, Number: 9},
	}
}

// The model is only worth something while it says itself what the specifications say.
func TestModel(t *testing.T) {
	web := packet.TCP{SourcePort: 40000, DestPort: 443, Flags: packet.SYN, Window: 512}
	frame := func(edit func(*packet.Frame)) packet.Frame {
		f := packet.Frame{Source: netip.MustParseAddr("198.51.100.9"), Dest: netip.MustParseAddr("192.0.2.3"), Body: web}
		edit(&f)
		return f
	}
	six := func(f *packet.Frame) {
		f.Source, f.Dest = netip.MustParseAddr("2001:db8:a::9"), netip.MustParseAddr("2001:db8::3")
	}
	for name, c := range map[string]struct {
		frame packet.Frame
		want  string
	}{
		"half a score": {frame(func(*packet.Frame) {}), "pass below_threshold of web by slot 2"},
		"other source": {frame(func(f *packet.Frame) { f.Source = netip.MustParseAddr("203.0.113.1") }),
			"pass no_match of web by slot 2"},
		"fingerprint": {frame(func(f *packet.Frame) { t := web; t.Window = 1024; f.Body = t }),
			"drop tcp_fingerprint of web by slot 2"},
		"later fragment": {frame(func(f *packet.Frame) { f.Fragment = &packet.Fragment{Offset: 1} }),
			"drop prefix of web by slot 2"},
		"first fragment": {frame(func(f *packet.Frame) { f.Fragment = &packet.Fragment{More: true} }),
			"drop prefix of web by slot 2"},
		"IHL 4": {frame(func(f *packet.Frame) { f.Bent.HeaderWords = new(uint8(4)) }),
			"drop prefix of web by slot 2"},
		"data offset 4": {frame(func(f *packet.Frame) { t := web; t.HeaderWords = new(uint8(4)); f.Body = t }),
			"drop prefix of web by slot 2"},
		"no data, no SYN": {frame(func(f *packet.Frame) {
			f.Source, f.Body = netip.MustParseAddr("203.0.113.1"), packet.TCP{DestPort: 443, Flags: packet.ACK}
		}),
			"pass handshake of web by slot 2"},
		"UDP with a policy of its own": {frame(func(f *packet.Frame) { f.Body = packet.UDP{DestPort: 53} }),
			"drop prefix of dns by slot 2"},
		"a service without policy": {frame(func(f *packet.Frame) {
			t := web
			t.DestPort = 80
			f.Dest, f.Body = netip.MustParseAddr("192.0.2.1"), t
		}), "pass no_policy of plain by slot 2"},
		"no service": {frame(func(f *packet.Frame) { t := web; t.DestPort = 22; f.Body = t }),
			"pass not_service"},
		"ICMP": {frame(func(f *packet.Frame) { f.Body = packet.Raw{Protocol: packet.ICMP} }),
			"pass other_protocol"},
		"ARP": {
			packet.Frame{EtherType: new(packet.EtherARP), Body: packet.Raw{Data: make([]byte, 28)}}, "pass not_ip"},
		"cut in Ethernet's type": {packet.Frame{EtherType: new(packet.EtherVLAN), Body: packet.Raw{}}, "pass malformed"},
		"an atomic fragment is whole": {frame(func(f *packet.Frame) { six(f); f.Fragment = &packet.Fragment{} }),
			"pass below_threshold of web by slot 2"},
		"any number of headers": {
			frame(func(f *packet.Frame) { six(f); f.Extensions = packet.Extensions(100, packet.DestOptions) }),
			"pass below_threshold of web by slot 2"},
		"ESP": {frame(func(f *packet.Frame) { six(f); f.Body = packet.Raw{Protocol: packet.ESP} }), "pass other_protocol"},
	} {
		m := oracle.NewModel(denied())
		if got := m.Decide(c.frame.Bytes()).String(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
