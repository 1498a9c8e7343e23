// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/userspace/fingerprint"
)

// readers shows the same frames to both who read them: the dataplane, and the Go reader of `spillway fingerprint FILE`.
// What they say of a connection is the same.
type readers struct {
	p      *plane
	frames [][]byte
	asked  []asked
	say    func(format string, args ...any) // that they differ
}

// asked is a connection, what the dataplane said of it, and which frames it had.
type asked struct {
	k                  clienthello.Connection
	ja4, stable, class string
	from, to           int
	again              bool // its first segment came again, with other bytes
}

// comesAgain says whether the first segment of a connection comes again with other bytes. Where no socket vouches for
// it, the dataplane judges such a segment by itself.
func comesAgain(k clienthello.Connection, frames [][]byte) bool {
	var first []byte
	for _, f := range frames {
		c, data := dissect(f)
		if c.Source != k.Source || c.ISN != k.ISN+1 || len(data) == 0 {
			continue
		}
		if n := min(len(first), len(data)); first != nil && !bytes.Equal(first[:n], data[:n]) {
			return true
		}
		first = data
	}
	return false
}

// show sends frames of connections to the dataplane and keeps both.
func (b *readers) show(frames [][]byte, connections ...clienthello.Connection) {
	b.p.t.Helper()
	for _, f := range frames {
		b.p.run(f)
	}
	b.note(frames, connections...)
}

// note keeps frames that the dataplane has seen, and what it says of their connections.
func (b *readers) note(frames [][]byte, connections ...clienthello.Connection) {
	b.p.t.Helper()
	from := len(b.frames)
	b.frames = append(b.frames, frames...)
	for _, k := range connections {
		a := asked{k: k, class: "no flow", from: from, to: len(b.frames), again: comesAgain(k, frames)}
		if flow, ok := b.p.flow(k.Source, k.Dest); ok {
			a.class = classOf(flow)
			if a.class == whole {
				a.ja4, a.stable = compile.FormatJA4(flow.Tls), compile.FormatStableJA4(flow.Tls)
			}
		}
		b.asked = append(b.asked, a)
	}
}

// told is what Go says of each connection of the frames.
func (b *readers) told() map[netip.AddrPort]fingerprint.Connection {
	b.p.t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	b.p.must(w.WriteFileHeader(1<<18, layers.LinkTypeEthernet))
	for _, f := range b.frames {
		b.p.must(w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(f), Length: len(f)}, f))
	}
	c, err := fingerprint.OpenCapture(&file)
	b.p.must(err)
	all := map[netip.AddrPort]fingerprint.Connection{}
	_, err = fingerprint.Read(c, fingerprint.Options{}, func(c fingerprint.Connection) error {
		all[c.Client] = c
		return nil
	})
	b.p.must(err)
	return all
}

// rowMax is how many frames are printed; what has more is found again by its seed.
const rowMax = 24

// compare returns how often the two say other things, and forgets what they were shown. A connection of which they do
// is printed as a row of differed.
func (b *readers) compare(what string) (faults int) {
	b.p.t.Helper()
	all := b.told()
	for _, a := range b.asked {
		c := all[a.k.Source]
		fault := a.fault(c)
		if fault == "" {
			continue
		}
		faults++
		var row []string
		for _, f := range b.frames[a.from:min(a.to, a.from+rowMax)] {
			row = append(row, strconv.Quote(hex.EncodeToString(f)))
		}
		b.say("%s, %s: %s; Go: JA4 %q %q %v; dataplane: %s %q\n\t%q: {\n\t\t%s},", what, a.k.Source, fault, c.JA4,
			c.Reason, c.Notes, a.class, a.ja4,
			fmt.Sprint(what, " ", a.k.Source), strings.Join(row, ",\n\t\t"))
	}
	b.frames, b.asked = nil, nil
	return faults
}

// unreadable are the reasons for which the dataplane gives no JA4 where Go may read one, and why.
var unreadable = map[string]string{
	"hello_too_long": "its limits", odd: "more gaps than it holds",
	"no flow": "its first segment came later, and no socket says where the stream begins",
}

// comesLater says whether a note of Go's is that its hello was not at the beginning.
func comesLater(note string) bool {
	return strings.HasPrefix(note, "the ClientHello comes after other data")
}

// fault says what is other in what the two say, "" for nothing.
func (a asked) fault(c fingerprint.Connection) string {
	switch {
	case a.again:
		return ""
	case a.ja4 != c.JA4 && a.ja4 != "":
		return "another JA4"
	case a.ja4 != "" && a.stable != c.StableJA4:
		return "another stable JA4"
	case a.class == "not_hello" && slices.ContainsFunc(c.Notes, comesLater):
		return "" // Go says itself that the dataplane does not look there
	case a.ja4 == "" && c.JA4 != "" && unreadable[a.class] == "":
		return "Go alone reads a JA4"
	case a.ja4 == "" && c.JA4 == "" && a.class == "not_hello" && c.Reason != "not_hello",
		a.ja4 == "" && c.Reason == "not_hello" && a.class != "not_hello" && unreadable[a.class] == "":
		return "one of them sees no hello"
	case a.ja4 == "" && c.JA4 == "" && a.class == "hello_malformed" && c.Reason != "hello_malformed":
		return "the dataplane alone finds it malformed"
	}
	return ""
}

// differed are frames, as hexadecimal, of which the two said other things once.
var differed = map[string][]string{}

// ways are orders in which the segments of a hello can come, bytes that come twice, and what else a sender may do.
var ways = map[string]func(segments []clienthello.Segment,
	other func(clienthello.Segment) clienthello.Segment) []clienthello.Segment{
	"in order": func(s []clienthello.Segment, _ func(clienthello.Segment) clienthello.Segment) []clienthello.Segment {
		return s
	},
	"each twice": func(s []clienthello.Segment, _ func(clienthello.Segment) clienthello.Segment) []clienthello.Segment {
		return slices.Concat(s[:len(s)-1], s)
	},
	"others afterwards": func(s []clienthello.Segment,
		other func(clienthello.Segment) clienthello.Segment) (all []clienthello.Segment) {
		for _, one := range s[:len(s)-1] {
			all = append(all, one, other(one))
		}
		return append(all, s[len(s)-1])
	},
	"others first, behind a gap": func(s []clienthello.Segment,
		other func(clienthello.Segment) clienthello.Segment) (all []clienthello.Segment) {
		for _, one := range s[2:] {
			all = append(all, other(one), one)
		}
		return slices.Concat(s[:1], all, s[1:2])
	},
	"backwards behind the first": func(s []clienthello.Segment,
		_ func(clienthello.Segment) clienthello.Segment) []clienthello.Segment {
		back := slices.Clone(s[1:])
		slices.Reverse(back)
		return append(s[:1:1], back...)
	},
	"2431 behind the first": func(s []clienthello.Segment,
		_ func(clienthello.Segment) clienthello.Segment) []clienthello.Segment {
		return append(s[:1:1], s[2], s[4], s[3], s[1])
	},
}

// One driver feeds both: named orders, and frames that once made a difference.
func TestBothReadersOfOneDriver(t *testing.T) {
	p := open(t)
	p.spendFreely()
	p.swap(telling())
	both := &readers{p: p, say: t.Errorf}
	port := uint16(2000)
	for name, do := range ways {
		for _, source := range []string{visitorIP, "2001:db8:5::7"} {
			for seed := range uint64(3) {
				stream := one(browser(seed))
				port++
				from := netip.AddrPortFrom(netip.MustParseAddr(source), port)
				k := clienthello.Connection{Source: from, Dest: far(from), ISN: 0xfffff000 + uint32(port), Ack: 1}
				cuts := []int{300, 700, 1100, 1500}
				other := func(s clienthello.Segment) clienthello.Segment {
					s.Data = slices.Clone(s.Data)
					s.Data[len(s.Data)/2] ^= 1
					return s
				}
				both.show(append([][]byte{k.SYN()}, k.Frames(do(clienthello.Segments(stream, cuts...), other))...), k)
				both.compare(fmt.Sprintf("%s, browser %d", name, seed))
			}
		}
	}
	for name, row := range differed {
		p.forget()
		var frames [][]byte
		for _, f := range row {
			b, err := hex.DecodeString(f)
			p.must(err)
			frames = append(frames, b)
		}
		k, _ := dissect(frames[0])
		both.show(frames, k)
		both.compare(name)
	}
}

// dissect returns who sends a frame to whom, its sequence number as ISN, and its data.
func dissect(frame []byte) (k clienthello.Connection, data []byte) {
	var from, to netip.Addr
	for _, layer := range gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Lazy).Layers() {
		switch l := layer.(type) {
		case *layers.IPv4:
			from, to = netip.AddrFrom4([4]byte(l.SrcIP.To4())), netip.AddrFrom4([4]byte(l.DstIP.To4()))
		case *layers.IPv6:
			from, to = netip.AddrFrom16([16]byte(l.SrcIP)), netip.AddrFrom16([16]byte(l.DstIP))
		case *layers.TCP:
			return clienthello.Connection{Source: netip.AddrPortFrom(from, uint16(l.SrcPort)),
				Dest: netip.AddrPortFrom(to, uint16(l.DstPort)), ISN: l.Seq}, l.Payload
		}
	}
	return k, nil
}
