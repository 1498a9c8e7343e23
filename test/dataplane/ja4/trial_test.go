// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/support/clienthello"
)

// trial is one generated stream on its way through the kernel. It depends on seed and number alone.
type trial struct {
	p        *plane
	r        *rand.Rand
	number   uint64
	hello    clienthello.Hello
	stream   []byte
	what     string
	failures []string
	sent     [][]byte // its frames
	open     []clienthello.Connection
}

func newTrial(p *plane, seed, number uint64) *trial {
	c := &trial{p: p, r: rand.New(rand.NewPCG(seed, number)), number: number}
	c.hello = clienthello.Generate(c.r)
	switch c.r.IntN(4) {
	case 0:
		c.stream, c.what = clienthello.Break(c.r, c.hello)
	case 1:
		message := c.hello.Bytes()
		c.stream, c.what = clienthello.Records(message, clienthello.Cuts(c.r, len(message))...), "records"
	default:
		c.stream, c.what = clienthello.Records(c.hello.Bytes()), "one record"
	}
	return c
}

// from is the client of a trial: a prefix of its own, as far as there are enough.
func (c *trial) from(second uint16) netip.AddrPort {
	n := c.number
	port := 1024 + uint16(n>>16&0x3fff) + second<<14
	if n%2 == 0 {
		a := netip.MustParseAddr("2001:db8::1").As16()
		binary.BigEndian.PutUint16(a[4:], uint16(n))
		return netip.AddrPortFrom(netip.AddrFrom16(a), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18 | byte(n>>16&1), byte(n >> 8), byte(n)}), port)
}

func (c *trial) failf(format string, args ...any) {
	c.failures = append(c.failures, fmt.Sprintf(format, args...))
}

// send opens a connection and sends the segments in this order.
func (c *trial) send(k clienthello.Connection, segments []clienthello.Segment) {
	c.open = append(c.open, k)
	c.sent = append(c.sent, k.SYN())
	c.p.run(k.SYN())
	c.again(k, segments)
}

func (c *trial) again(k clienthello.Connection, segments []clienthello.Segment) {
	for _, s := range segments {
		frame := k.Frame(s)
		c.sent = append(c.sent, frame)
		if action := c.p.run(frame); action != "XDP_PASS" {
			c.failf("bytes %d to %d: %s", s.Offset, s.Offset+len(s.Data), action)
		}
	}
}

// run sends the stream in one of the ways that a client may, and returns its class.
func (c *trial) run() string {
	if len(c.stream) == 0 {
		return "empty"
	}
	want := expect(c.stream)
	from := c.from(0)
	k := clienthello.Connection{Source: from, Dest: far(from), ISN: c.r.Uint32(), Ack: 1}
	cuts := clienthello.Cuts(c.r, len(c.stream))
	if c.r.IntN(400) == 0 {
		cuts = clienthello.Every(min(len(c.stream), 3000))
	}
	segments := clienthello.Segments(c.stream, cuts...)
	c.what += fmt.Sprintf(", %d segments", len(segments))
	switch c.r.IntN(8) {
	case 0:
		c.what += ", retransmitted"
		c.send(k, clienthello.Retransmit(c.r, segments))
	case 1:
		c.what += ", overlapping"
		c.send(k, clienthello.Overlap(c.r, segments))
	case 2:
		c.swapped(k, segments)
	case 3:
		c.disturbed(k, segments, "shuffled", clienthello.Shuffle)
	case 4:
		c.contradicted(k, segments)
		if want.classes[0] != whole || want.hello.End <= segments[len(segments)-1].Offset {
			return "contradicted" // what comes again behind the hello's end is judged by itself, too
		}
	default:
		c.send(k, segments)
	}
	c.check(k, want)
	if want.classes[0] == whole && len(c.failures) == 0 && c.r.IntN(4) == 0 {
		c.permuted()
		c.near()
	}
	return want.classes[0]
}

// swapped lets two neighbours behind the first segment change places: one gap, which the kernel remembers.
func (c *trial) swapped(k clienthello.Connection, segments []clienthello.Segment) {
	if len(segments) > 2 {
		i := 1 + c.r.IntN(len(segments)-2)
		segments = slices.Clone(segments)
		segments[i], segments[i+1] = segments[i+1], segments[i]
		c.what += ", two swapped"
	}
	c.send(k, segments)
}

// disturbed sends the segments in a way that the kernel need not follow, and then everything again in order.
func (c *trial) disturbed(k clienthello.Connection, segments []clienthello.Segment, how string,
	change func(*rand.Rand, []clienthello.Segment) []clienthello.Segment) {
	c.what += ", " + how + " and sent again"
	c.send(k, change(c.r, segments))
	c.again(k, segments)
}

// contradicted sends segments again with other bytes, before the last one: the first word counts.
func (c *trial) contradicted(k clienthello.Connection, segments []clienthello.Segment) {
	last := len(segments) - 1
	if last > 0 {
		segments = append(clienthello.Contradict(c.r, segments[:last]), segments[last])
		c.what += ", contradicted"
	}
	c.send(k, segments)
}

// check compares what the kernel keeps of the connection.
func (c *trial) check(k clienthello.Connection, want expectation) {
	flow, ok := c.p.flow(k.Source, k.Dest)
	if !ok {
		c.failf("the kernel keeps no flow, want %v", want.classes)
		return
	}
	got := classOf(flow)
	if got == odd && want.classes[0] != whole {
		return // it came in an odd way, and has no fingerprint: the kernel names the first oddity only
	}
	if !slices.Contains(want.classes, got) {
		c.failf("%s (reason %s, score %d, read up to %d of %d bytes), want %v", got, bpf.ReasonName(bpf.Reason(flow.Reason)),
			flow.Score, flow.HelloEnd, len(c.stream), want.classes)
		return
	}
	if got == whole {
		c.compare(flow, want)
	}
}

// compare compares both fingerprints.
func (c *trial) compare(flow bpf.Flow, want expectation) {
	if got := compile.FormatJA4(flow.Tls); got != want.hello.JA4() {
		c.failf("JA4 %s, want %s: %s", got, want.hello.JA4(), want.hello.JA4Raw())
	}
	if got := compile.FormatStableJA4(flow.Tls); got != want.hello.StableJA4() {
		c.failf("stable JA4 %s, want %s: %s", got, want.hello.StableJA4(), want.hello.StableJA4Raw())
	}
}

// permuted sends the same hello with its ciphers and extensions in another order: a shape that is known.
func (c *trial) permuted() {
	h := c.copied()
	c.r.Shuffle(len(h.Ciphers), func(i, j int) { h.Ciphers[i], h.Ciphers[j] = h.Ciphers[j], h.Ciphers[i] })
	c.r.Shuffle(len(h.Extensions), func(i, j int) { h.Extensions[i], h.Extensions[j] = h.Extensions[j], h.Extensions[i] })
	c.variant(1, "permuted", h)
}

// near sends a hello that differs in one value: another shape, which must not pass for the known one.
func (c *trial) near() {
	h := c.copied()
	what := "with another version"
	algorithms := slices.IndexFunc(h.Extensions, func(e clienthello.Extension) bool {
		return e.Type == 0x000d && len(e.Data) >= 6
	})
	switch n := c.r.IntN(6); {
	case n == 5 && algorithms >= 0:
		what = "with two algorithms swapped"
		data := h.Extensions[algorithms].Data
		i, j := 2+2*c.r.IntN(len(data)/2-1), 2+2*c.r.IntN(len(data)/2-1)
		data[i], data[i+1], data[j], data[j+1] = data[j], data[j+1], data[i], data[i+1]
	case n == 0 && len(h.Ciphers) > 1:
		what = "with one cipher twice"
		h.Ciphers[c.r.IntN(len(h.Ciphers))] = h.Ciphers[c.r.IntN(len(h.Ciphers))]
	case n == 1 && len(h.Ciphers) > 0:
		what = "with another cipher"
		h.Ciphers[c.r.IntN(len(h.Ciphers))] ^= 1 << c.r.IntN(16)
	case n == 2 && len(h.Extensions) > 0:
		what = "with another extension"
		h.Extensions[c.r.IntN(len(h.Extensions))].Type ^= 1 << c.r.IntN(16)
	case n == 3 && len(h.Extensions) > 0:
		what = "with another value in an extension"
		data := h.Extensions[c.r.IntN(len(h.Extensions))].Data
		if len(data) > 4 {
			i := 2 + c.r.IntN(min(len(data)-3, 40))
			data[i], data[i+1] = data[i+1], data[i]
		}
	default:
		h.Version ^= 1 << c.r.IntN(16)
	}
	c.variant(2, what, h)
}

func (c *trial) copied() clienthello.Hello {
	h := c.hello
	h.Ciphers, h.Extensions = slices.Clone(h.Ciphers), slices.Clone(h.Extensions)
	for i := range h.Extensions {
		h.Extensions[i].Data = slices.Clone(h.Extensions[i].Data)
	}
	return h
}

// variant sends another hello over a connection of its own, as one segment.
func (c *trial) variant(second uint16, what string, h clienthello.Hello) {
	c.stream = clienthello.Records(h.Bytes())
	c.what += ", " + what
	from := c.from(second)
	k := clienthello.Connection{Source: from, Dest: far(from), ISN: c.r.Uint32(), Ack: 1}
	c.send(k, clienthello.Segments(c.stream))
	c.check(k, expect(c.stream))
}
