// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
)

const helloFloor = "hello floor"

// The rows of ClientHellos, and what each may cost in nanoseconds.
const (
	knownShape = "known shape, one segment to verdict"
	secondHalf = "second half of a hello without its first, again"
	newShape   = "new shape, one segment to verdict"
	worstShape = "new shape, forged worst: 99 ciphers, 99 extensions, 64 algorithms"
)

var helloTargets = []struct {
	row string
	ns  float64
}{{knownShape, 700}, {newShape, 5000}, {worstShape, 25000}}

// elsewhere is a service whose sockets are on another host: there a ClientHello is judged without one, again and again.
var elsewhere = netip.MustParseAddrPort("192.0.2.1:8443")

// message is a ClientHello of these ciphers and extensions, padded to n bytes with its record header.
func message(ciphers, extensions, algorithms, n int) []byte {
	h := clienthello.Hello{Version: 0x0303, SessionID: make([]byte, 32), Compression: []byte{0}}
	for i := range ciphers {
		h.Ciphers = append(h.Ciphers, uint16(0xc02b+i))
	}
	var list []byte
	for i := range algorithms {
		list = append(list, byte(4+i/256), byte(i))
	}
	contents := map[int]clienthello.Extension{
		0: {Type: 0x000d, Data: append([]byte{byte(len(list) >> 8), byte(len(list))}, list...)},
		1: {Type: 0x0010, Data: []byte("\x00\x0c\x02h2\x08http/1.1")},
		2: {Type: 0x002b, Data: []byte{4, 3, 4, 3, 3}},
		3: {Type: 0x0000, Data: []byte("\x00\x12\x00\x00\x0fwww.example.com")},
	}
	for i := range extensions - 1 {
		e, known := contents[i]
		if !known {
			e.Type = uint16(0x4000 + i)
		}
		h.Extensions = append(h.Extensions, e)
	}
	r := rand.New(rand.NewPCG(seed, 2))
	r.Shuffle(len(h.Extensions), func(i, j int) { h.Extensions[i], h.Extensions[j] = h.Extensions[j], h.Extensions[i] })
	h.Extensions = append(h.Extensions, clienthello.Extension{Type: 0x0015})
	if left := n - len(clienthello.Records(h.Bytes())); left > 0 {
		h.Extensions[len(h.Extensions)-1].Data = make([]byte, left)
	}
	return clienthello.Records(h.Bytes())
}

var (
	small   = message(15, 16, 8, 517)   // a client's without post-quantum keys
	large   = message(15, 16, 8, 1740)  // Chrome's of today
	modest  = message(39, 20, 18, 517)  // as much as is read for nothing of what no socket vouches for (VALUES_FREE)
	largest = message(99, 99, 64, 1460) // as much work as a segment can hold
)

// payloadFrame carries a piece of a stream that begins after sequence number 1000.
func payloadFrame(src, dst netip.AddrPort, stream []byte, from, to int) []byte {
	return segment(src, dst, func(t *packet.TCP) {
		t.Flags, t.Seq, t.Payload = packet.ACK|packet.PSH, uint32(1001+from), stream[from:to]
	})
}

// helloRows send parts of ClientHellos. A segment that comes again is looked at again, all of it but the verdict. A
// hello that was whole has given its place back, so its second half begins a new one.
func (r *rig) helloRows() ([]*scenario, error) {
	all := payloadFrame(visitor, elsewhere, small, 0, len(small))
	tiny, half := netip.AddrPortFrom(visitor.Addr(), 40001), netip.AddrPortFrom(visitor.Addr(), 40002)
	p := r.planes["hellos"]
	for _, frame := range [][]byte{
		earlier(tiny), payloadFrame(tiny, elsewhere, large, 0, 1000),
		earlier(half), payloadFrame(half, elsewhere, large, 0, 1400), payloadFrame(half, elsewhere, large, 1400, len(large)),
	} {
		if _, err := p.root.Run(&ebpf.RunOptions{Data: frame}); err != nil {
			return nil, fmt.Errorf("prepare the hellos: %w", err)
		}
	}
	row := func(plane, name string, frame []byte, reason bpf.Reason) *scenario {
		s := r.on(plane, name, frame, reason, passed)
		s.key, s.floor = "hello "+name, helloFloor
		return s
	}
	const unconfirmed = bpf.Reason(bpf.ReasonUnconfirmed)
	return []*scenario{
		{key: helloFloor, name: "empty XDP_PASS program", program: r.hot.EmptyPass, frame: all, action: actionPass},
		row("hellos", knownShape, all, unconfirmed),
		row("hellos", secondHalf, payloadFrame(half, elsewhere, large, 1400, len(large)), bpf.ReasonHelloOrder),
		row("hellos", "one byte in the middle of a hello", payloadFrame(tiny, elsewhere, large, 500, 501),
			bpf.ReasonHelloPartial),
		row("shapes", newShape, payloadFrame(visitor, service, small, 0, len(small)), unconfirmed),
		row("shapes", worstShape,
			payloadFrame(visitor, service, largest, 0, len(largest)), unconfirmed),
	}, nil
}

// earlier is the SYN that the first payload of payloadFrame joins.
func earlier(src netip.AddrPort) []byte {
	return segment(src, elsewhere, func(t *packet.TCP) {
		t.Flags, t.Ack, t.Window, t.Options = packet.SYN, 0, 64240, linuxOptions()
	})
}
