// SPDX-License-Identifier: Apache-2.0

package reference_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/packet"
)

// synPacket returns an IP packet with a SYN, over IPv4 without DF and with ID 1, from which rows bend one thing.
func synPacket(v6 bool, change func(*packet.Frame, *packet.TCP), options ...[]byte) []byte {
	tcp := packet.TCP{SourcePort: 40000, DestPort: 443, Seq: 1, Flags: packet.SYN, Window: 8000,
		Options: packet.Options(options...)}
	f := packet.Frame{Source: netip.MustParseAddr("198.51.100.1"), Dest: netip.MustParseAddr("192.0.2.1")}
	if v6 {
		f.Source, f.Dest = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	}
	if change != nil {
		change(&f, &tcp)
	}
	f.Body = tcp
	ip := f.Bytes()[packet.EthernetLen:]
	if !v6 {
		ip[5] = 1
	}
	return ip
}

func windowOf(window uint16) func(*packet.Frame, *packet.TCP) {
	return func(_ *packet.Frame, t *packet.TCP) { t.Window = window }
}

// bent sets one byte of a SYN without options.
func bent(v6 bool, at int, value byte) []byte {
	ip := synPacket(v6, nil)
	ip[at] = value
	return ip
}

func optionsOf(b ...byte) []byte { return synPacket(false, nil, b) }

func TestP0f(t *testing.T) {
	mss, ts := packet.MSS(1400), packet.Timestamps(7, 0)
	const tcp4, tcp6 = packet.IPv4Len, packet.IPv6Len
	urgent := bent(false, tcp4+13, packet.SYN|packet.URG)
	urgent[tcp4+19] = 1
	nops := make([]byte, 25)
	for i := range nops {
		nops[i] = packet.KindNOP
	}
	for name, c := range map[string]struct {
		ip   []byte
		want string
	}{
		"plain": {synPacket(false, nil), "4:64+0:0:0:8000,0:::0"},
		"IPv6":  {synPacket(true, nil), "6:64+0:0:0:8000,0:::0"},
		"Linux": {
			synPacket(false, windowOf(64240), packet.MSS(1460), packet.SACKPermitted(), ts, packet.NOP(), packet.Scale(7)),
			"4:64+0:0:1460:mss*44,7:mss,sok,ts,nop,ws::0"},
		"payload": {synPacket(false, func(_ *packet.Frame, t *packet.TCP) { t.Payload = []byte{1} }),
			"4:64+0:0:0:8000,0:::+"},
		"padding": {append(synPacket(false, nil), 0xee), "4:64+0:0:0:8000,0:::0"},
		"IP options": {synPacket(false, func(f *packet.Frame, _ *packet.TCP) { f.Options = []byte{1} }),
			"4:64+0:4:0:8000,0:::0"},

		"TTL 0":   {bent(false, 8, 0), "4:0+32:0:0:8000,0:::0"},
		"TTL 32":  {bent(false, 8, 32), "4:32+0:0:0:8000,0:::0"},
		"TTL 33":  {bent(false, 8, 33), "4:33+31:0:0:8000,0:::0"},
		"TTL 65":  {bent(false, 8, 65), "4:65+?:0:0:8000,0:::0"},
		"TTL 93":  {bent(false, 8, 93), "4:93+35:0:0:8000,0:::0"},
		"TTL 255": {bent(true, 7, 255), "6:255+0:0:0:8000,0:::0"},

		"df,id+":                 {bent(false, 6, 0x40), "4:64+0:0:0:8000,0::df,id+:0"},
		"id-":                    {bent(false, 5, 0), "4:64+0:0:0:8000,0::id-:0"},
		"0+":                     {bent(false, 6, 0x80), "4:64+0:0:0:8000,0::0+:0"},
		"ecn of IP":              {bent(false, 1, 1), "4:64+0:0:0:8000,0::ecn:0"},
		"DSCP is none":           {bent(false, 1, 0xfc), "4:64+0:0:0:8000,0:::0"},
		"ecn of IPv6":            {bent(true, 1, 0x20), "6:64+0:0:0:8000,0::ecn:0"},
		"flow":                   {bent(true, 1, 0x01), "6:64+0:0:0:8000,0::flow:0"},
		"ecn of TCP, CWR":        {bent(false, tcp4+13, packet.SYN|packet.CWR), "4:64+0:0:0:8000,0::ecn:0"},
		"ecn of TCP, NS":         {bent(false, tcp4+12, 0x51), "4:64+0:0:0:8000,0::ecn:0"},
		"reserved bits":          {bent(false, tcp4+12, 0x5e), "4:64+0:0:0:8000,0:::0"},
		"seq-":                   {bent(true, tcp6+7, 0), "6:64+0:0:0:8000,0::seq-:0"},
		"ack+":                   {bent(false, tcp4+8, 1), "4:64+0:0:0:8000,0::ack+:0"},
		"ack+, another byte":     {bent(false, tcp4+11, 1), "4:64+0:0:0:8000,0:::0"},
		"ack+, another bit":      {bent(false, tcp4+8, 0xfe), "4:64+0:0:0:8000,0:::0"},
		"uptr+":                  {bent(false, tcp4+19, 1), "4:64+0:0:0:8000,0::uptr+:0"},
		"urgf+ with its pointer": {urgent, "4:64+0:0:0:8000,0::urgf+:0"},
		"urgf+,pushf+": {bent(false, tcp4+13, packet.SYN|packet.URG|packet.PSH),
			"4:64+0:0:0:8000,0::urgf+,pushf+:0"},

		"ts1-,ts2+": {synPacket(false, nil, packet.Timestamps(0, 1), packet.NOP(), packet.NOP()),
			"4:64+0:0:0:8000,0:ts,nop,nop:ts1-,ts2+:0"},
		"exws":                {optionsOf(3, 3, 15, 1), "4:64+0:0:0:8000,15:ws,nop:exws:0"},
		"eol at the end":      {optionsOf(1, 1, 1, 0), "4:64+0:0:0:8000,0:nop,nop,nop,eol+0::0"},
		"opt+":                {optionsOf(0, 0, 1, 0), "4:64+0:0:0:8000,0:eol+3:opt+:0"},
		"opt+, the last byte": {optionsOf(0, 0, 0, 1), "4:64+0:0:0:8000,0:eol+3::0"},
		"unknown":             {optionsOf(254, 4, 0, 0), "4:64+0:0:0:8000,0:?254::0"},
		"unknown, too short":  {optionsOf(254, 1, 0, 0), "4:64+0:0:0:8000,0:?254:bad:0"},
		"over the end":        {optionsOf(1, 1, 1, 2), "4:64+0:0:0:8000,0:nop,nop,nop,mss:bad:0"},
		"wrong length of MSS": {optionsOf(2, 3, 1, 0), "4:64+0:0:256:8000,0:mss:bad:0"},
		"the last MSS counts": {optionsOf(2, 4, 1, 0, 2, 4, 2, 0), "4:64+0:0:512:8000,0:mss,mss::0"},
		"SACK of 8 bytes":     {optionsOf(5, 8, 0, 0, 0, 0, 0, 0), "4:64+0:0:0:8000,0:sack:bad:0"},
		"SACK of 10 bytes":    {optionsOf(5, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1), "4:64+0:0:0:8000,0:sack,nop,nop::0"},
		"the 25th option": {synPacket(false, nil, nops),
			"4:64+0:0:0:8000,0:nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop," +
				"nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop:bad:0"},

		"mss": {synPacket(false, windowOf(5600), mss), "4:64+0:0:1400:mss*4,0:mss::0"},
		"mss less timestamps": {synPacket(false, windowOf(2776), mss, ts, packet.NOP(), packet.NOP()),
			"4:64+0:0:1400:mss*2,0:mss,ts,nop,nop::0"},
		"that without any":            {synPacket(false, windowOf(2776), mss), "4:64+0:0:1400:2776,0:mss::0"},
		"1460":                        {synPacket(false, windowOf(2920), mss), "4:64+0:0:1400:mss*2,0:mss::0"},
		"1448":                        {synPacket(false, windowOf(2896), mss), "4:64+0:0:1400:mss*2,0:mss::0"},
		"1428 over IPv6":              {synPacket(true, windowOf(2856), mss), "6:64+0:0:1400:mss*2,0:mss::0"},
		"not over IPv4":               {synPacket(false, windowOf(2856), mss), "4:64+0:0:1400:2856,0:mss::0"},
		"mtu":                         {synPacket(false, windowOf(2880), mss), "4:64+0:0:1400:mtu*2,0:mss::0"},
		"mtu, its real header":        {synPacket(false, windowOf(1444*3), mss), "4:64+0:0:1400:mtu*3,0:mss::0"},
		"1460 before the mtu of 1460": {synPacket(true, windowOf(4380), mss), "6:64+0:0:1400:mss*3,0:mss::0"},
		"mtu of IPv6":                 {synPacket(true, windowOf(1360*3), packet.MSS(1300)), "6:64+0:0:1300:mtu*3,0:mss::0"},
		"mtu of 1500":                 {synPacket(false, windowOf(3000), mss), "4:64+0:0:1400:mtu*2,0:mss::0"},
		"window 0":                    {synPacket(false, windowOf(0), mss), "4:64+0:0:1400:0,0:mss::0"},
		"MSS 99":                      {synPacket(false, windowOf(990), packet.MSS(99)), "4:64+0:0:99:990,0:mss::0"},
		"MSS 100":                     {synPacket(false, windowOf(1000), packet.MSS(100)), "4:64+0:0:100:mss*10,0:mss::0"},
	} {
		if got, err := reference.P0f(c.ip); err != nil || got != c.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", name, got, err, c.want)
		}
	}
}

func TestNoSYN(t *testing.T) {
	flags := func(flags uint8) []byte { return bent(false, packet.IPv4Len+13, flags) }
	for name, ip := range map[string][]byte{
		"nothing": nil, "IP version 5": bent(false, 0, 0x55), "SYN and ACK": flags(packet.SYN | packet.ACK),
		"ACK":         flags(packet.ACK),
		"SYN and FIN": flags(packet.SYN | packet.FIN), "SYN and RST": flags(packet.SYN | packet.RST),
		"fragment": bent(false, 7, 1), "first fragment": bent(false, 6, 0x20), "UDP": bent(false, 9, packet.ProtoUDP),
		"extension header": bent(true, 6, packet.HopByHop), "short IP header": bent(false, 0, 0x44),
		"longer than captured": bent(false, 3, 41), "TCP header over the end": bent(false, packet.IPv4Len+12, 0x60),
		"short TCP header": bent(false, packet.IPv4Len+12, 0x40), "IPv6, longer": bent(true, 5, 21),
	} {
		if got, err := reference.P0f(ip); !errors.Is(err, reference.ErrNotSYN) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, v6 := range []bool{false, true} {
		whole := synPacket(v6, nil, packet.MSS(1460))
		for n := range len(whole) {
			if got, err := reference.P0f(whole[:n]); !errors.Is(err, reference.ErrNotSYN) {
				t.Errorf("cut to %d bytes: %q, %v", n, got, err)
			}
		}
	}
}

func TestMuonFP(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		got, err := reference.MuonFP(synPacket(v6, nil, packet.MSS(1460), packet.NOP(), packet.Scale(8)))
		if err != nil || got != "8000:2-1-3:1460:8" {
			t.Errorf("IPv6 %t: %q, %v", v6, got, err)
		}
	}
	if got, err := reference.MuonFP(bent(false, packet.IPv4Len+13, packet.ACK)); !errors.Is(err, reference.ErrNotSYN) {
		t.Errorf("an ACK: %q, %v", got, err)
	}
}
