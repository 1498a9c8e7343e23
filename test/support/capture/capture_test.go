// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/spillway/spillway/test/support/capture"
	"github.com/spillway/spillway/test/support/packet"
)

var (
	v4 = packet.Frame{Source: netip.MustParseAddr("198.51.100.1"), Dest: netip.MustParseAddr("192.0.2.1")}
	v6 = packet.Frame{Source: netip.MustParseAddr("2001:db8::1"), Dest: netip.MustParseAddr("2001:db8::2")}
)

// segment returns a frame with bytes of a stream that began with the number 1000.
func segment(f packet.Frame, offset int, data string) packet.Frame {
	f.Body = packet.TCP{SourcePort: 40000, DestPort: 443, Seq: uint32(1001 + offset), Flags: packet.ACK,
		Payload: []byte(data)}
	return f
}

func opening(f packet.Frame, isn uint32) packet.Frame {
	f.Body = packet.TCP{SourcePort: 40000, DestPort: 443, Seq: isn, Flags: packet.SYN}
	return f
}

// linked is a packet with the header of a link type before it.
type linked struct {
	link layers.LinkType
	data []byte
}

// onEveryLink returns one packet of each family on every link type that carries it.
func onEveryLink() (all []linked) {
	for _, f := range []packet.Frame{segment(v4, 0, "x"), segment(v6, 0, "x")} {
		frame := f.Bytes()
		ip, etherType := frame[packet.EthernetLen:], frame[12:14]
		family := byte(2) // AF_INET
		if f.Source.Is6() {
			family = 24 // AF_INET6 of BSD
		}
		all = append(all,
			linked{layers.LinkTypeEthernet, frame},
			linked{layers.LinkTypeRaw, ip},
			linked{layers.LinkTypeNull, append([]byte{family, 0, 0, 0}, ip...)},
			linked{layers.LinkTypeLoop, append([]byte{0, 0, 0, family}, ip...)},
			linked{layers.LinkTypeLinuxSLL, slices.Concat([]byte{0, 0, 0, 1, 0, 6}, make([]byte, 8), etherType, ip)},
			linked{layers.LinkTypeLinuxSLL2,
				slices.Concat(etherType, []byte{0, 0, 0, 0, 0, 1, 0, 1, 0, 6}, make([]byte, 8), ip)},
		)
	}
	return all
}

func TestLinkTypes(t *testing.T) {
	var ng bytes.Buffer
	all := onEveryLink()
	w, err := pcapgo.NewNgWriter(&ng, all[0].link)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range all {
		number, err := w.AddInterface(pcapgo.NgInterface{LinkType: l.link, SnapLength: 65535})
		if err == nil {
			err = w.WritePacket(infoOf(l.data, number), l.data)
		}
		if err != nil {
			t.Fatal(err)
		}
		var classic bytes.Buffer
		write(t, &classic, l)
		one, err := capture.Read(&classic)
		if err != nil || len(one) != 1 {
			t.Fatalf("packet %d on %s: %d frames, %v", i, l.link, len(one), err)
		}
		check(t, one[0], l, i)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	frames, err := capture.Read(&ng)
	if err != nil || len(frames) != len(all) {
		t.Fatalf("%d frames of pcapng, %v", len(frames), err)
	}
	for i, f := range frames {
		check(t, f, all[i], i)
		if f.Number != i+1 {
			t.Errorf("frame %d is numbered %d", i+1, f.Number)
		}
	}
}

func infoOf(data []byte, number int) gopacket.CaptureInfo {
	return gopacket.CaptureInfo{CaptureLength: len(data), Length: len(data), InterfaceIndex: number}
}

// write makes a classic capture of one packet.
func write(t *testing.T, b *bytes.Buffer, l linked) {
	t.Helper()
	w := pcapgo.NewWriter(b)
	if err := w.WriteFileHeader(65535, l.link); err != nil {
		t.Fatal(err)
	}
	if err := w.WritePacket(infoOf(l.data, 0), l.data); err != nil {
		t.Fatal(err)
	}
}

// check compares a frame with the packet that it was made of.
func check(t *testing.T, f capture.Frame, l linked, i int) {
	t.Helper()
	want := segment(v4, 0, "x").Bytes()
	if i >= len(onEveryLink())/2 {
		want = segment(v6, 0, "x").Bytes()
	}
	packets := f.Packets()
	ethernet, err := f.Ethernet()
	if err != nil || f.Link != l.link || len(packets) != 1 || packets[0].Under != "" ||
		!bytes.Equal(packets[0].IP, want[packet.EthernetLen:]) || !bytes.Equal(ethernet[12:], want[12:]) {
		t.Errorf("packet %d on %s, read as %s: %+v, as Ethernet %x, %v", i, l.link, f.Link, packets, ethernet, err)
	}
}

func TestDamagedFiles(t *testing.T) {
	var whole bytes.Buffer
	frame := linked{layers.LinkTypeEthernet, segment(v4, 0, "x").Bytes()}
	write(t, &whole, frame)
	claims := func(n uint32) []byte { // another record, with this length
		b := append(slices.Clone(whole.Bytes()), make([]byte, 16)...)
		binary.LittleEndian.PutUint32(b[len(b)-8:], n)
		binary.LittleEndian.PutUint32(b[len(b)-4:], n)
		return b
	}
	for name, c := range map[string]struct {
		file   []byte
		frames int
		fails  bool
	}{
		"whole":                    {whole.Bytes(), 1, false},
		"stopped in a packet":      {whole.Bytes()[:whole.Len()-1], 0, false},
		"stopped before a packet":  {claims(60), 1, false},
		"a length over the limits": {claims(1 << 22), 1, true},
		"no capture":               {[]byte("no capture at all, but text"), 0, true},
		"nothing":                  {nil, 0, true},
	} {
		frames, err := capture.Read(bytes.NewReader(c.file))
		if len(frames) != c.frames || (err != nil) != c.fails {
			t.Errorf("%s: %d frames, %v", name, len(frames), err)
		}
	}
}

func TestTunnels(t *testing.T) {
	inner := segment(v4, 0, "inside").Bytes()
	outer := v6
	outer.Tags = packet.Tags(1, 0)
	outer.Body = packet.UDP{SourcePort: 1000, DestPort: 4789,
		Payload: append([]byte{8, 0, 0, 0, 0, 0, 1, 0}, inner...)} // VXLAN, RFC 7348
	frame := outer.Bytes()
	var got []string
	for _, p := range (capture.Frame{Number: 1, Link: layers.LinkTypeEthernet, Data: frame}).Packets() {
		got = append(got, p.Under)
		if flow, tcp, ok := p.TCP(); ok &&
			(string(tcp.Payload) != "inside" || flow.String() != "c6336401:40000>c0000201:443") {
			t.Errorf("%s: %q", flow, tcp.Payload)
		}
	}
	if diff := cmp.Diff([]string{"Dot1Q", "Dot1Q IPv6 UDP VXLAN Ethernet"}, got); diff != "" {
		t.Errorf("what the packets lie under (-want +got):\n%s", diff)
	}
}

func TestStreams(t *testing.T) {
	for name, c := range map[string]struct {
		frames []packet.Frame
		want   []string
		frame  int // that brought the last byte of the first stream
	}{
		"in order": {[]packet.Frame{opening(v4, 1000), segment(v4, 0, "ab"), segment(v4, 2, "c")},
			[]string{"abc"}, 3},
		"the first bytes count": {[]packet.Frame{opening(v4, 1000), segment(v4, 0, "ab"), segment(v4, 0, "XYc")},
			[]string{"abc"}, 3},
		"out of order": {[]packet.Frame{opening(v6, 1000), segment(v6, 1, "bc"), segment(v6, 0, "a")},
			[]string{"abc"}, 2},
		"a gap": {[]packet.Frame{opening(v4, 1000), segment(v4, 0, "a"), segment(v4, 2, "c")}, []string{"a"},
			2},
		"no SYN": {[]packet.Frame{segment(v4, 5, "a"), segment(v4, 6, "b")}, []string{"ab"}, 2},
		"the SYN again": {[]packet.Frame{opening(v4, 1000), segment(v4, 0, "a"), opening(v4, 1000)}, []string{"a"},
			2},
		"another connection": {[]packet.Frame{opening(v4, 7), opening(v4, 1000), segment(v4, 0, "a")},
			[]string{"", "a"}, 0},
		"numbers that go around": {[]packet.Frame{opening(v4, 1<<32-3), segment(v4, -1003, "abcd"), segment(v4, -999, "e")},
			[]string{"abcde"}, 3},
	} {
		var packets []capture.Packet
		for i, f := range c.frames {
			packets = append(packets,
				capture.Frame{Number: i + 1, Link: layers.LinkTypeEthernet, Data: f.Bytes()}.Packets()...)
		}
		streams := capture.Streams(packets)
		var got []string
		for _, s := range streams {
			got = append(got, string(s.Bytes))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		} else if frame := streams[0].FrameOf(len(streams[0].Bytes) - 1); frame != c.frame {
			t.Errorf("%s: the last byte came with frame %d, want %d", name, frame, c.frame)
		}
	}
}
