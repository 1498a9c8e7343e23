// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"net/netip"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/packet"
)

func TestServicesByAddress(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		h := f.site()
		h.Services = append(h.Services, config.Service{Name: "admin", Port: 9000, Kind: config.KindHTTP, Local: true,
			Addresses: []config.Address{{IP: f.exact}, {IP: f.other}}})
		p := borrow(t)
		p.publish(h, f.usual().bundle())
		to := func(dst netip.Addr, port uint16) packet.Frame {
			s := f.segment(f.bot, packet.TCP{DestPort: port, Flags: packet.SYN})
			s.Dest = dst
			return s
		}
		p.wantRows([]row{
			{"any address", to(f.server, webPort), drops("prefix")},
			{"any other address", to(f.visitor, webPort), drops("prefix")},
			{"the address that has a service of its own", to(f.exact, webPort), drops("prefix").of("api")},
			{"an exact service on its first address", to(f.exact, 9000), drops("prefix").of("admin")},
			{"and on its second", to(f.other, 9000), drops("prefix").of("admin")},
			{"and on no other", to(f.server, 9000), undecided("none", "not_service")},
			{"a remote service", to(f.server, remotePort), drops("prefix").of("far")},
		})
	})
}

// One family's exact address is not the other's, and an IPv4 address inside an IPv6 header is IPv4 everywhere.
func TestMappedAddressesAreIPv4(t *testing.T) {
	f := families[0]
	p := borrow(t).site(f, f.usual().bundle())
	mapped := func(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()) }
	frame := func(src, dst netip.Addr) packet.Frame {
		return packet.Frame{Source: mapped(src), Dest: mapped(dst),
			Body: packet.TCP{SourcePort: 1, DestPort: webPort, Flags: packet.SYN}}
	}
	if !frame(f.bot, f.server).Source.Is4In6() {
		t.Fatal("the frame would be IPv4")
	}
	p.want("a mapped bot", frame(f.bot, f.server), drops("prefix"))
	p.want("a mapped bot to an exact address", frame(f.bot, f.exact), drops("prefix").of("api"))
	p.want("a mapped visitor", frame(f.visitor, f.server), passes("no_match"))
	p.want("a mapped protected source", frame(f.protected, f.server), passes("protected"))
}

// What cannot be read further is judged for the first service of its address, whatever its port.
func TestLaterFragmentsBelongToTheAddress(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		h := f.site()
		h.Services = []config.Service{
			{Name: "admin", Addresses: []config.Address{{IP: f.exact}}, Port: 9000, Kind: config.KindHTTP, Local: true},
			{Name: "dns", Addresses: []config.Address{{IP: f.other}}, Port: dnsPort, Kind: config.KindUDP, Local: true},
		}
		p := borrow(t)
		p.publish(h, f.usual().bundle())
		fragment := func(src, dst netip.Addr, protocol uint8) packet.Frame {
			return packet.Frame{Source: src, Dest: dst, Fragment: &packet.Fragment{Offset: 185, ID: 9},
				Body: packet.Raw{Protocol: protocol, Data: make([]byte, 64)}}
		}
		p.wantRows([]row{
			{"to an address with a TCP service", fragment(f.bot, f.exact, packet.ProtoTCP), drops("prefix").of("admin")},
			{"to an address with a UDP service", fragment(f.bot, f.other, packet.ProtoUDP), drops("prefix").of("dns")},
			{"of a visitor", fragment(f.visitor, f.exact, packet.ProtoTCP), passes("fragment").of("admin")},
			{"to an address without a service", fragment(f.bot, f.server, packet.ProtoTCP), undecided("none", "not_service")},
		})
		if f.name == "IPv4" { // IPv6 says what is in a fragment only in its first one
			p.want("UDP to the TCP service's address", fragment(f.bot, f.exact, packet.ProtoUDP),
				undecided("none", "not_service"))
		}
	})
}
