// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"

	"github.com/spillway/spillway/loader/probe"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/packet"
)

// oddSYN is a SYN with any options, flags and header fields.
func oddSYN(r *rand.Rand, port uint16) []byte {
	f := packet.Frame{Source: netip.MustParseAddr("198.51.100.7"), Dest: netip.MustParseAddr("192.0.2.1")}
	if r.IntN(2) == 0 {
		f.Source, f.Dest = netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("2001:db8::1")
		if r.IntN(4) == 0 {
			f.Extensions = packet.Extensions(1, packet.DestOptions)
		}
	} else if r.IntN(4) == 0 {
		f.Options = make([]byte, 4*r.IntN(5))
	}
	tcp := packet.TCP{SourcePort: port, DestPort: 443, Seq: r.Uint32() >> r.IntN(32), Ack: r.Uint32() & -uint32(r.IntN(2)),
		Flags: packet.SYN, Window: uint16(r.Uint32())}
	if r.IntN(3) == 0 {
		tcp.Flags |= byte(r.Uint32()) &^ packet.ACK
	}
	for len(tcp.Options) < 40 && r.IntN(6) > 0 {
		option := [][]byte{packet.MSS(uint16(r.Uint32())), packet.NOP(), packet.Scale(byte(r.IntN(20))),
			packet.SACKPermitted(),
			packet.Timestamps(r.Uint32()&-uint32(r.IntN(2)), r.Uint32()&-uint32(r.IntN(2))), packet.EOL(),
			packet.Option(byte(r.IntN(10)), make([]byte, r.IntN(12))...),
			{byte(r.IntN(10)), byte(r.IntN(12)), byte(r.Uint32())}}[r.IntN(8)]
		if len(tcp.Options)+len(option) <= 40 {
			tcp.Options = append(tcp.Options, option...)
		}
	}
	if r.IntN(8) == 0 {
		tcp.Payload = []byte("early")
	}
	f.Body = tcp
	b := f.Bytes()
	for range r.IntN(3) { // the IP header, beside lengths, protocol and addresses
		b[14+[]int{1, 4, 5, 8}[r.IntN(4)]] = byte(r.Uint32())
	}
	if f.Source.Is6() {
		b[14+4], b[14+5] = byte((len(b)-54)>>8), byte(len(b)-54)
	}
	return b
}

// onceDiffered are IP packets that Go and the dataplane read differently once.
var onceDiffered = map[string]struct{ hex, p0f string }{
	"two timestamps, the last of them 0": {
		"4500004c1e00000040068e70c6336407c00002010def01bb0631ed8dd6cfa2cde00290f9c5ab0000080a7bb66d580000000003030a0204a5c0080a0000000000000000010204910500000000",
		"4:64+0:0:37125:37113,10:ts,ws,mss,ts,nop,mss,eol+3:ts1-:0"},
	"two timestamps, the first of them 0": {
		"4500004c1e00000040068e70c6336407c00002010def01bb0631ed8dd6cfa2cde00290f9c5ab0000080a000000000000000003030a0204a5c0080a7bb66d5800000000010204910500000000",
		"4:64+0:0:37125:mss*1,10:ts,ws,mss,ts,nop,mss,eol+3:ts1-:0"},
}

// What Go reads in a SYN where no kernel can be asked is what the dataplane reads in it. A frame that fails is printed
// as a row of onceDiffered.
func TestSYNsByGoAndByTheKernel(t *testing.T) {
	l := openLab(t)
	for name, row := range onceDiffered {
		ip, err := hex.DecodeString(row.hex)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := reference.P0f(ip); err != nil || want != row.p0f {
			t.Errorf("%s: the reference reads %s, %v, want %s", name, want, err, row.p0f)
		}
		own, _ := tell(t, pcapOf(t, layers.LinkTypeRaw, records(ip)), nil)
		kernel, _ := tell(t, pcapOf(t, layers.LinkTypeRaw, records(ip)), l)
		if len(own) != 1 || len(kernel) != 1 || own[0].P0F != row.p0f || kernel[0].P0F != row.p0f {
			t.Errorf("%s: %+v by Go, %+v by the kernel, want %s", name, own, kernel, row.p0f)
		}
	}
	for _, seed := range []uint64{9, rand.Uint64()} {
		compareSYNs(t, l, seed, 5000)
	}
}

// compareSYNs compares what both read in n generated SYNs.
func compareSYNs(t *testing.T, l *probe.Probe, seed uint64, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	var all []record
	for i := range n {
		all = append(all, record{data: oddSYN(r, uint16(1024+i))})
	}
	file := pcapOf(t, layers.LinkTypeEthernet, all)
	own, _ := tell(t, file, nil)
	kernel, _ := tell(t, file, l)
	if len(own) < len(all)/2 || len(own) != len(kernel) {
		t.Fatalf("seed %d: %d connections by Go, %d by the kernel, of %d SYNs", seed, len(own), len(kernel), len(all))
	}
	type said struct{ MuonFP, P0F string }
	faults := 0
	for i, c := range own {
		if diff := cmp.Diff(said{c.MuonFP, c.P0F}, said{kernel[i].MuonFP, kernel[i].P0F}); diff != "" {
			t.Errorf("seed %d, %x (-Go +kernel):\n%s", seed, all[c.Frame-1].data[14:], diff)
			if faults++; faults > 5 {
				return
			}
		}
	}
}
