// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

var (
	flow4 = flow{netip.MustParseAddrPort("198.51.100.7:40000"), netip.MustParseAddrPort("192.0.2.1:443")}
	flow6 = flow{netip.MustParseAddrPort("[2001:db8::7]:40000"), netip.MustParseAddrPort("[2001:db8::1]:443")}
)

const firstByte = 1001

// data is a frame with bytes of the stream from an offset on.
func data(f flow, at int, b []byte) []byte {
	frame := openingFrame(f, firstByte+uint32(at))
	frame = append(frame, b...)
	ip := frame[ethernetLen:]
	tcp := ip[len(ip)-len(b)-20:]
	tcp[13] = flagACK
	if f.from.Addr().Is4() {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
	}
	return frame
}

// urgent sets the urgent pointer of a frame with n bytes of data.
func urgent(frame []byte, n int, pointer uint16) []byte {
	frame = slices.Clone(frame)
	tcp := frame[len(frame)-n-20:]
	tcp[13] |= flagURG
	binary.BigEndian.PutUint16(tcp[18:], pointer)
	return frame
}

// final sets the FIN of a frame with n bytes of data.
func final(frame []byte, n int) []byte {
	frame = slices.Clone(frame)
	frame[len(frame)-n-20+13] |= flagFIN
	return frame
}

// withoutLength is the frame of a host that leaves the length to its card.
func withoutLength(frame []byte) []byte {
	frame = slices.Clone(frame)
	at := ethernetLen + 2
	if frame[ethernetLen]>>4 == 6 {
		at = ethernetLen + 4
	}
	frame[at], frame[at+1] = 0, 0
	return frame
}

// fragments4 cuts an IPv4 packet in two behind n bytes of what its header holds.
func fragments4(frame []byte, n int) (first, second []byte) {
	const head = ethernetLen + 20
	first, second = slices.Clone(frame[:head+n]), append(slices.Clone(frame[:head]), frame[head+n:]...)
	first[ethernetLen+6] = 0x20 // more fragments
	binary.BigEndian.PutUint16(second[ethernetLen+6:], uint16(n/8))
	for _, f := range [][]byte{first, second} {
		binary.BigEndian.PutUint16(f[ethernetLen+2:], uint16(len(f)-ethernetLen))
	}
	return first, second
}

// fragments6 is the same for IPv6, by extension headers.
func fragments6(frame []byte, n int) (first, second []byte) {
	const head = ethernetLen + 40
	cut := func(part []byte, word uint16) []byte {
		f := append(slices.Clone(frame[:head]), protoTCP, 0, byte(word>>8), byte(word), 0, 0, 0, 7)
		f = append(f, part...)
		f[ethernetLen+6] = protoFragment
		binary.BigEndian.PutUint16(f[ethernetLen+4:], uint16(len(f)-head))
		return f
	}
	return cut(frame[head:head+n], 1), cut(frame[head+n:], uint16(n))
}

// readFrames tells the connections of a capture. Of each frame, more bytes were sent than captured.
func readFrames(t *testing.T, more int, frames ...[]byte) (all []Connection, sum Summary) {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(1<<18, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(f), Length: len(f) + more}, f); err != nil {
			t.Fatal(err)
		}
	}
	c, err := OpenCapture(&b)
	if err != nil {
		t.Fatal(err)
	}
	sum, err = Read(c, Options{}, func(c Connection) error {
		all = append(all, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, sum
}

// sample is a hello of TLS 1.2 with two cipher suites, in one record.
func sample() []byte {
	body := slices.Concat([]byte{3, 3}, make([]byte, 32),
		[]byte{0, 0, 4, 0x13, 1, 0xc0, 0x2f, 1, 0, 0, 4, 0x44, 0x44, 0, 0})
	message := append([]byte{clientHello, 0, 0, byte(len(body))}, body...)
	return append([]byte{recordHandshake, 3, 1, 0, byte(len(message))}, message...)
}

const sampleHead = "t12i020100_"

// What comes in other ways than one segment after the other is read as a Linux server reads it.
func TestWaysToSendAHello(t *testing.T) {
	hello := sample()
	n := len(hello)
	other := slices.Clone(hello)
	other[n-13] ^= 1 // a cipher suite
	broken := slices.Clone(hello)
	broken[len(broken)-1]++ // an extension that is longer than what is there
	with := func(at int, b ...byte) []byte { return slices.Concat(hello[:at], b, hello[at:]) }
	for _, f := range []flow{flow4, flow6} {
		syn := openingFrame(f, firstByte-1)
		whole := data(f, 0, hello)
		cut := fragments4
		if f == flow6 {
			cut = fragments6
		}
		first, second := cut(whole, 40)
		for name, c := range map[string]struct {
			frames [][]byte
			want   string // the reason, or the beginning of the JA4
		}{
			"whole": {[][]byte{syn, whole}, sampleHead},
			"the first bytes count": {
				[][]byte{syn, data(f, 0, hello[:n-9]), data(f, 0, other[:n-9]), data(f, n-9, hello[n-9:])}, sampleHead},
			"four pieces, the last one first": {[][]byte{syn, data(f, 30, hello[30:]), data(f, 20, hello[20:30]),
				data(f, 10, hello[10:20]), data(f, 0, hello[:10])}, sampleHead},
			"2431": {[][]byte{syn, data(f, 10, hello[10:20]), data(f, 30, hello[30:]),
				data(f, 20, hello[20:30]), data(f, 0, hello[:10])}, sampleHead},
			"in fragments":                  {[][]byte{syn, first, second}, "fragment"},
			"half of it in fragments":       {[][]byte{syn, data(f, 0, hello[:10]), first, second}, "fragment"},
			"in fragments, and whole":       {[][]byte{syn, first, second, whole}, sampleHead},
			"without a length":              {[][]byte{syn, withoutLength(whole)}, sampleHead},
			"its SYN without a length":      {[][]byte{withoutLength(syn), whole}, sampleHead},
			"an urgent byte":                {[][]byte{syn, urgent(data(f, 0, with(9, 'x')), n+1, 10)}, sampleHead},
			"an urgent byte in front":       {[][]byte{syn, urgent(data(f, 0, with(0, 'x')), n+1, 1)}, sampleHead},
			"an urgent byte in front, by 0": {[][]byte{syn, urgent(data(f, 0, with(0, 'x')), n+1, 0)}, sampleHead},
			"a pointer ahead of its byte": {[][]byte{syn, urgent(data(f, 0, nil), 0, 31), data(f, 0, with(30, 'x'))},
				sampleHead},
			"a pointer on a late segment": {
				[][]byte{syn, urgent(data(f, 30, with(30, 'x')[30:]), n-29, 1), data(f, 0, hello[:30])}, sampleHead},
			"the pointer twice": {
				[][]byte{syn, urgent(data(f, 0, hello[:9]), 9, 10), urgent(data(f, 9, with(9, 'x')[9:]), n-8, 1)}, sampleHead},
			"two urgent bytes": {
				[][]byte{syn, urgent(data(f, 0, hello[:9]), 9, 9), urgent(data(f, 9, hello[9:]), n-9, 9)}, "hello_urgent"},
			"a pointer at what was taken": {[][]byte{syn, data(f, 0, hello[:30]), urgent(data(f, 10, hello[10:]), n-10, 3)},
				sampleHead},
			"a FIN that waits": {[][]byte{syn, final(data(f, 10, hello[10:20]), 10), data(f, 20, hello[20:]),
				data(f, 0, hello[:10])}, "hello_partial"},
			"a FIN inside of what waits": {[][]byte{syn, data(f, 10, hello[10:30]), final(data(f, 10, hello[10:20]), 10),
				data(f, 0, hello[:10]), data(f, 30, hello[30:])}, sampleHead},
			"none, and then a broken one":      {[][]byte{syn, data(f, 0, []byte("GET /")), data(f, 5, broken)}, "not_hello"},
			"an urgent byte that is one of it": {[][]byte{syn, urgent(whole, n, 1)}, "not_hello"},
		} {
			all, _ := readFrames(t, 0, c.frames...)
			if len(all) != 1 || all[0].Client != f.from {
				t.Errorf("%s: %+v", name, all)
				continue
			}
			got := all[0]
			if got.Reason != c.want &&
				(got.Reason != "" || len(got.JA4) < len(c.want) || got.JA4[:len(c.want)] != c.want || got.JA4 != whoever(t, f)) {
				t.Errorf("%s: reason %q, JA4 %q, want %s; %v", name, got.Reason, got.JA4, c.want, got.Notes)
			}
			if (got.Reason == "") != (got.Why == "") {
				t.Errorf("%s: reason %q, and %q for people", name, got.Reason, got.Why)
			}
		}
	}
}

// whoever is the JA4 of the sample as it is.
func whoever(t *testing.T, f flow) string {
	t.Helper()
	all, _ := readFrames(t, 0, data(f, 0, sample()))
	return all[0].JA4
}

// A packet whose length its host left to the card is as long as what was captured; what was cut short says so.
func TestPacketsWithoutLength(t *testing.T) {
	long := append(sample(), make([]byte, 3000)...)
	for _, f := range []flow{flow4, flow6} {
		frame := withoutLength(data(f, 0, long))
		s, why := readSegment(frame, false)
		if why != isTCP || !bytes.Equal(s.payload, long) || s.cut {
			t.Errorf("%s: %v, %d bytes of %d, cut %t", f.from, why, len(s.payload), len(long), s.cut)
		}
		if again, why := readSegment(s.frame, false); why != isTCP || again.noLength || !bytes.Equal(again.payload, long) {
			t.Errorf("%s: what the dataplane is shown has %d bytes, %v", f.from, len(again.payload), why)
		}
		if s, _ := readSegment(frame[:200], true); !s.cut {
			t.Errorf("%s: cut short, and nothing says so", f.from)
		}
		huge := withoutLength(data(f, 0, make([]byte, 1<<16)))
		if s, why := readSegment(huge, false); why != isTCP || len(s.payload) != 1<<16 || s.frame != nil {
			t.Errorf("%s: %v, %d bytes, shown to the dataplane: %t", f.from, why, len(s.payload), s.frame != nil)
		}
		all, _ := readFrames(t, 500, openingFrame(f, firstByte-1), frame[:100])
		if len(all) != 1 || all[0].Reason != reasonCutShort && all[0].JA4 == "" {
			t.Errorf("%s: %+v", f.from, all)
		}
	}
}

// Fragments are counted, and the first of each says whose it is.
func TestFragmentsAreCounted(t *testing.T) {
	whole4, whole6 := data(flow4, 0, sample()), data(flow6, 0, sample())
	a, b := fragments4(whole4, 24)
	c, d := fragments6(whole6, 24)
	tiny, rest := fragments4(whole4, 8)
	for name, f := range map[string]struct {
		frame []byte
		of    flow
	}{"IPv4, first": {a, flow4}, "IPv4, second": {b, flow{}}, "IPv6, first": {c, flow6}, "IPv6, second": {d, flow{}},
		"ports alone":   {tiny, flow4},
		"all but ports": {rest, flow{}}} {
		if s, why := readSegment(f.frame, false); why != isFragment || s.flow != f.of {
			t.Errorf("%s: %v of %v, want of %v", name, why, s.flow, f.of)
		}
	}
	all, sum := readFrames(t, 0, openingFrame(flow4, firstByte-1), a, b, openingFrame(flow6, firstByte-1), c, d, whole6)
	if sum.Fragments != 4 || len(all) != 2 || all[0].Reason != "" || all[1].Reason != reasonFragment {
		t.Errorf("%+v, %+v", sum, all)
	}
}
