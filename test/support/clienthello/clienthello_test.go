// SPDX-License-Identifier: Apache-2.0

package clienthello_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/capture"
	"github.com/spillway/spillway/test/support/clienthello"
)

const hellos = 3000

// seeded runs f with numbered sources of randomness. The number of a failure brings it back.
func seeded(t *testing.T, n int, f func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 0x5eed))
		f(t, r)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// read parses a stream that must be a hello.
func read(t *testing.T, stream []byte) *reference.Hello {
	t.Helper()
	h, err := reference.ParseStream(stream)
	if err != nil {
		t.Fatalf("%v\n%x", err, stream)
	}
	return h
}

// What is generated is read back, and so has a fingerprint.
func TestGeneratedHellosAreRead(t *testing.T) {
	var longest, most, bare int
	seeded(t, hellos, func(t *testing.T, r *rand.Rand) {
		g := clienthello.Generate(r)
		message := g.Bytes()
		h, err := reference.ParseMessage(message)
		if err != nil {
			t.Fatalf("%v\n%x", err, message)
		}
		same := func(e clienthello.Extension, f reference.Extension) bool {
			return e.Type == f.Type && bytes.Equal(e.Data, f.Data)
		}
		if g.Version != h.Version || !bytes.Equal(g.SessionID, h.SessionID) || !bytes.Equal(message, h.Message) ||
			!slices.Equal(g.Ciphers, h.Ciphers) || !slices.EqualFunc(g.Extensions, h.Extensions, same) {
			t.Errorf("generated %+v\nread %+v", g, h)
		}
		if _, _, err := h.JA3(); err != nil {
			t.Error(err)
		}
		longest, most = max(longest, len(message)), max(most, len(g.Ciphers), len(g.Extensions))
		if g.Bare {
			bare++
		}
	})
	if longest > clienthello.MaxLen || longest < clienthello.MaxLen/2 || most != 130 || bare == 0 {
		t.Errorf("longest %d bytes, at most %d values in a list, %d without extensions", longest, most, bare)
	}
}

// However a hello is cut into records, it has one fingerprint; and the stream ends where its last record does.
func TestRecordsChangeNoFingerprint(t *testing.T) {
	seeded(t, hellos, func(t *testing.T, r *rand.Rand) {
		message := clienthello.Generate(r).Bytes()
		whole := read(t, clienthello.Records(message))
		stream := clienthello.Records(message, clienthello.Cuts(r, len(message))...)
		cut := read(t, append(stream[:len(stream):len(stream)], "more"...))
		if whole.JA4() != cut.JA4() || whole.StableJA4() != cut.StableJA4() || cut.End != len(stream) {
			t.Errorf("%s whole, %s cut, %d of %d bytes", whole.JA4(), cut.JA4(), cut.End, len(stream))
		}
	})
	seeded(t, 20, func(t *testing.T, r *rand.Rand) {
		message := clienthello.Generate(r).Bytes()
		whole := read(t, clienthello.Records(message)).JA4Raw()
		for _, at := range clienthello.Every(len(message)) {
			if got := read(t, clienthello.Records(message, at)).JA4Raw(); got != whole {
				t.Fatalf("cut at %d: %s", at, got)
			}
		}
		if got := read(t, clienthello.Records(message, clienthello.Every(len(message))...)).JA4Raw(); got != whole {
			t.Errorf("in records of one byte: %s", got)
		}
	})
}

// However the stream is sent, whoever puts it together again has the same fingerprint.
func TestDeliveriesChangeNoFingerprint(t *testing.T) {
	deliveries := map[string]func(*rand.Rand, []clienthello.Segment) []clienthello.Segment{
		"in order":   func(_ *rand.Rand, s []clienthello.Segment) []clienthello.Segment { return s },
		"retransmit": clienthello.Retransmit, "overlap": clienthello.Overlap, "shuffle": clienthello.Shuffle,
		"contradict": clienthello.Contradict,
	}
	seeded(t, hellos/5, func(t *testing.T, r *rand.Rand) {
		message := clienthello.Generate(r).Bytes()
		stream := clienthello.Records(message, clienthello.Cuts(r, len(message))...)
		want := read(t, stream).JA4()
		segments := clienthello.Segments(stream, clienthello.Cuts(r, len(stream))...)
		for name, deliver := range deliveries {
			c := connection(r, name == "overlap")
			frames := append([][]byte{c.SYN()}, c.Frames(deliver(r, segments))...)
			got := reassemble(frames)
			if !slices.Equal(got, stream) || read(t, got).JA4() != want {
				t.Errorf("%s: %d bytes instead of %d", name, len(got), len(stream))
			}
		}
	})
}

func connection(r *rand.Rand, v6 bool) clienthello.Connection {
	c := clienthello.Connection{Source: netip.MustParseAddrPort("198.51.100.1:40000"),
		Dest: netip.MustParseAddrPort("192.0.2.1:443"), ISN: r.Uint32()}
	if v6 {
		c.Source, c.Dest = netip.MustParseAddrPort("[2001:db8::1]:40000"), netip.MustParseAddrPort("[2001:db8::2]:443")
	}
	return c
}

func reassemble(frames [][]byte) []byte {
	var packets []capture.Packet
	for i, data := range frames {
		packets = append(packets, capture.Frame{Number: i + 1, Link: layers.LinkTypeEthernet, Data: data}.Packets()...)
	}
	streams := capture.Streams(packets)
	if len(streams) != 1 {
		return nil
	}
	return streams[0].Bytes
}

// A verdict comes with one byte and stays: what was incomplete may become anything, and nothing else changes.
func TestVerdictsAreFinal(t *testing.T) {
	kinds := map[string]int{}
	seeded(t, hellos/10, func(t *testing.T, r *rand.Rand) {
		stream, what := clienthello.Break(r, clienthello.Generate(r))
		last := ""
		for n := range len(stream) + 1 {
			verdict := verdictOf(reference.ParseStream(stream[:n]))
			if last != "" && last != verdict {
				t.Fatalf("%s: after %d bytes %s, before %s", what, n, verdict, last)
			}
			if verdict != "" {
				last = verdict
			}
		}
		kinds[kindOf(last)]++
	})
	for _, kind := range []string{"", "hello", "not a ClientHello", "malformed"} {
		if kinds[kind] < 5 {
			t.Errorf("%d streams that end as %q: %v", kinds[kind], kind, kinds)
		}
	}
}

// What is broken comes to every kind of end, and in every structure of a hello.
func TestBrokenStreams(t *testing.T) {
	ends := map[string]int{}
	seeded(t, 5*hellos, func(t *testing.T, r *rand.Rand) {
		stream, what := clienthello.Break(r, clienthello.Generate(r))
		_, err := reference.ParseStream(stream)
		var failure *reference.Error
		if errors.As(err, &failure) {
			ends[failure.Kind.Error()+" "+string(failure.Where)]++
		} else {
			ends["hello"]++
		}
		if what == "" {
			t.Error("nothing is said to be wrong")
		}
	})
	want := []string{"hello", "not a ClientHello record header", "not a ClientHello handshake header",
		"malformed record header", "malformed record length", "malformed session id", "malformed cipher suites",
		"malformed compression methods", "malformed extensions", "malformed extension", "malformed signature algorithms",
		"malformed supported versions", "malformed protocol names"}
	for _, end := range want {
		if ends[end] < 5 {
			t.Errorf("%s: %d times", end, ends[end])
		}
	}
}

// A lie changes one length of a hello and nothing else.
func TestLies(t *testing.T) {
	seeded(t, hellos, func(t *testing.T, r *rand.Rand) {
		h := clienthello.Generate(r)
		right, fields := h.Bytes(), h.Fields()
		lie, what := clienthello.Lie(r, h)
		holds := func(f clienthello.Field) bool { // the lie is in this field, or is the truth
			end := f.Offset + f.Width
			return bytes.Equal(lie[:f.Offset], right[:f.Offset]) && bytes.Equal(lie[end:], right[end:])
		}
		if len(lie) != len(right) || !slices.ContainsFunc(fields, holds) {
			t.Error(what)
		}
		for _, f := range fields {
			if f.Offset+f.Width > len(right) || f.Width < 1 || f.Width > 3 {
				t.Errorf("%+v in %d bytes", f, len(right))
			}
		}
	})
}

// Records hold any message, and pieces of one byte are all there.
func TestRecordsOfLongMessages(t *testing.T) {
	h := clienthello.Hello{Version: 0x0303, Ciphers: make([]uint16, 30000), Compression: []byte{0}}
	stream := clienthello.Records(h.Bytes())
	if got := read(t, stream); len(got.Ciphers) != 30000 || got.End != len(stream) {
		t.Errorf("%d cipher suites, ends at %d of %d", len(got.Ciphers), got.End, len(stream))
	}
	pieces := clienthello.Segments(stream[:100], clienthello.Every(100)...)
	if len(pieces) != 100 || pieces[99].Offset != 99 || !slices.Equal(pieces[99].Data, stream[99:100]) {
		t.Errorf("%d pieces, the last %+v", len(pieces), pieces[len(pieces)-1])
	}
	if got := clienthello.Segments(stream[:10], 3, 0, 10, 99, -1, 3); len(got) != 2 || got[1].Offset != 3 {
		t.Errorf("cuts outside and twice: %+v", got)
	}
}

// verdictOf is "" as long as a stream is incomplete.
func verdictOf(h *reference.Hello, err error) string {
	switch {
	case err == nil:
		return "hello " + h.JA4Raw()
	case errors.Is(err, reference.ErrIncomplete):
		return ""
	}
	return err.Error()
}

func kindOf(verdict string) string {
	for _, kind := range []string{"hello", "not a ClientHello", "malformed"} {
		if len(verdict) >= len(kind) && verdict[:len(kind)] == kind {
			return kind
		}
	}
	return verdict
}

// Equal seeds make equal bytes.
func TestSeeds(t *testing.T) {
	make := func(seed uint64) []byte {
		r := rand.New(rand.NewPCG(seed, 0))
		h := clienthello.Generate(r)
		broken, _ := clienthello.Break(r, h)
		return append(h.Bytes(), broken...)
	}
	if !slices.Equal(make(7), make(7)) || slices.Equal(make(7), make(8)) {
		t.Error("a seed makes two hellos, or two seeds make one")
	}
}
