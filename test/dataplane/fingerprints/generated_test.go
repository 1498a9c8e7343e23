// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/userspace/fingerprint"
)

// generated is how many connections the comparison makes.
const generated = 3000

// sent is one generated connection, and what the reference reads in it.
type sent struct {
	source netip.AddrPort
	want   *reference.Hello
	err    error
	how    string
}

var deliveries = []struct {
	name string
	do   func(*rand.Rand, []clienthello.Segment) []clienthello.Segment
}{
	{"in order", func(_ *rand.Rand, s []clienthello.Segment) []clienthello.Segment { return s }},
	{"retransmitted", clienthello.Retransmit},
	{"overlapping", clienthello.Overlap},
	{"shuffled", clienthello.Shuffle},
}

// makeCapture writes many connections whose frames lie among each other.
func makeCapture(t *testing.T, r *rand.Rand) (*bytes.Buffer, []sent) {
	t.Helper()
	var all []sent
	var waiting [][][]byte
	for i := range generated {
		c := clienthello.Connection{Source: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), uint16(1024+i)),
			Dest: netip.MustParseAddrPort("192.0.2.1:443"), ISN: r.Uint32()}
		if i%2 == 1 {
			c.Source = netip.AddrPortFrom(netip.MustParseAddr("2001:db8::7"), uint16(1024+i))
			c.Dest = netip.MustParseAddrPort("[2001:db8::1]:443")
		}
		hello := clienthello.Generate(r)
		s := sent{source: c.Source}
		stream := clienthello.Records(hello.Bytes(), clienthello.Cuts(r, len(hello.Bytes()))...)
		if i%5 == 4 {
			stream, s.how = clienthello.Break(r, hello)
		}
		d := deliveries[r.IntN(len(deliveries))]
		s.how += " " + d.name
		s.want, s.err = reference.ParseStream(stream)
		all = append(all, s)
		frames := c.Frames(d.do(r, clienthello.Segments(stream, clienthello.Cuts(r, len(stream))...)))
		waiting = append(waiting, append([][]byte{c.SYN(packet.MSS(1460))}, frames...))
	}
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for from := 0; from < len(waiting); from++ { // 50 connections are open at a time
		for i := from; i < min(from+50, len(waiting)); i++ {
			n := 1 + r.IntN(3)
			if i == from {
				n = len(waiting[i])
			}
			for ; n > 0 && len(waiting[i]) > 0; n-- {
				frame := waiting[i][0]
				if err := w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(frame), Length: len(frame)}, frame); err != nil {
					t.Fatal(err)
				}
				waiting[i] = waiting[i][1:]
			}
		}
	}
	return &b, all
}

// What the reference reads in generated connections, whole and broken, is what is told of them.
func TestGeneratedConnections(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	b, all := makeCapture(t, rand.New(rand.NewPCG(seed, 0)))
	file := b.Bytes()
	t.Run("go", func(t *testing.T) { checkGenerated(t, file, all, nil) })
	t.Run("kernel", func(t *testing.T) { checkGenerated(t, file, all, openLab(t)) })
}

// ambiguous reports whether a hello has two extensions of a type that JA4 looks into. RFC 8446 forbids it, and the
// dataplane gives no fingerprint.
func ambiguous(h *reference.Hello) bool {
	count := map[uint16]int{}
	for _, e := range h.Extensions {
		count[e.Type]++
	}
	return max(count[reference.ExtSignatureAlgorithms], count[reference.ExtALPN],
		count[reference.ExtSupportedVersions]) > 1
}

func checkGenerated(t *testing.T, file []byte, all []sent, k fingerprint.Kernel) {
	c, err := fingerprint.OpenCapture(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	told := map[netip.AddrPort]fingerprint.Connection{}
	sum, err := fingerprint.Read(c, fingerprint.Options{Kernel: k}, func(c fingerprint.Connection) error {
		if _, twice := told[c.Client]; twice {
			t.Errorf("%s is told twice", c.Client)
		}
		told[c.Client] = c
		return nil
	})
	if err != nil || sum.Connections != len(all) {
		t.Fatalf("%d connections, want %d, %v", sum.Connections, len(all), err)
	}
	byKernel := 0
	for _, s := range all {
		got := told[s.source]
		switch {
		case s.err == nil && ambiguous(s.want):
			if got.Reason != "hello_malformed" {
				t.Errorf("%s (%s): two extensions of one type, and the reason is %q", s.source, s.how, got.Reason)
			}
		case s.err != nil:
			if got.JA4 != "" && !errors.Is(s.err, reference.ErrIncomplete) {
				t.Errorf("%s (%s): JA4 %s, and the reference says %v", s.source, s.how, got.JA4, s.err)
			}
		case got.JA4 != s.want.JA4() || got.JA4Raw != s.want.JA4Raw() || got.StableJA4 != s.want.StableJA4():
			t.Errorf("%s (%s) by %s: JA4 %s stable %s %s %v, want %s stable %s", s.source, s.how, got.By, got.JA4, got.StableJA4,
				got.Why, got.Notes, s.want.JA4(), s.want.StableJA4())
		}
		if got.JA4 != "" && got.By == fingerprint.ByKernel {
			byKernel++
		}
	}
	t.Logf("%d JA4 by the kernel", byKernel)
	if k != nil && byKernel < len(all)/2 {
		t.Errorf("only %d of %d JA4 by the kernel", byKernel, len(all))
	}
}
