// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"fmt"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// kinds are packets of every way through the dataplane, each to its service.
func (f family) kinds() []struct {
	name, service string
	bot, visitor  packet.Frame
	visitorReason string
} {
	type kind = struct {
		name, service string
		bot, visitor  packet.Frame
		visitorReason string
	}
	return []kind{
		{"SYN", "web", f.syn(f.bot), f.syn(f.visitor), "no_match"},
		{"ACK", "web", f.ack(f.bot, 5), f.ack(f.visitor, 5), "handshake"},
		{"data", "web", f.data(f.bot, 5, request), f.data(f.visitor, 5, request), "midstream"},
		{"hello", "web", f.data(f.bot, 5, hello), f.data(f.visitor, 5, hello), "unconfirmed"},
		{"UDP", "dns", f.udp(f.bot, dnsPort), f.udp(f.visitor, dnsPort), "no_match"},
	}
}

// How many tags and extension headers are followed: all that fit a frame of 1,514 bytes.
const (
	tagsMax       = 370
	extensionsMax = 184
)

// No VLAN tag is a way around a prefix: none of those that are followed changes anything, and behind more of them
// nobody is dropped.
func TestTagsAreNoWayAround(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		for _, etherType := range []uint16{packet.EtherVLAN, packet.EtherQinQ} {
			for _, n := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 300, tagsMax, tagsMax + 1} {
				for _, k := range f.kinds() {
					name := fmt.Sprintf("%s behind %d tags of type %#x", k.name, n, etherType)
					bot, visitor := drops("prefix").of(k.service), passes(k.visitorReason).of(k.service)
					if n > tagsMax {
						bot, visitor = undecided("none", "too_deep"), undecided("none", "too_deep")
					}
					k.bot.Tags, k.visitor.Tags = packet.Tags(n, etherType), packet.Tags(n, etherType)
					p.want(name+", bot", k.bot, bot)
					p.want(name+", visitor", k.visitor, visitor)
				}
			}
		}
		mixed := f.scan(f.visitor)
		mixed.Tags = append(packet.Tags(1, packet.EtherQinQ), packet.Tags(1, packet.EtherVLAN)...)
		p.want("a fingerprint behind mixed tags", mixed, drops("tcp_fingerprint"))
	})
}

// extensionKinds are the extension headers that a packet for a socket can carry.
var extensionKinds = map[string]uint8{
	"hop-by-hop": packet.HopByHop, "routing": packet.Routing, "fragment": packet.FragmentHeader, "AH": packet.AH,
	"destination options": packet.DestOptions, "mobility": packet.Mobility, "HIP": packet.HIP, "Shim6": packet.Shim6,
}

// No extension header is a way around a prefix: none of those that are followed changes anything, of no kind. Behind
// more of them the addresses still count.
func TestExtensionHeadersAreNoWayAround(t *testing.T) {
	f := families[1]
	p := borrow(t).site(f, f.usual().bundle())
	for name, kind := range extensionKinds {
		for _, n := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 150, extensionsMax, extensionsMax + 1} {
			chain := packet.Extensions(n, kind)
			scan, bot, visitor := f.scan(f.visitor), f.syn(f.bot), f.syn(f.visitor)
			scan.Extensions, bot.Extensions, visitor.Extensions = chain, chain, chain
			name := fmt.Sprintf("%d × %s", n, name)
			p.want(name+", bot", bot, drops("prefix"))
			if n <= extensionsMax {
				p.want(name+", scanner", scan, drops("tcp_fingerprint"))
				p.want(name+", visitor", visitor, passes("no_match"))
			} else {
				p.want(name+", scanner", scan, passes("too_deep"))
				p.want(name+", visitor", visitor, passes("too_deep"))
			}
		}
	}
}

func TestChainsOfExtensionHeaders(t *testing.T) {
	f := families[1]
	p := borrow(t).site(f, f.usual().bundle())
	var every []packet.Extension
	for _, kind := range extensionKinds {
		every = append(every, packet.Extensions(1, kind)...)
	}
	long := []packet.Extension{{Kind: packet.DestOptions, Data: make([]byte, 2046)}}
	for _, c := range []struct {
		name       string
		extensions []packet.Extension
		scanner    result
	}{
		{"one of every kind", every, drops("tcp_fingerprint")},
		{"the longest header there is", long, drops("tcp_fingerprint")},
		{"three of the longest, over two buffers", append(append(long, long...), long...), drops("tcp_fingerprint")},
		// The next two end beyond the packet: judged by addresses.
		{"a length over the end", []packet.Extension{{Kind: packet.DestOptions, Length: new(uint8(200))}},
			passes("malformed")},
		{"an AH length over the end", []packet.Extension{{Kind: packet.AH, Length: new(uint8(255))}}, passes("malformed")},
	} {
		for _, src := range []struct {
			frame packet.Frame
			want  result
		}{{f.scan(f.visitor), c.scanner}, {f.scan(f.bot), drops("prefix")}} {
			src.frame.Extensions = c.extensions
			p.want(c.name, src.frame, src.want)
		}
	}
}

// Linux takes a payload length of zero before a hop-by-hop header for a jumbogram, and believes the frame.
func TestJumbogramsAreNoWayAround(t *testing.T) {
	f := families[1]
	p := borrow(t).site(f, f.usual().bundle())
	jumbo := func(f packet.Frame) packet.Frame {
		f.Extensions, f.Bent.Length = packet.Extensions(1, packet.HopByHop), new(uint16(0))
		return f
	}
	p.wantRows([]row{
		{"a scanner", jumbo(f.scan(f.visitor)), drops("tcp_fingerprint")},
		{"a bot", jumbo(f.syn(f.bot)), drops("prefix")},
		{"a visitor", jumbo(f.syn(f.visitor)), passes("no_match")},
		{"a visitor's data", jumbo(f.data(f.visitor, 5, request)), passes("midstream")},
	})
}

// IPv4 options of every length change nothing.
func TestIPv4OptionsAreNoWayAround(t *testing.T) {
	f := families[0]
	p := borrow(t).site(f, f.usual().bundle())
	for n := 0; n <= 40; n += 4 {
		options := make([]byte, n)
		for i := range options {
			options[i] = 1
		}
		for _, c := range []struct {
			frame packet.Frame
			want  result
		}{
			{f.syn(f.bot), drops("prefix")}, {f.scan(f.visitor), drops("tcp_fingerprint")},
			{f.syn(f.visitor), passes("no_match")}, {f.udp(f.bot, dnsPort), drops("prefix").of("dns")},
		} {
			c.frame.Options = options
			p.want(fmt.Sprintf("%d bytes of options", n), c.frame, c.want)
		}
	}
}

// What fills a frame behind the IP packet is not payload.
func TestPaddingIsNotPayload(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		for _, n := range []int{1, 6, 46, 400} {
			for _, c := range []row{
				{"ACK", f.ack(f.visitor, 5), passes("handshake")},
				{"SYN", f.syn(f.visitor), passes("no_match")},
				{"scan", f.scan(f.visitor), drops("tcp_fingerprint")},
				{"hello", f.data(f.visitor, 5, hello), passes("unconfirmed")},
				{"the first bytes of a hello", f.data(f.visitor, 5, hello[:5]), passes("midstream")},
			} {
				c.frame.Padding = n
				p.want(fmt.Sprintf("%s with %d bytes of padding", c.name, n), c.frame, c.want)
			}
		}
		// A hello in the padding is none.
		trailing := append(f.ack(f.visitor, 5).Bytes(), hello...)
		p.wantBytes("a hello behind the packet", trailing, passes("handshake"))
	})
}
