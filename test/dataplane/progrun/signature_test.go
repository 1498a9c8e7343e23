// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/support/packet"
)

// opener is a SYN with everything that a p0f signature asks for.
type opener struct {
	packet.Frame
	tcp      packet.TCP
	ttl, tos uint8
	flow     uint32 // IPv6's flow label
	id       uint16
	df       bool
	reserved bool // IPv4's flag
	nonce    bool // the flag of RFC 3540
	urgent   uint16
}

// usualSYN fits usualSignature: no quirks.
func (f family) usualSYN() opener {
	syn := f.syn(f.visitor)
	return opener{Frame: syn, tcp: syn.Body.(packet.TCP), ttl: 64, id: 1}
}

func (o opener) bytes() []byte {
	o.Body = o.tcp
	b := o.Frame.Bytes()
	ip := b[o.L3():]
	tcp := ip[packet.IPv6Len:]
	if o.Source.Is4() {
		tcp = ip[ip[0]&15*4:]
		binary.BigEndian.PutUint16(ip[4:], o.id)
		ip[1], ip[8] = o.tos, o.ttl
		if o.df {
			ip[6] |= 0x40
		}
		if o.reserved {
			ip[6] |= 0x80
		}
	} else {
		binary.BigEndian.PutUint32(ip, 6<<28|uint32(o.tos)<<20|o.flow)
		ip[7] = o.ttl
	}
	binary.BigEndian.PutUint16(tcp[18:], o.urgent)
	if o.nonce {
		tcp[12] |= 1
	}
	return b
}

// usualSignature has one field replaced.
func usualSignature(field int, value string) string {
	fields := []string{"*", "64", "0", "1460", "mss*44,7", "mss,sok,ts,nop,ws", "", "0"}
	fields[field] = value
	return strings.Join(fields, ":")
}

func (d *draft) p0f(rule string, signatures ...string) *draft {
	for _, text := range signatures {
		s, err := signature.ParseP0F(text)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", text, err))
		}
		d.b.P0F = append(d.b.P0F, config.P0FFeature{Rule: rule, Signature: s})
	}
	return d
}

func denySignature(signatures ...string) *config.Bundle {
	return rules().rule("bad", 100).p0f("bad", signatures...).bundle()
}

// change makes a SYN another one.
type change func(*opener)

func fromTTL(ttl uint8) change   { return func(o *opener) { o.ttl = ttl } }
func fromWindow(w uint16) change { return func(o *opener) { o.tcp.Window = w } }
func withOptions(all ...[]byte) change {
	return func(o *opener) { o.tcp.Options = packet.Options(all...) }
}
func unchanged(*opener) {}

// fit is one signature, and what fits it and does not.
type fit struct {
	signature string
	only      uint8 // the IP version that it is tried with; 0: both
	yes, no   []change
}

var (
	mss1460, sok, ts, nop, ws7 = packet.MSS(1460), packet.SACKPermitted(), packet.Timestamps(1,
		0), packet.NOP(), packet.Scale(7)
	withData     = func(o *opener) { o.tcp.Payload = request }
	withIPOption = func(o *opener) { o.Options = []byte{1, 1, 1, 1} }
)

// fits has every field of a signature but the quirks.
var fits = []fit{
	{usualSignature(1, "64"), 0, []change{unchanged, fromTTL(29), fromTTL(63)},
		[]change{fromTTL(28), fromTTL(65), fromTTL(0), fromTTL(255)}},
	{usualSignature(1, "54+10"), 0, []change{unchanged, fromTTL(29)}, []change{fromTTL(28), fromTTL(65)}},
	{usualSignature(1, "64-"), 0, []change{unchanged, fromTTL(0), fromTTL(1), fromTTL(28)}, []change{fromTTL(65)}},
	{usualSignature(1, "255"), 0, []change{fromTTL(255), fromTTL(220)}, []change{fromTTL(219), unchanged}},
	{usualSignature(1, "30"), 0, []change{fromTTL(30), fromTTL(0)}, []change{fromTTL(31), unchanged}},
	{usualSignature(0, "4"), 4, []change{unchanged}, []change{withIPOption}},
	{usualSignature(0, "6"), 4, nil, []change{unchanged}},
	{usualSignature(0, "4"), 6, nil, []change{unchanged}},
	{usualSignature(0, "6"), 6, []change{unchanged}, nil},
	{"4:64:4:1460:mss*44,7:mss,sok,ts,nop,ws::0", 4, []change{withIPOption},
		[]change{unchanged, func(o *opener) { o.Options = make([]byte, 8) }}},
	{usualSignature(3, "1460"), 0, []change{unchanged}, []change{withOptions(packet.MSS(1459), sok, ts, nop, ws7)}},
	{"*:64:0:*:64240,7:mss,sok,ts,nop,ws::0", 0, []change{unchanged, withOptions(packet.MSS(1), sok, ts, nop, ws7)}, nil},
	{"*:64:0:0:64240,7:mss,sok,ts,nop,ws::0", 0, []change{withOptions(packet.MSS(0), sok, ts, nop, ws7)},
		[]change{unchanged}},
	{"*:64:0:0:64240,0:::0", 0, []change{withOptions()}, []change{unchanged, withOptions(nop, nop, nop, nop)}},
	{usualSignature(4, "64240,7"), 0, []change{unchanged}, []change{fromWindow(64239), fromWindow(0)}},
	{usualSignature(4, "0,7"), 0, []change{fromWindow(0)}, []change{unchanged}},
	{usualSignature(4, "%16060,7"), 0, []change{unchanged, fromWindow(16060), fromWindow(0)}, []change{fromWindow(16061)}},
	{usualSignature(4, "*,7"), 0, []change{unchanged, fromWindow(0), fromWindow(65535)}, nil},
	{usualSignature(4, "mss*44,7"), 0, []change{unchanged},
		[]change{fromWindow(43 * 1460), fromWindow(44 * 1500 & 0xffff), fromWindow(0), fromWindow(44)}},
	{usualSignature(4, "mss*3,7"), 0, []change{fromWindow(3 * 1460), fromWindow(3 * 1448)},
		[]change{unchanged, fromWindow(3 * 1500)}},
	{usualSignature(4, "mss*3,7"), 6, []change{fromWindow(3 * 1440), fromWindow(3 * 1428)}, nil},
	{usualSignature(4, "mss*3,7"), 4, nil, []change{fromWindow(3 * 1440), fromWindow(3 * 1428)}},
	{usualSignature(4, "mtu*4,7"), 0, []change{fromWindow(4 * 1500)},
		[]change{unchanged, fromWindow(4 * 1460), fromWindow(6001)}},
	// 1460 and the headers of IPv6; with options
	{usualSignature(4, "mtu*4,7"), 6, []change{fromWindow(4 * 1520), fromWindow(4 * 1540)}, nil},
	{"*:64:0:99:990,7:mss,sok,ts,nop,ws::0", 0, []change{func(o *opener) {
		withOptions(packet.MSS(99), sok, ts, nop, ws7)(o)
		o.tcp.Window = 990
	}}, []change{unchanged}},
	{usualSignature(4, "mss*44,*"), 0, []change{unchanged, withOptions(mss1460, sok, ts, nop, packet.Scale(0))}, nil},
	{usualSignature(4, "mss*44,0"), 0, []change{withOptions(mss1460, sok, ts, nop, packet.Scale(0))}, []change{unchanged}},
	{usualSignature(4, "mss*44,8"), 0, []change{withOptions(mss1460, sok, ts, nop, packet.Scale(8))}, []change{unchanged}},
	{usualSignature(5, "mss,ts,sok,nop,ws"), 0, []change{withOptions(mss1460, ts, sok, nop, ws7)}, []change{unchanged}},
	{usualSignature(5, "mss,sok,ts,nop,ws,?34,nop,nop"), 0,
		[]change{withOptions(mss1460, sok, ts, nop, ws7, packet.Option(34), nop, nop)},
		[]change{unchanged, withOptions(mss1460, sok, ts, nop, ws7, packet.Option(35), nop, nop)}},
	{"*:64:0:1460:mss*44,0:mss,eol+3::0", 0, []change{withOptions(mss1460, packet.EOL())},
		[]change{withOptions(mss1460), withOptions(mss1460, packet.EOL(), make([]byte, 7)),
			withOptions(mss1460, nop, nop, nop, packet.EOL())}},
	{"*:64:0:1460:mss*44,0:mss,nop,nop,nop,eol+0::0", 0, []change{withOptions(mss1460, nop, nop, nop, packet.EOL())},
		[]change{withOptions(mss1460, packet.EOL())}},
	{usualSignature(7, "0"), 0, []change{unchanged}, []change{withData}},
	{usualSignature(7, "+"), 0, []change{withData}, []change{unchanged}},
	{usualSignature(7, "*"), 0, []change{unchanged, withData}, nil},
	{"*:255:0:*:*,*:mss,sok,ts,nop,ws::*", 0,
		[]change{fromTTL(255), func(o *opener) { fromTTL(230)(o); fromWindow(1)(o); withData(o) }}, []change{unchanged}},
}

// wantFit runs a SYN and says whether the signature that is denied fits it.
func (p *plane) wantFit(what, signature string, f family, c change, fit bool) {
	p.t.Helper()
	syn := f.usualSYN()
	c(&syn)
	want := "no_match pass"
	if fit {
		want = "tcp_signature drop"
	}
	got := p.send(syn.bytes())
	if have := got.Reason + " " + got.Outcome; have != want {
		p.t.Errorf("%s: a SYN to %s: %s, want %s", what, signature, have, want)
	}
}

func versionOf(f family) uint8 {
	if f.server.Is4() {
		return 4
	}
	return 6
}

// Every field of a signature: what fits, and what misses by that field alone.
func TestSignatureFields(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		for _, row := range fits {
			if row.only != 0 && row.only != versionOf(f) {
				continue
			}
			p.swap(denySignature(row.signature))
			for i, c := range row.yes {
				p.wantFit(fmt.Sprintf("fit %d", i), row.signature, f, c, true)
			}
			for i, c := range row.no {
				p.wantFit(fmt.Sprintf("miss %d", i), row.signature, f, c, false)
			}
		}
	})
}
