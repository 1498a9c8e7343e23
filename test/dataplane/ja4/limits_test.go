// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/spillway/spillway/test/support/clienthello"
)

// run returns n values from one on that are not GREASE, nor of any extension that is read.
func run(from uint16, n int) []uint16 {
	var all []uint16
	for v := from; len(all) < n; v++ {
		if v&0x0f0f != 0x0a0a {
			all = append(all, v)
		}
	}
	return all
}

// greased puts n GREASE values between others.
func greased(values []uint16, n int) []uint16 {
	all := slices.Clone(values)
	for i := range n {
		all = slices.Insert(all, i*len(all)/n, uint16(i%16)<<4*0x0101+0x0a0a)
	}
	return all
}

func withCiphers(ciphers []uint16) []byte {
	h := browser(1)
	h.Ciphers = ciphers
	return one(h)
}

func withExtensions(types []uint16) []byte {
	h := tiny(0x1301)
	h.Bare = false
	for _, kind := range types {
		h.Extensions = append(h.Extensions, clienthello.Extension{Type: kind})
	}
	return one(h)
}

func withAlgorithms(algorithms []uint16) []byte {
	return withExtension(0x000d, list(2, algorithms))
}

// withExtension is a small hello with one extension of this content.
func withExtension(kind uint16, data []byte) []byte {
	h := tiny(0x1301)
	h.Bare, h.Extensions = false, []clienthello.Extension{{Type: kind, Data: data}}
	return one(h)
}

// list is a vector of 16-bit values.
func list(width int, values []uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(2*len(values)))[2-width:]
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// twice is a browser's hello with one extension more.
func twice(kind uint16) clienthello.Hello {
	h := browser(1)
	h.Extensions = append(h.Extensions, clienthello.Extension{Type: kind, Data: contents[kind]})
	return h
}

// stuffed is a hello whose stream has n bytes.
func stuffed(n int) []byte {
	h := tiny(0x1301)
	h.Bare = false
	h.Extensions = []clienthello.Extension{{Type: 0x0015}}
	h.Extensions[0].Data = make([]byte, n-len(one(h)))
	return one(h)
}

// sslv2 is the stream of a hello in the format of SSL 2.0.
func sslv2(change func(*clienthello.SSLv2)) []byte {
	h := clienthello.SSLv2{Version: 0x0303, Ciphers: []uint16{0x009c, 0x002f, 0x0035, 0xc02f, 0xc02b, 0x00ff},
		Challenge: 32}
	if change != nil {
		change(&h)
	}
	return h.Bytes()
}

// inBytes is a hello of n bytes, each in a record of its own.
func inBytes(n int) []byte {
	h := tiny(run(0xc000, (n-44)/2)...)
	h.SessionID = make([]byte, 1+n%2)
	if n%2 == 1 {
		h.Ciphers = h.Ciphers[:(n-45)/2]
	}
	return clienthello.Records(h.Bytes(), clienthello.Every(n)...)
}

// at changes bytes of a stream.
func at(stream []byte, offset int, b ...byte) []byte {
	stream = slices.Clone(stream)
	copy(stream[offset:], b)
	return stream
}

// Every limit of enum hello_limit from both sides, and what contradicts itself.
func TestLimits(t *testing.T) {
	p := open(t)
	p.swap(telling())
	for i, c := range []struct {
		name   string
		stream []byte
		class  string
	}{
		{"no cipher", one(tiny()), whole},
		{"99 ciphers", withCiphers(run(0xc000, 99)), whole},
		{"100 ciphers", withCiphers(run(0xc000, 100)), "hello_too_long"},
		{"99 ciphers and 29 of GREASE", withCiphers(greased(run(0xc000, 99), 29)), whole},
		{"99 ciphers and 30 of GREASE", withCiphers(greased(run(0xc000, 99), 30)), "hello_too_long"},
		{"128 of GREASE", withCiphers(greased(nil, 128)), whole},
		{"128 ciphers", withCiphers(run(0xc000, 128)), "hello_too_long"},
		{"256 ciphers", withCiphers(run(0xc000, 256)), "hello_too_long"},
		{"30,000 ciphers", withCiphers(run(0x2000, 30000)), "hello_too_long"},
		{"99 extensions", withExtensions(run(0x4000, 99)), whole},
		{"100 extensions", withExtensions(run(0x4000, 100)), "hello_too_long"},
		{"99 extensions and 29 of GREASE", withExtensions(greased(run(0x4000, 99), 29)), whole},
		{"99 extensions and 30 of GREASE", withExtensions(greased(run(0x4000, 99), 30)), "hello_too_long"},
		{"99 times server_name", withExtensions(make([]uint16, 99)), whole},
		{"64 algorithms", withAlgorithms(run(0x0401, 64)), whole},
		{"65 algorithms", withAlgorithms(run(0x0401, 65)), "hello_too_long"},
		{"64 algorithms and 64 of GREASE", withAlgorithms(greased(run(0x0401, 64), 64)), whole},
		{"64 algorithms and 65 of GREASE", withAlgorithms(greased(run(0x0401, 64), 65)), "hello_too_long"},
		{"30,000 algorithms", withAlgorithms(run(0x0401, 30000)), "hello_too_long"},
		{"127 versions", withExtension(0x002b, list(1, run(0x0304, 127))), whole},
		{"an extension of 65,535 bytes", withExtension(0x0015, make([]byte, 65535)), "hello_too_long"},
		{"16,384 bytes", stuffed(16384), whole},
		{"16,385 bytes", stuffed(16385), "hello_too_long"},
		{"64 records of one byte", inBytes(64), whole},
		{"65 records of one byte", inBytes(65), "hello_too_long"},
		{"a record without content, and then none", []byte{22, 3, 1, 0, 0, 1, 0, 0, 0, 0}, "hello_malformed"},
		{"a record without content, and then half of one", []byte{22, 3, 1, 0, 0, 22, 3, 1}, partial},
		{"a record of 65,535 bytes", at(one(tiny(1)), 3, 0xff, 0xff), "hello_malformed"},
		{"a hello of 16 MiB", at(one(tiny(1)), 6, 0xff, 0xff, 0xff), "hello_too_long"},
		{"a hello without content", []byte{22, 3, 1, 0, 4, 1, 0, 0, 0}, "hello_malformed"},
		{"a fatal alert", []byte{21, 3, 1, 0, 2, 2, 40}, "not_hello"},
		{"a warning", []byte{21, 3, 1, 0, 2, 1, 90}, partial},
		{"SSL 2", sslv2(nil), whole},
		{"SSL 2, cut short", sslv2(nil)[:40], partial},
		{"SSL 2, its answer", at(sslv2(nil), 2, 4), "not_hello"},
		{"SSL 2, of SSL 2.0", sslv2(func(h *clienthello.SSLv2) { h.Version, h.Kinds = 2, []uint32{0x010080, 0x0700c0} }),
			whole},
		{"SSL 2, 99 ciphers", sslv2(func(h *clienthello.SSLv2) { h.Ciphers = greased(run(0xc000, 99), 29) }), whole},
		{"SSL 2, 100 ciphers", sslv2(func(h *clienthello.SSLv2) { h.Ciphers = run(0xc000, 100) }), "hello_too_long"},
		{"SSL 2, no cipher", sslv2(func(h *clienthello.SSLv2) { h.Ciphers = nil }), whole},
		{"SSL 2, an odd list", at(sslv2(nil), 6, 5), "hello_malformed"},
		{"SSL 2, lengths over its end", at(sslv2(nil), 9, 0xff), "hello_malformed"},
		{"SSL 2, more behind it", append(sslv2(func(h *clienthello.SSLv2) { h.More = []byte("more") }), "and more"...),
			whole},
		{"SSL 2 behind CCS", append([]byte{20, 3, 1, 0, 1, 1}, sslv2(nil)...), whole},
		{"SSL 2 behind nothing", append([]byte{22, 3, 1, 0, 0}, sslv2(nil)...), whole},
		{"SSL 2 behind a part", append([]byte{22, 3, 1, 0, 2, 1, 0}, sslv2(nil)...), "hello_malformed"},
		{"a ServerHello", at(one(tiny(1)), 5, 2), "not_hello"},
		{"a request", []byte("GET / HTTP/1.1\r\n\r\n"), "not_hello"},
		{"two lists of algorithms", one(twice(0x000d)), "hello_malformed"},
		{"two lists of protocols", one(twice(0x0010)), "hello_malformed"},
		{"two lists of versions", one(twice(0x002b)), "hello_malformed"},
		{"two lists of groups", one(twice(0x000a)), whole},
	} {
		want := expect(c.stream)
		if !slices.Contains(want.classes, c.class) {
			t.Errorf("%s: the test says %s, the reference %v", c.name, c.class, want.classes)
			continue
		}
		v := p.visits(visitorIP, uint16(1+i), c.stream)
		p.wants(c.name, "XDP_PASS", v.all(segmented(len(c.stream))...))
		v.wantClass(c.name, want, c.class)
	}
}

// segmented are the offsets at which a stack cuts n bytes.
func segmented(n int) (cuts []int) {
	for at := 1460; at < n; at += 1460 {
		cuts = append(cuts, at)
	}
	return cuts
}

// wantClass fails the test when the kernel makes something else of the visitor's stream.
func (v visitor) wantClass(what string, want expectation, class string) {
	v.p.t.Helper()
	flow, ok := v.flow()
	if got := classOf(flow); !ok || got != class {
		v.p.t.Errorf("%s: %s (flow: %v), want %s", what, got, ok, class)
		return
	}
	if class == whole {
		v.wantJA4(what, want.hello.JA4())
	}
}

// Extensions of every length that their type has a say in.
func TestExtensionLengths(t *testing.T) {
	p := open(t)
	p.spendFreely()
	p.swap(telling())
	port := uint16(0)
	for _, kind := range []uint16{0x0000, 0x000a, 0x000b, 0x000d, 0x0010, 0x0015, 0x0023, 0x0029, 0x002a, 0x002b,
		0x002c, 0x0033, 0x0a0a} {
		for _, data := range [][]byte{nil, {0}, {1}, {0, 0}, {0, 1}, {1, 0}, {2, 3, 4}, {0, 2, 4, 3},
			{0, 3, 2, 'h', '2'}, {0, 1, 0},
			{0, 2, 1, 'h'}, {0, 2, 2, 'h'}, {0, 4, 1, 'h', 1, '2'}, {0, 4, 1, '-', 1, '2'}, {0, 3, 1, 0, 9},
			{4, 3, 4, 3, 3}, {3, 3, 4, 3}} {
			stream := withExtension(kind, data)
			port++
			v := p.visits(visitorIP, port, stream)
			v.all()
			want := expect(stream)
			v.wantClass(fmt.Sprintf("extension %04x with % x", kind, data), want, want.classes[0])
		}
	}
}

// One length in a hello that is wrong, at every place, by every kind of amount.
func TestNestedLies(t *testing.T) {
	p := open(t)
	p.spendFreely()
	p.swap(telling())
	h := browser(3)
	message, port, seen := h.Bytes(), uint16(0), map[string]int{}
	for _, f := range h.Fields() {
		right := 0
		for _, b := range message[f.Offset : f.Offset+f.Width] {
			right = right<<8 | int(b)
		}
		for _, wrong := range []int{0, 1, 2, right - 2, right - 1, right + 1, right + 2, right + 4, 2 * right, 0x7f, 0xff,
			0x100, 0xffff, 0xffffff} {
			if wrong < 0 || wrong == right || wrong >= 1<<(8*f.Width) {
				continue
			}
			lie := binary.BigEndian.AppendUint32(nil, uint32(wrong))[4-f.Width:]
			stream := clienthello.Records(at(message, f.Offset, lie...))
			want := expect(stream)
			port++
			v := p.visits(visitorIP, port, stream)
			v.all(1460)
			class := want.classes[0]
			if flow, _ := v.flow(); slices.Contains(want.classes, classOf(flow)) {
				class = classOf(flow)
			}
			v.wantClass(fmt.Sprintf("length of %s: %d instead of %d", f.Name, wrong, right), want, class)
			seen[class]++
		}
	}
	t.Logf("%d lies: %v", port, seen)
}

// A whole browser's hello is read wherever it is cut in two, and in segments of one byte.
func TestEveryCut(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	want := p.ja4Of(stream)
	for cut := range stream {
		v := p.visits(visitorIP, uint16(cut+1), stream)
		v.all(cut)
		v.wantJA4(fmt.Sprintf("cut at %d of %d", cut, len(stream)), want)
	}
	v := p.visits(visitorIP, 60000, stream)
	for i := range stream {
		v.wantJA4(fmt.Sprintf("after %d bytes", i), "")
		v.bytes(i, i+1)
	}
	v.wantJA4("byte by byte", want)
	p.swap(against(want).bundle())
	v = p.visits(botIP, 60001, stream)
	p.wants("a bot, byte by byte", "XDP_DROP", v.all(clienthello.Every(len(stream))...))
}
