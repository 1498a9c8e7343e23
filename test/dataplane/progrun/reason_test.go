// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
)

// row is one packet in, and how it has to leave.
type row struct {
	name  string
	frame packet.Frame
	want  result
}

func (p *plane) wantRows(rows []row) {
	p.t.Helper()
	for _, r := range rows {
		p.want(r.name, r.frame, r.want)
	}
}

func TestWhatIsNotOurs(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		raw := func(kind uint16) packet.Frame {
			return packet.Frame{EtherType: new(kind), Body: packet.Raw{Data: make([]byte, 46)}}
		}
		ip := func(protocol uint8) packet.Frame {
			return packet.Frame{Source: f.bot, Dest: f.server, Body: packet.Raw{Protocol: protocol, Data: make([]byte, 64)}}
		}
		to := func(port uint16) packet.Frame {
			return packet.Frame{Source: f.bot, Dest: f.server,
				Body: packet.TCP{SourcePort: clientPort, DestPort: port, Flags: packet.SYN}}
		}
		p.wantRows([]row{
			{"ARP", raw(packet.EtherARP), undecided("none", "not_ip")},
			{"LLDP", raw(packet.EtherLLDP), undecided("none", "not_ip")},
			{"MPLS", raw(packet.EtherMPLS), undecided("none", "not_ip")},
			{"PPPoE", raw(packet.EtherPPPoE), undecided("none", "not_ip")},
			{"tagged ARP", packet.Frame{Tags: packet.Tags(2, 0), EtherType: new(packet.EtherARP), Body: packet.Raw{}},
				undecided("none", "not_ip")},
			{"ICMP", ip(packet.ICMP), undecided("none", "other_protocol")},
			{"ICMPv6", ip(packet.ICMPv6), undecided("none", "other_protocol")},
			{"ESP", ip(packet.ESP), undecided("none", "other_protocol")},
			{"GRE", ip(packet.GRE), undecided("none", "other_protocol")},
			{"IP in IP", ip(packet.IPIP), undecided("none", "other_protocol")},
			{"no next header", ip(packet.NoNext), undecided("none", "other_protocol")},
			{"SSH", to(22), undecided("none", "not_service")},
			{"the next port", to(webPort + 1), undecided("none", "not_service")},
			{"port 0", to(0), undecided("none", "not_service")},
			{"UDP to port 0", f.udp(f.bot, 0), undecided("none", "not_service")},
			{"UDP to web's port", f.udp(f.bot, webPort), undecided("none", "not_service")},
			{"TCP to the port of dns", to(dnsPort), undecided("none", "not_service")},
			{"an answer of a server elsewhere",
				f.segment(f.bot, packet.TCP{SourcePort: webPort, DestPort: clientPort, Flags: packet.SYN | packet.ACK}),
				undecided("none", "not_service")},
		})
	})
}

func TestWhatIsDecided(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		must := func(src packet.Frame, flags uint8) packet.Frame {
			tcp := src.Body.(packet.TCP)
			tcp.Flags = flags
			src.Body = tcp
			return src
		}
		p.wantRows([]row{
			{"a visitor's SYN", f.syn(f.visitor), passes("no_match")},
			{"a bot's SYN", f.syn(f.bot), drops("prefix")},
			{"a scanner's SYN", f.scan(f.visitor), drops("tcp_fingerprint")},
			{"a scanner's SYN from a denied prefix", f.scan(f.bot), drops("prefix")},
			{"a scanner's SYN with ECN asked for", must(f.scan(f.visitor), packet.SYN|packet.ECE|packet.CWR),
				drops("tcp_fingerprint")},
			{"a scanner's SYN with FIN", must(f.scan(f.visitor), packet.SYN|packet.FIN), drops("tcp_fingerprint")},
			{"a suspect's SYN", f.syn(f.mild), passes("below_threshold")},
			{"a suspect that scans", f.scan(f.mild), drops("tcp_fingerprint")},
			{"a protected source", f.syn(f.protected), passes("protected")},
			{"a protected source that scans", f.scan(f.protected), passes("protected")},
			{"an ACK without a flow", f.ack(f.visitor, 5), passes("handshake")},
			{"a bot's ACK", f.ack(f.bot, 5), drops("prefix")},
			{"a FIN without a flow", must(f.ack(f.visitor, 5), packet.FIN|packet.ACK), passes("handshake")},
			{"a RST without a flow", must(f.ack(f.visitor, 5), packet.RST), passes("handshake")},
			{"a bot's RST", must(f.ack(f.bot, 5), packet.RST), drops("prefix")},
			{"a SYN-ACK to a service", must(f.ack(f.visitor, 5), packet.SYN|packet.ACK), passes("handshake")},
			{"no flag at all", must(f.ack(f.visitor, 5), 0), passes("handshake")},
			{"all flags", must(f.ack(f.bot, 5), 0xff), drops("prefix")},
			{"data without a start", f.data(f.visitor, 5, request), passes("midstream")},
			{"a bot's data without a start", f.data(f.bot, 5, request), drops("prefix")},
			{"a protected source's data", f.data(f.protected, 5, request), passes("protected")},
			{"a hello that no socket vouches for", f.data(f.visitor, 5, hello), passes("unconfirmed")},
			{"a bot's hello", f.data(f.bot, 5, hello), drops("prefix")},
			{"UDP", f.udp(f.visitor, dnsPort), passes("no_match").of("dns")},
			{"a bot's UDP", f.udp(f.bot, dnsPort), drops("prefix").of("dns")},
			{"a suspect's UDP", f.udp(f.mild, dnsPort), passes("below_threshold").of("dns")},
			{"a protected source's UDP", f.udp(f.protected, dnsPort), passes("protected").of("dns")},
		})
	})
}

// The options of a SYN can be unreadable in many ways: none of them blocks, all of them can be scored.
func TestUnreadableSYNOptions(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := f.usual().rule("odd", 100).rule("odd-suspect", 50).reason("odd", "syn_options").bundle()
		p := borrow(t).site(f, b)
		syn := func(src string, options []byte) packet.Frame {
			from := map[string]packet.Frame{"visitor": f.syn(f.visitor), "suspect": f.syn(f.mild), "bot": f.syn(f.bot)}[src]
			tcp := from.Body.(packet.TCP)
			tcp.Options = options
			from.Body = tcp
			return from
		}
		nops := func(n int) (b []byte) {
			for range n {
				b = append(b, packet.KindNOP)
			}
			return b
		}
		for name, options := range map[string][]byte{
			"length 0":              {packet.KindMSS, 0, 5, 0xb4},
			"length 1":              {packet.KindMSS, 1, 5, 0xb4},
			"over the end":          {packet.KindMSS, 5, 5, 0xb4},
			"far over the end":      {packet.KindMSS, 255, 5, 0xb4},
			"kind without a length": append(nops(3), packet.KindMSS),
			"25 options":            append(nops(25), 0, 0, 0),
			"40 options":            nops(40),
		} {
			// Only a reason speaks against the visitor, and reasons alone never block.
			p.want(name, syn("visitor", options), passes("weak"))
			p.want(name+", suspect prefix", syn("suspect", options), drops("syn_options"))
			p.want(name+", denied prefix", syn("bot", options), drops("prefix"))
		}
		for name, options := range map[string][]byte{
			"none": nil, "24 options": nops(24), "end at once": {0, 0, 0, 0}, "fill after the end": {0, 2, 0, 9},
		} {
			p.want(name, syn("visitor", options), passes("no_match"))
		}
	})
}

func TestReasonsAloneNeverBlock(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		d := f.usual().rule("reason", 100)
		for _, r := range config.ScoreableReasons() {
			d.reason("reason", r)
		}
		p := borrow(t).site(f, d.bundle())
		first := f.data(f.visitor, 5, request)
		first.Fragment = &packet.Fragment{More: true}
		deep := f.syn(f.visitor)
		deep.Extensions = packet.Extensions(extensionsMax+1, packet.DestOptions)
		short := f.syn(f.visitor)
		short.Body = packet.Raw{Protocol: packet.ProtoTCP, Data: []byte{0x9c, 0x40, 1, 0xbb, 0, 0}}
		odd := f.syn(f.visitor)
		odd.Body = packet.TCP{SourcePort: 1, DestPort: webPort, Flags: packet.SYN, Options: []byte{2, 0, 0, 0}}
		rows := []row{
			{"midstream", f.data(f.visitor, 5, request), passes("weak")},
			{"unconfirmed", f.data(f.visitor, 5, hello), passes("weak")},
			{"fragment", first, passes("weak")},
			{"malformed", short, passes("weak")},
			{"SYN options", odd, passes("weak")},
		}
		if f.name == "IPv6" {
			rows = append(rows, row{"too deep", deep, passes("weak")})
		}
		p.wantRows(rows)
		p.want("no reason", f.syn(f.visitor), passes("no_match"))
		// Beside a prefix or a fingerprint that speaks against the source, a reason counts in full.
		p.want("midstream and a suspect prefix", f.data(f.mild, 5, request), drops("midstream"))
	})
}

func TestNothingPublishedPasses(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := open(t)
		p.want("nothing published", f.syn(f.bot), undecided("none", "not_service"))
		p.publishHost(f.site())
		p.mode(config.ModeEnforce)
		p.want("a host file alone", f.syn(f.bot), undecided("web", "no_generation"))
		p.swap(f.usual().bundle())
		p.Beat()
		p.want("a bundle too", f.syn(f.bot), drops("prefix"))
		_, err := p.DropGenerations()
		p.must(err)
		p.want("all generations dropped", f.syn(f.bot), undecided("web", "no_generation"))
	})
}

// A generation that was compiled before a service was added knows no policy for it.
func TestNewServicePassesUntilABundleKnowsIt(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t)
		h := f.site()
		h.Services = h.Services[:1]
		p.publish(h, f.usual().bundle())
		p.want("before", f.udp(f.bot, dnsPort), undecided("none", "not_service"))
		p.publishHost(f.site())
		p.want("a new service", f.udp(f.bot, dnsPort), passes("no_policy").of("dns"))
		p.want("the old one", f.syn(f.bot), drops("prefix"))
		p.swap(f.usual().bundle())
		p.want("a bundle compiled for it", f.udp(f.bot, dnsPort), drops("prefix").of("dns"))
	})
}

func TestLostAgentPasses(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		h := f.site()
		h.Guards.AgentTimeout = config.Timeout(time.Hour)
		p := borrow(t).site(f, f.usual().bundle())
		p.publishHost(h)
		lost := f.site()
		lost.Guards.AgentTimeout = config.Timeout(1) // a nanosecond: lost as soon as the kernel's coarse clock ticks
		p.want("alive", f.syn(f.bot), drops("prefix"))
		p.publishHost(lost)
		p.poll("a heartbeat that is too old", func() bool {
			return p.send(f.syn(f.bot).Bytes()) == passes("agent_lost")
		})
		p.want("UDP", f.udp(f.bot, dnsPort), passes("agent_lost").of("dns"))
		p.want("a visitor is not concerned", f.syn(f.visitor), passes("no_match"))
		p.must(p.Ban(host(f.other), time.Hour))
		p.want("bans end too", f.syn(f.other), passes("agent_lost").by("none"))
		never := f.site()
		never.Guards.AgentTimeout = 0
		p.publishHost(never)
		p.want("a timeout of never", f.syn(f.bot), drops("prefix"))
		p.want("and the ban is back", f.syn(f.other), drops("ban").by("none"))
	})
}

// A map that is missing passes, and says so.
func TestMissingMapPasses(t *testing.T) {
	p := open(t).site(families[0], families[0].usual().bundle())
	f := families[0]
	p.want("before", f.syn(f.bot), drops("prefix"))
	hosts := p.pinned(bpf.DataplaneMapHosts)
	p.must(hosts.Delete(uint32(p.Control().Host)))
	p.want("no host in the host's slot", f.syn(f.bot), passes("internal"))
	p.must(p.pinned(bpf.RootMapRootNext).Delete(uint32(0))) // the one entry of the root
	p.wantUncounted("no dataplane behind the root program", f.syn(f.bot))
	p.must(p.RefillPrograms())
	p.want("refilled", f.syn(f.bot), passes("internal"))
}

// wantUncounted sends a frame that the root program alone has to pass: no counter moves.
func (p *plane) wantUncounted(what string, f packet.Frame) {
	p.t.Helper()
	action, _, err := p.Run(f.Bytes())
	p.must(err)
	if grown := p.catchUp(); actionName(action) != "XDP_PASS" || len(grown) > 0 {
		p.t.Errorf("%s: %s, want XDP_PASS; counters that moved: %v", what, actionName(action), p.readable(grown))
	}
}

// poll asks until the answer is yes. The deadline is for a broken program, not for a slow machine.
func (p *plane) poll(what string, ask func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ask(); {
		if time.Now().After(deadline) {
			p.t.Fatalf("still waiting after 20 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// over reports whether a deadline has passed, for a fact to be checked after the program acted on it.
func over(d loader.Deadline) bool { return !d.Active() }
