// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/userspace/fingerprint"
)

var visitor = clienthello.Connection{Source: netip.MustParseAddrPort("198.51.100.7:40000"),
	Dest: netip.MustParseAddrPort("192.0.2.1:443"), ISN: 1000}

// record is one frame of a capture; more says how many bytes were not captured.
type record struct {
	data []byte
	more int
}

func records(frames ...[]byte) (all []record) {
	for _, f := range frames {
		all = append(all, record{data: f})
	}
	return all
}

func pcapOf(t *testing.T, link layers.LinkType, all []record) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(1<<18, link); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1e9, 0), CaptureLength: len(r.data),
			Length: len(r.data) + r.more}, r.data); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func tell(t *testing.T, file []byte, k fingerprint.Kernel) (all []fingerprint.Connection, sum fingerprint.Summary) {
	t.Helper()
	c, err := fingerprint.OpenCapture(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	sum, err = fingerprint.Read(c, fingerprint.Options{Kernel: k}, func(c fingerprint.Connection) error {
		all = append(all, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, sum
}

// browser is a whole ClientHello in a stream of one record.
func browser() []byte {
	return clienthello.Records(
		clienthello.Hello{Version: 0x0303, Ciphers: []uint16{0x1301, 0xc02f}, Compression: []byte{0},
			Extensions: []clienthello.Extension{{Type: 0x002b, Data: []byte{2, 3, 4}},
				{Type: 0x0015, Data: make([]byte, 400)}}}.Bytes())
}

const browserJA4 = "t13i020200_"

// Each way to have no JA4 has its reason, and what can be told all the same is told.
func TestReasons(t *testing.T) {
	stream := browser()
	segment := func(from, to int) []byte {
		return visitor.Frame(clienthello.Segment{Offset: from, Data: stream[from:to]})
	}
	text := func(s string) []byte { return visitor.Frame(clienthello.Segment{Data: []byte(s)}) }
	syn, whole := visitor.SYN(packet.MSS(1460)), segment(0, len(stream))
	lie := slices.Clone(stream)
	lie[5+4+34] = 3 // a session id that takes the length of the cipher suites
	answer := clienthello.Connection{Source: visitor.Dest, Dest: visitor.Source, ISN: 5}
	old := answer.Frame(clienthello.Segment{Offset: 9, Data: []byte("<html>")})
	fin := packet.Frame{Source: visitor.Source.Addr(), Dest: visitor.Dest.Addr(),
		Body: packet.TCP{SourcePort: 40000, DestPort: 443, Seq: 1001, Flags: packet.FIN | packet.ACK}}.Bytes()
	offloaded := visitor.Frame(clienthello.Segment{Data: append(slices.Clone(stream), make([]byte, 60000)...)})
	for name, c := range map[string]struct {
		records []record
		want    string // the reason, or the beginning of the JA4
	}{
		"a SYN alone":        {records(syn), "no_data"},
		"nothing but a FIN":  {records(syn, fin), "no_data"},
		"not TLS":            {records(syn, text("GET / HTTP/1.1\r\n\r\n")), "not_hello"},
		"the first part":     {records(syn, segment(0, 100)), "hello_partial"},
		"a gap":              {records(syn, segment(0, 100), segment(200, len(stream))), "gap"},
		"the second part":    {records(syn, segment(100, len(stream))), "gap"},
		"a lie":              {records(syn, visitor.Frame(clienthello.Segment{Data: lie})), "hello_malformed"},
		"from its middle on": {records(old, segment(100, 200)), "midstream"},
		"headers only":       {[]record{{data: syn}, {data: whole[:54], more: len(whole) - 54}}, "cut_short"},
		"cut short":          {[]record{{data: syn}, {data: whole[:200], more: len(whole) - 200}}, "cut_short"},
		"cut behind the hello": {[]record{{data: syn}, {data: offloaded[:1000], more: len(offloaded) - 1000}},
			browserJA4},
		"whole":                  {records(syn, whole), browserJA4},
		"without its SYN":        {records(whole), browserJA4},
		"in two without its SYN": {records(segment(0, 100), segment(100, len(stream))), browserJA4},
		"out of order":           {records(syn, segment(100, len(stream)), segment(0, 100)), browserJA4},
		"the SYN twice":          {records(syn, syn, whole, whole, syn), browserJA4},
		"the server heard first": {records(old, whole), browserJA4},
		"64 KiB by an offload":   {records(syn, offloaded), browserJA4},
		"behind another record": {
			records(syn, text("EHLO\r\n"), visitor.Frame(clienthello.Segment{Offset: 6, Data: stream})), browserJA4},
		"with its SYN (Fast Open)": {records(fastOpen(stream)), browserJA4},
	} {
		file := pcapOf(t, layers.LinkTypeEthernet, c.records)
		all, _ := tell(t, file, nil)
		check(t, name+" by Go", all, c.want)
	}
	t.Run("kernel", func(t *testing.T) {
		l := openLab(t)
		for name, frames := range map[string][]record{
			"whole": records(syn, whole), "out of order": records(syn, segment(100, len(stream)), segment(0, 100)),
			"without its SYN":          records(segment(0, 100), segment(100, len(stream))),
			"64 KiB by an offload":     records(syn, offloaded),
			"with its SYN (Fast Open)": records(fastOpen(stream)),
		} {
			all, _ := tell(t, pcapOf(t, layers.LinkTypeEthernet, frames), l)
			check(t, name+" by the kernel", all, browserJA4)
			if len(all) == 1 && all[0].By != fingerprint.ByKernel {
				t.Errorf("%s: by %s, want the kernel: %v", name, all[0].By, all[0].Notes)
			}
		}
		all, _ := tell(t,
			pcapOf(t, layers.LinkTypeEthernet, []record{{data: syn}, {data: offloaded[:1000], more: len(offloaded) - 1000}}), l)
		check(t, "cut behind the hello", all, browserJA4)
		if len(all) == 1 && (all[0].By != fingerprint.ByGo || len(all[0].Notes) != 1) {
			t.Errorf("cut behind the hello: by %s, %v; want Go, and a note that says why", all[0].By, all[0].Notes)
		}
	})
}

func fastOpen(stream []byte) []byte {
	return packet.Frame{Source: visitor.Source.Addr(), Dest: visitor.Dest.Addr(),
		Body: packet.TCP{SourcePort: visitor.Source.Port(),
			DestPort: visitor.Dest.Port(), Seq: visitor.ISN, Flags: packet.SYN, Window: 64240, Payload: stream}}.Bytes()
}

// check wants one connection, from the visitor, with this reason or a JA4 that begins like this.
func check(t *testing.T, name string, all []fingerprint.Connection, want string) {
	t.Helper()
	if len(all) != 1 || all[0].Client != visitor.Source {
		t.Errorf("%s: %d connections: %+v", name, len(all), all)
		return
	}
	c := all[0]
	if want != c.Reason && (c.Reason != "" || len(c.JA4) < len(want) || c.JA4[:len(want)] != want) {
		t.Errorf("%s: reason %q, JA4 %q, want %s", name, c.Reason, c.JA4, want)
	}
	if (c.Reason == "") != (c.Why == "") {
		t.Errorf("%s: reason %q, and %q for people", name, c.Reason, c.Why)
	}
}

// Every link type gives the same; what is not read is counted.
func TestLinkTypes(t *testing.T) {
	syn, whole := visitor.SYN(packet.MSS(1460)), visitor.Frame(clienthello.Segment{Data: browser()})
	want, _ := tell(t, pcapOf(t, layers.LinkTypeEthernet, records(syn, whole)), nil)
	heads := map[layers.LinkType]func(ip []byte) []byte{
		layers.LinkTypeRaw:  func(ip []byte) []byte { return ip },
		layers.LinkTypeIPv4: func(ip []byte) []byte { return ip },
		layers.LinkTypeNull: func(ip []byte) []byte { return append([]byte{2, 0, 0, 0}, ip...) },
		layers.LinkTypeLoop: func(ip []byte) []byte { return append([]byte{0, 0, 0, 2}, ip...) },
		layers.LinkTypeLinuxSLL: func(ip []byte) []byte {
			return append(append(make([]byte, 14), 8, 0), ip...)
		},
		layers.LinkTypeLinuxSLL2: func(ip []byte) []byte {
			return append(append([]byte{8, 0}, make([]byte, 18)...), ip...)
		},
	}
	for link, head := range heads {
		got, _ := tell(t, pcapOf(t, link, records(head(syn[14:]), head(whole[14:]))), nil)
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s (-Ethernet +%s):\n%s", link, link, diff)
		}
		// Whatever the length, nothing is read behind the end.
		for n := range len(head(syn[14:])) {
			tell(t, pcapOf(t, link, records(head(syn[14:])[:n])), nil)
		}
	}
	if _, sum := tell(t, pcapOf(t, layers.LinkTypeIEEE802_11, records(syn)),
		nil); sum.Unread[layers.LinkTypeIEEE802_11] != 1 {
		t.Errorf("a link type that is not read: %+v", sum)
	}
}

// More connections than are remembered are told, each once, the one that waited longest first.
func TestManyConnections(t *testing.T) {
	const many = 90000
	var all []record
	stream := browser()
	for i := range many {
		c := visitor
		c.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i >> 14)}), uint16(1024+i&0x3fff))
		all = append(all, record{data: c.SYN()})
		if i%7 == 0 {
			all = append(all, record{data: c.Frame(clienthello.Segment{Data: stream})})
		}
	}
	told, sum := tell(t, pcapOf(t, layers.LinkTypeEthernet, all), nil)
	count := map[string]int{}
	seen := map[netip.AddrPort]bool{}
	for _, c := range told {
		count[c.Reason]++
		if seen[c.Client] {
			t.Fatalf("%s is told twice", c.Client)
		}
		seen[c.Client] = true
	}
	if sum.Connections != many || len(seen) != many || count[""] != (many+6)/7 || count["crowded"] == 0 ||
		count["crowded"]+count["no_data"] != many-count[""] {
		t.Errorf("%d connections of %d: %v", len(seen), many, count)
	}
}

// Bytes that are no capture, or become none somewhere, end with an error and never with a panic.
func TestHostileCaptures(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	whole := pcapOf(t, layers.LinkTypeEthernet, records(visitor.SYN(packet.MSS(1460), packet.Timestamps(1, 0)),
		visitor.Frame(clienthello.Segment{Data: browser()})))
	for range 20000 {
		b := slices.Clone(whole)
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		c, err := fingerprint.OpenCapture(bytes.NewReader(b[:r.IntN(len(b)+1)]))
		if err != nil {
			continue
		}
		_, _ = fingerprint.Read(c, fingerprint.Options{}, func(fingerprint.Connection) error { return nil })
	}
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}
