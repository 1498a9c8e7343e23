// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	from4, to4 = netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.1")
	from6, to6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

func syn(src, dst netip.Addr, options ...[]byte) Frame {
	return Frame{Source: src, Dest: dst, Body: TCP{
		SourcePort: 40000, DestPort: 443, Seq: 1, Flags: SYN, Window: 64240, Options: Options(options...),
	}}
}

// The checksums in these frames were computed by other code, from RFC 791, RFC 768 and RFC 9293.
func TestWholeFrames(t *testing.T) {
	for name, c := range map[string]struct {
		frame Frame
		want  string
	}{
		"SYN over IPv4": {syn(from4, to4, MSS(1460)),
			"020000000001" + "020000000002" + "0800" +
				"4500002c00000000" + "4006" + "8e96" + "c6336401" + "c0000201" +
				"9c4001bb" + "00000001" + "00000000" + "6002faf0" + "13030000" + "020405b4"},
		"UDP over IPv6 with two tags": {
			Frame{Source: from6, Dest: to6, Tags: []Tag{{EtherQinQ, 100}, {0, 101}},
				Body: UDP{SourcePort: 40000, DestPort: 53, Payload: []byte{1, 2, 3}}},
			"020000000001" + "020000000002" + "88a80064" + "81000065" + "86dd" +
				"60000000000b1140" + "20010db8000000000000000000000001" + "20010db8000000000000000000000002" +
				"9c400035" + "000b03ec" + "010203"},
		"ARP": {Frame{EtherType: new(EtherARP), Body: Raw{Data: []byte{0, 1}}},
			"020000000001" + "020000000002" + "0806" + "0001"},
	} {
		if diff := cmp.Diff(c.want, hex.EncodeToString(c.frame.Bytes())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A receiver sums the words of a packet with its checksum, and gets all ones (RFC 1071).
func TestChecksumsAreRight(t *testing.T) {
	bodies := []Body{
		TCP{SourcePort: 1, DestPort: 2, Payload: []byte("odd")},
		TCP{SourcePort: 1, DestPort: 2, Options: Options(MSS(1), Scale(7))},
		UDP{SourcePort: 1, DestPort: 2, Payload: []byte("even")},
	}
	for _, body := range bodies {
		for _, addr := range [][2]netip.Addr{{from4, to4}, {from6, to6}} {
			b := Frame{Source: addr[0], Dest: addr[1], Body: body}.Bytes()[EthernetLen:]
			header, sum := IPv6Len, uint64(0)
			if addr[0].Is4() {
				header = IPv4Len
				if got := wordSum(0, b[:header]); got != 0xffff {
					t.Errorf("%T: IPv4 header sums to %#x", body, got)
				}
			}
			sum = wordSum(0, addr[0].AsSlice(), addr[1].AsSlice()) + uint64(body.protocol()) + uint64(len(b)-header)
			if got := wordSum(sum, b[header:]); got != 0xffff {
				t.Errorf("%T over %s: sums to %#x", body, addr[0], got)
			}
		}
	}
}

func wordSum(sum uint64, parts ...[]byte) uint64 {
	for _, b := range parts {
		for i, v := range b {
			sum += uint64(v) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum
}

// An override changes its own field and nothing else but the checksum over it.
func TestOverridesBendOneField(t *testing.T) {
	base := syn(from4, to4, MSS(1460))
	base6 := syn(from6, to6, MSS(1460))
	base6.Extensions = Extensions(1, DestOptions)
	bent := func(f Frame, b Bent) Frame { f.Bent = b; return f }
	for name, c := range map[string]struct {
		frame, base Frame
		at          []int // offsets that may differ
	}{
		"version":         {bent(base, Bent{Version: new(uint8(5))}), base, []int{14, 24, 25}},
		"header words":    {bent(base, Bent{HeaderWords: new(uint8(4))}), base, []int{14, 24, 25}},
		"total length":    {bent(base, Bent{Length: new(uint16(19))}), base, []int{16, 17, 24, 25}},
		"protocol":        {bent(base, Bent{Protocol: new(ICMP)}), base, []int{23, 24, 25}},
		"header checksum": {bent(base, Bent{Checksum: new(uint16(1))}), base, []int{24, 25}},
		"IPv6 version":    {bent(base6, Bent{Version: new(uint8(4))}), base6, []int{14}},
		"payload length":  {bent(base6, Bent{Length: new(uint16(3))}), base6, []int{18, 19}},
		"last protocol":   {bent(base6, Bent{Protocol: new(ESP)}), base6, []int{54}},
	} {
		got, want := c.frame.Bytes(), c.base.Bytes()
		if len(got) != len(want) || slices.Equal(got, want) {
			t.Errorf("%s: %d bytes that differ in nothing, or in length (%d)", name, len(got), len(want))
			continue
		}
		for i := range got {
			if got[i] != want[i] && !slices.Contains(c.at, i) {
				t.Errorf("%s: byte %d changed too", name, i)
			}
		}
	}
}

func TestExtensionHeaders(t *testing.T) {
	f := Frame{Source: from6, Dest: to6, Body: Raw{Protocol: ProtoTCP, Data: []byte{0xaa}},
		Extensions: []Extension{{Kind: HopByHop}, {Kind: AH}, {Kind: DestOptions, Data: make([]byte, 7)}},
		Fragment:   &Fragment{Offset: 3, More: true, ID: 0x01020304}}
	const want = "330000000000" + "0000" + // hop-by-hop, one unit of 8, next is AH
		"3c01000000000000" + "00000000" + // AH, 12 bytes, next is destination options
		"2c01" + "00000000000000" + "00000000000000" + // 16 bytes, next is fragment
		"0600" + "0019" + "01020304" + "aa"
	b := f.Bytes()[EthernetLen:]
	if diff := cmp.Diff(want, hex.EncodeToString(b[IPv6Len:])); diff != "" {
		t.Errorf("extension headers (-want +got):\n%s", diff)
	}
	if got := int(binary.BigEndian.Uint16(b[4:])); got != len(b)-IPv6Len || b[6] != HopByHop {
		t.Errorf("payload length %d, first header %d", got, b[6])
	}
}

func TestPaddingIsOutsideThePacket(t *testing.T) {
	f := syn(from4, to4)
	plain := f.Bytes()
	f.Padding = 6
	got := f.Bytes()
	if !slices.Equal(got[:len(plain)], plain) || len(got) != len(plain)+6 {
		t.Errorf("padding changed the packet or is missing: %d bytes, %d before", len(got), len(plain))
	}
}

func TestTruncations(t *testing.T) {
	frame := syn(from4, to4).Bytes()
	var lengths []int
	for n, cut := range Truncations(frame, EthernetLen) {
		if !slices.Equal(cut, frame[:n]) {
			t.Errorf("cut of %d bytes differs", n)
		}
		cut[0] = 0xff
		lengths = append(lengths, n)
	}
	if frame[0] == 0xff {
		t.Error("writing to a cut changed the frame")
	}
	if len(lengths) != len(frame)-EthernetLen+1 || lengths[0] != EthernetLen {
		t.Errorf("lengths: %v", lengths)
	}
}
