// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/capture"
	"github.com/spillway/spillway/test/support/packet"
)

// openOneRecord opens a dataplane in which every SYN writes the same record.
func openOneRecord(t *testing.T) *plane {
	t.Helper()
	one := capacity
	one.Syns, one.TCPSignatures = 1, 1024
	p := openSized(t, one)
	p.publish(families[0].plain(), nothing())
	return p
}

// p0fOf runs a SYN and returns what the kernel's record of it is printed as; "" when it remembers none.
func (p *plane) p0fOf(syn []byte) string {
	p.t.Helper()
	records := p.pinned(bpf.DataplaneMapSyns)
	p.must(records.Put(uint32(0), bpf.SynRecord{}))
	if got := p.run(syn); got != "XDP_PASS" {
		p.t.Fatalf("a SYN that no rule knows: %s", got)
	}
	var r bpf.SynRecord
	p.must(records.Lookup(uint32(0), &r))
	return compile.FormatP0F(r.Fingerprint, r.Facts)
}

// quirksOf returns the quirks of a signature.
func quirksOf(signature string) []string {
	if fields := strings.Split(signature, ":"); len(fields) == 8 {
		return strings.Split(fields[6], ",")
	}
	return nil
}

// isExcepted: of options that contradict themselves p0f and the kernel read different things, on purpose. p0f takes the
// length of the options that it knows for granted, whatever their length byte says, and reads on; the kernel follows
// the length byte, as Linux does (tcp_parse_options), and believes nothing of an option whose length is wrong. Both
// call it bad. Such a SYN can be listed by `bad` and its layout up to there, not by values behind.
func isExcepted(got, want string) bool {
	return slices.Contains(quirksOf(want), "bad") && slices.Contains(quirksOf(got), "bad")
}

// Every SYN of the captures is printed as p0f prints it.
func TestSignaturesOfCaptures(t *testing.T) {
	folder := capture.Folder(t)
	p := openOneRecord(t)
	syns, excepted := 0, 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(filepath.Ext(path), ".pcap") {
			return err
		}
		frames, err := capture.ReadFile(path)
		if err != nil {
			t.Logf("%s: read up to the damage: %v", path, err)
		}
		for _, frame := range frames {
			syn, ip := toWeb(frame)
			if syn == nil {
				continue
			}
			want, err := reference.P0f(ip)
			if err != nil && !errors.Is(err, reference.ErrNotSYN) {
				t.Fatal(err)
			}
			got := p.p0fOf(syn)
			if want != "" {
				syns++
			}
			if isExcepted(got, want) {
				excepted++
			} else if got != want {
				t.Errorf("%s, frame %d:\nkernel %s\n   p0f %s", path, frame.Number, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if syns < 100 || excepted > syns/20 {
		t.Errorf("%d SYNs were compared, %d more are excepted", syns-excepted, excepted)
	}
	t.Logf("%d SYNs compared, %d more excepted", syns-excepted, excepted)
}

// toWeb returns a frame with a SYN, sent to the service instead, and its IP packet; nil for other frames.
func toWeb(frame capture.Frame) (syn, ip []byte) {
	packets := frame.Packets()
	if len(packets) == 0 {
		return nil, nil
	}
	_, tcp, ok := packets[0].TCP()
	if !ok || !tcp.SYN || tcp.ACK {
		return nil, nil
	}
	ethernet, err := frame.Ethernet()
	if err != nil {
		return nil, nil
	}
	syn = bytes.Clone(ethernet)
	ip = packets[0].IP
	at := bytes.Index(syn, ip) + len(ip) - len(tcp.Contents) - len(tcp.Payload)
	if at < packet.EthernetLen || at+4 > len(syn) {
		return nil, nil
	}
	binary.BigEndian.PutUint16(syn[at+2:], webPort)
	return syn, ip
}

const (
	generatedSYNs = 5000
	batch         = 500
)

// Generated SYNs are printed as p0f prints them; and what is printed, as a signature, is what they fit, and nearly the
// same is not.
func TestSignaturesOfGeneratedSYNs(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	p := openOneRecord(t)
	excepted, failed, matched := 0, 0, 0
	for range generatedSYNs / batch {
		p.swap(nothing())
		syns := map[string][]byte{} // by what p0f prints
		for range batch {
			f := families[r.IntN(2)]
			o := f.generate(r)
			syn := o.bytes()
			want, err := reference.P0f(syn[o.L3():])
			if err != nil && !errors.Is(err, reference.ErrNotSYN) {
				t.Fatal(err)
			}
			got := p.p0fOf(syn)
			switch {
			case isExcepted(got, want):
				excepted++
			case got != want:
				if failed++; failed <= 10 {
					t.Errorf("%x\nkernel %s\n   p0f %s", syn, got, want)
				}
			case want != "":
				syns[want] = syn
			}
		}
		matched += p.matchGenerated(syns)
	}
	if failed > 10 {
		t.Errorf("and %d more", failed-10)
	}
	if excepted > generatedSYNs/4 || matched < generatedSYNs/4 {
		t.Errorf("%d SYNs excepted, %d matched", excepted, matched)
	}
	t.Logf("%d SYNs, %d of them excepted, %d matched by their own signature", generatedSYNs, excepted, matched)
}

// matchGenerated denies each SYN its own signature, one of each layout, and then nearly that. It returns how many.
func (p *plane) matchGenerated(syns map[string][]byte) int {
	p.t.Helper()
	type bucket struct {
		version uint8
		layout  string
		pad     uint8
	}
	own := map[bucket][]byte{}
	var exact, near []string
	for printed, syn := range syns {
		s, err := signature.ParseP0F(strings.Replace(printed, "+?", "", 1))
		if err != nil || s.Window.N == 0 {
			continue // two scales, of which the first is excessive: p0f prints what it would not read
		}
		k := bucket{s.Version, string(s.Layout), s.EOLPad}
		if own[k] != nil {
			continue
		}
		own[k] = syn
		exact = append(exact, s.String())
		s.Window.N++
		near = append(near, s.String())
	}
	for want, signatures := range map[string][]string{"XDP_DROP": exact, "XDP_PASS": near} {
		p.swap(denySignature(signatures...))
		for _, syn := range own {
			if got := p.run(syn); got != want {
				p.t.Errorf("%x, printed as %s: %s, want %s", syn, printedAs(syns, syn), got, want)
			}
		}
	}
	return len(own)
}

func printedAs(syns map[string][]byte, syn []byte) string {
	for printed, other := range syns {
		if bytes.Equal(other, syn) {
			return printed
		}
	}
	return "?"
}

// generate makes a SYN of any kind.
func (f family) generate(r *rand.Rand) opener {
	o := opener{Frame: f.syn(f.visitor), ttl: uint8(r.Uint32()), df: r.IntN(2) == 0}
	o.tcp = o.Body.(packet.TCP)
	rarely := func() bool { return r.IntN(12) == 0 }
	if r.IntN(2) == 0 {
		o.id = uint16(r.Uint32())
	}
	if rarely() {
		o.tos = uint8(r.Uint32())
	}
	if r.IntN(3) == 0 {
		o.flow = r.Uint32() & 0xfffff
	}
	o.reserved, o.nonce = rarely(), rarely()
	if rarely() {
		o.urgent = uint16(r.Uint32())
	}
	if rarely() {
		o.Options = make([]byte, 4*(1+r.IntN(10)))
		o.Options[0] = 1
	}
	if !f.server.Is4() {
		o.Options = nil
	}
	if rarely() {
		o.Extensions = packet.Extensions(1, packet.DestOptions)
	}
	if f.server.Is4() {
		o.Extensions = nil
	}
	for _, flag := range []uint8{packet.PSH, packet.URG, packet.ECE, packet.CWR, packet.FIN, packet.RST} {
		if r.IntN(20) == 0 {
			o.tcp.Flags |= flag
		}
	}
	o.tcp.Seq, o.tcp.Ack = r.Uint32(), 0
	if rarely() {
		o.tcp.Seq = 0
	}
	if rarely() {
		o.tcp.Ack = r.Uint32()
	}
	if rarely() {
		o.tcp.Payload = make([]byte, 1+r.IntN(100))
	}
	mss := uint16([]int{1460, 1440, 1380, 1400, 1360, 536, 99, 100, 8960, 65495, r.IntN(65536), 0}[r.IntN(12)])
	o.tcp.Options = generateOptions(r, mss)
	o.tcp.Window = generateWindow(r, int(mss))
	return o
}

// generateOptions returns up to 40 bytes of options: usual ones in any order, unknown ones, an EOL, and now and then
// what no stack sends.
func generateOptions(r *rand.Rand, mss uint16) (all []byte) {
	makers := []func() []byte{
		func() []byte { return packet.MSS(mss) }, packet.SACKPermitted, packet.NOP, packet.NOP,
		func() []byte { return packet.Scale(uint8(r.IntN(17))) },
		func() []byte { return packet.Timestamps(r.Uint32()*uint32(r.IntN(3)), r.Uint32()*uint32(r.IntN(6)/5)) },
		func() []byte { return packet.Option(uint8(9+r.IntN(246)), make([]byte, r.IntN(10))...) },
		func() []byte { return packet.Option(5, make([]byte, 8*(1+r.IntN(4)))...) },
	}
	for range r.IntN(9) {
		next := makers[r.IntN(len(makers))]()
		if len(all)+len(next) > 40 {
			break
		}
		all = append(all, next...)
	}
	switch {
	case r.IntN(4) == 0 && len(all) < 40:
		all = append(all, 0)
		for len(all)%4 != 0 || (len(all) < 40 && r.IntN(3) == 0) {
			all = append(all, byte(r.IntN(8)/7))
		}
	case r.IntN(2) == 0:
		for len(all)%4 != 0 {
			all = append(all, packet.KindNOP)
		}
	}
	if r.IntN(15) == 0 && len(all) > 0 {
		all[r.IntN(len(all))] = byte(r.Uint32())
	}
	return all
}

// generateWindow returns a window that is often a multiple of something.
func generateWindow(r *rand.Rand, mss int) uint16 {
	sizes := []int{mss, mss - 12, 1460, 1448, 1440, 1428, 1500, mss + 40, mss + 60, mss + 40 + 4*r.IntN(15), 1, 1}
	return uint16(max(sizes[r.IntN(len(sizes))], 1) * r.IntN(50))
}
