// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
)

const (
	visitorIP = "203.0.113.10"
	botIP     = "198.51.100.66"
)

// against is a bundle that blocks one JA4.
func against(ja4 string) *draft { return bundle().rule("bot", 100).ja4("bot", ja4) }

func far(from netip.AddrPort) netip.AddrPort {
	if from.Addr().Is4() {
		return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), farPort)
	}
	return netip.AddrPortFrom(netip.MustParseAddr("2001:db8:0:1::1"), farPort)
}

// visitor is a client of the service far, with a hello.
type visitor struct {
	p      *plane
	k      clienthello.Connection
	stream []byte
}

// visits opens a connection whose client will send stream.
func (p *plane) visits(source string, port uint16, stream []byte) visitor {
	p.t.Helper()
	from := netip.AddrPortFrom(netip.MustParseAddr(source), port)
	v := visitor{p, clienthello.Connection{Source: from, Dest: far(from), ISN: 0x5eed0000 + uint32(port), Ack: 1}, stream}
	v.p.run(v.k.SYN())
	return v
}

// bytes sends a part of the stream and returns what became of it.
func (v visitor) bytes(from, to int) string {
	v.p.t.Helper()
	return v.data(from, v.stream[from:to])
}

// data sends anything at an offset of the stream.
func (v visitor) data(at int, data []byte) string {
	v.p.t.Helper()
	return v.p.run(v.k.Frame(clienthello.Segment{Offset: at, Data: data}))
}

// all sends the stream, cut at these offsets, and returns what became of the last segment.
func (v visitor) all(cuts ...int) (last string) {
	v.p.t.Helper()
	for _, s := range clienthello.Segments(v.stream, cuts...) {
		last = v.data(s.Offset, s.Data)
	}
	return last
}

// forged is data with a wrong checksum: every server ignores it, but nobody checks that before the program does.
func (v visitor) forged(at int, data []byte) string {
	v.p.t.Helper()
	frame := v.k.Frame(clienthello.Segment{Offset: at, Data: data})
	tcp := 14 + 20
	if v.k.Source.Addr().Is6() {
		tcp = 14 + 40
	}
	frame[tcp+16] ^= 0x55
	return v.p.run(frame)
}

func (v visitor) flow() (bpf.Flow, bool) { return v.p.flow(v.k.Source, v.k.Dest) }

// ja4 returns the fingerprint that the kernel keeps, "" for none.
func (v visitor) ja4() string {
	v.p.t.Helper()
	flow, ok := v.flow()
	if !ok || flow.Flags&uint8(bpf.FlowHasTLS) == 0 {
		return ""
	}
	return compile.FormatJA4(flow.Tls)
}

// wantJA4 fails the test when the kernel keeps another fingerprint.
func (v visitor) wantJA4(what, want string) {
	v.p.t.Helper()
	if got := v.ja4(); got != want {
		flow, ok := v.flow()
		v.p.t.Errorf("%s: JA4 %q, want %q (flow: %v, %+v)", what, got, want, ok, flow)
	}
}

// wants fails the test when a frame went elsewhere.
func (p *plane) wants(what, want, got string) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// browser is a hello like Chrome's: about 1,800 bytes, extensions shuffled by the seed.
func browser(seed uint64) clienthello.Hello {
	r := rand.New(rand.NewPCG(seed, 0))
	kinds := []uint16{0x0000, 0x0017, 0xff01, 0x000a, 0x000b, 0x0023, 0x0010, 0x0005, 0x000d, 0x0012, 0x0033,
		0x002d, 0x002b, 0x001b,
		0x4469, 0xfe0d}
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	h := tiny(0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
		0x009d, 0x002f, 0x0035)
	h.Bare, h.SessionID = false, make([]byte, 32)
	h.Extensions = []clienthello.Extension{{Type: 0x2a2a}}
	for _, kind := range kinds {
		h.Extensions = append(h.Extensions, clienthello.Extension{Type: kind, Data: contents[kind]})
	}
	h.Extensions = append(h.Extensions, clienthello.Extension{Type: 0x3a3a, Data: []byte{0}})
	return h
}

// contents of extensions; those that are not here are empty.
var contents = map[uint16][]byte{
	0x0000: []byte("\x00\x12\x00\x00\x0fwww.example.com"),
	0x000a: {0, 8, 0x4a, 0x4a, 0x11, 0xec, 0, 0x1d, 0, 0x17},
	0x000b: {1, 0},
	0x000d: {0, 18, 0x5a, 0x5a, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1},
	0x0010: []byte("\x00\x0c\x02h2\x08http/1.1"),
	0x002b: {6, 0x6a, 0x6a, 3, 4, 3, 3},
	0x0033: slices.Concat([]byte{4, 192, 0x11, 0xec, 4, 188}, make([]byte, 1212)),
	0xfe0d: make([]byte, 218),
}

// tiny is a hello of these ciphers and nothing else.
func tiny(ciphers ...uint16) clienthello.Hello {
	return clienthello.Hello{Version: 0x0303, Ciphers: ciphers, Compression: []byte{0}, Bare: true}
}

// one is the stream of a hello in one record.
func one(h clienthello.Hello) []byte { return clienthello.Records(h.Bytes()) }

// ja4Of is the reference's fingerprint of a stream.
func (p *plane) ja4Of(stream []byte) string {
	p.t.Helper()
	h, err := reference.ParseStream(stream)
	p.must(err)
	return h.JA4()
}

// frame is what carries a part of the stream.
func (v visitor) frame(from, to int) []byte {
	return v.k.Frame(clienthello.Segment{Offset: from, Data: v.stream[from:to]})
}
