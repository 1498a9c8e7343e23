// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/capture"
	"github.com/spillway/spillway/test/support/fresh"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/userspace/fingerprint"
)

// fixedSeed is of the mutated captures that every run compares; a random one, which is printed, is compared besides.
const fixedSeed = 20261128

// mutants is how many mutated captures a run of all tests makes of each seed; SPILLWAY_CAPTURES makes more of the
// random one, and SPILLWAY_FUZZ_FOR goes on for so long.
const mutants = 400

// both shows one capture to both who read it: the dataplane, by way of the driver of `spillway fingerprint FILE`, and
// Go alone.
type both struct {
	t   *testing.T
	lab *witness

	say       func(format string, args ...any) // of what differs
	isMutated bool
	asked     int // connections without a hello of which the dataplane says so
}

// helloHead is how much of a first segment says whether it begins a hello.
const helloHead = 16

// witness is the dataplane, and keeps what it was shown and said of the connection in hand.
type witness struct {
	fingerprint.Kernel
	shown [][]byte
	odd   bpf.Reason
	all   []testimony // of connections that were told, in their order
}

// testimony is what the dataplane said of one connection.
type testimony struct {
	shown int
	odd   string
}

func (w *witness) Ask(frame []byte, visit func(bpf.Event)) error {
	w.shown = append(w.shown, frame)
	return w.Kernel.Ask(frame, func(e bpf.Event) {
		if reason, odd := w.Odd(e); odd {
			w.odd = reason
		}
		visit(e)
	})
}

func (w *witness) Forget() error {
	said := testimony{shown: len(w.shown)}
	if w.odd != 0 {
		said.odd = bpf.ReasonName(w.odd)
	}
	w.all = append(w.all, said)
	w.shown, w.odd = nil, 0
	return w.Kernel.Forget()
}

// readBoth returns what is told of a capture by Go, by the dataplane, and what that said. A file that is damaged is
// damaged for both.
func (b *both) readBoth(file []byte) (own, theirs []fingerprint.Connection, said []testimony) {
	b.t.Helper()
	b.lab.all = nil
	read := func(k fingerprint.Kernel) (all []fingerprint.Connection, fault string) {
		c, err := fingerprint.OpenCapture(bytes.NewReader(file))
		if err == nil {
			_, err = fingerprint.Read(c, fingerprint.Options{Kernel: k}, func(c fingerprint.Connection) error {
				all = append(all, c)
				return nil
			})
		}
		return all, fmt.Sprint(err)
	}
	own, one := read(nil)
	theirs, other := read(b.lab)
	if one != other || len(own) != len(theirs) || len(theirs) != len(b.lab.all) {
		b.t.Fatalf("Go reads %d connections, %s; with the dataplane %d, %s, which was asked about %d", len(own), one,
			len(theirs), other, len(b.lab.all))
	}
	return own, theirs, b.lab.all
}

// Reasons that only one of the two can give, and why the other cannot.
var (
	// The dataplane sees frames, and no end of a capture: for it more may come.
	onlyGo = map[string]bool{"no_data": true, "cut_short": true, "gap": true, "crowded": true,
		"midstream": true, "fragment": true,
		"hello_partial": true}
	// What is odd about a packet, and no reason to have no JA4.
	besides = map[string]bool{"": true, "hello_order": true, "hello_overlap": true, "syn_options": true,
		"midstream": true, "unconfirmed": true,
		"not_hello": true}
)

// fault says what is other in what the two say of a connection, "" for nothing. again: a segment came again with other
// bytes; where no socket vouches for it, the dataplane judges such a segment by itself, for nobody says which of the
// two the server took.
func fault(own, theirs fingerprint.Connection, said testimony, again bool) string {
	switch {
	// a frame that ends before its headers say: Linux drops it, and Go takes it for one that is cut short
	case said.odd == "malformed":
		return ""
	case own.Client != theirs.Client || own.Server != theirs.Server || own.Frame != theirs.Frame:
		return "another connection"
	case said.shown > 0 && own.MuonFP != theirs.MuonFP:
		return "another MuonFP"
	case said.shown > 0 && own.P0F != theirs.P0F:
		return "another p0f signature"
	case again:
		return ""
	case own.Reason == "cut_short": // Go has bytes that the dataplane cannot be shown
		return ""
	case theirs.By == fingerprint.ByKernel && theirs.JA4 != "" && own.JA4 != theirs.JA4:
		return "another JA4"
	case own.JA4 != "" && own.StableJA4 != theirs.StableJA4:
		return "another stable JA4"
	case own.JA4 != "" &&
		slices.ContainsFunc(theirs.Notes, func(n string) bool { return strings.HasPrefix(n, "the dataplane gives no JA4") }):
		return "Go alone reads a JA4"
	case own.JA4 == "" && own.Reason != theirs.Reason:
		return "another reason"
	case own.MuonFP == "": // without a SYN both guess where the stream begins
		return ""
	case own.JA4 == "" && !onlyGo[own.Reason] && own.Reason != "not_hello" && said.odd != own.Reason:
		return "the dataplane does not say so"
	case own.JA4 == "" && !besides[said.odd] && said.odd != own.Reason:
		return "the dataplane says something else"
	}
	return ""
}

// compare returns how many connections of a capture the two say other things of.
func (b *both) compare(what string, frames []record, link layers.LinkType) (faults, connections int) {
	b.t.Helper()
	own, theirs, said := b.readBoth(pcapOf(b.t, link, frames))
	told := map[netip.AddrPort][]int{}
	for i, c := range own {
		told[c.Client] = append(told[c.Client], i)
	}
	for i := range own {
		why := fault(own[i], theirs[i], said[i], comesAgain(frames, own[i].Client))
		isOnly := len(told[own[i].Client]) == 1
		if why == "" && isOnly && own[i].Reason == "not_hello" && link == layers.LinkTypeEthernet {
			why = b.askFirst(own[i], frames)
		}
		if why == "" {
			continue
		}
		if faults++; faults > 1 {
			continue
		}
		b.say("%s, frame %d, %s: %s\nGo:   JA4 %q %q MuonFP %q p0f %q %v\nwith: JA4 %q %q MuonFP %q p0f %q %v, odd: %q\n%s",
			what, own[i].Frame,
			own[i].Client, why, own[i].JA4, own[i].Reason, own[i].MuonFP, own[i].P0F, own[i].Notes,
			theirs[i].JA4, theirs[i].Reason,
			theirs[i].MuonFP, theirs[i].P0F, theirs[i].Notes, said[i].odd, rowsOf(frames))
	}
	return faults, len(own)
}

// askFirst shows the dataplane the SYN and the first data of a connection in which Go sees no hello: the driver keeps
// no frames of those. It says where the dataplane sees one.
func (b *both) askFirst(c fingerprint.Connection, frames []record) string {
	b.t.Helper()
	var syn []byte
	for _, f := range frames {
		at, ok := tcpAt(f.data)
		if !ok || clientOf(f.data, at) != c.Client {
			continue
		}
		if f.more > 0 || b.isMutated && !isWhole(f.data) {
			return "" // whether a server takes it is not asked here
		}
		flags := f.data[at+13]
		if flags&(packet.SYN|packet.ACK) == packet.SYN {
			if syn != nil || payloadAt(f.data) != len(f.data) {
				return "" // which of them counts, or what lies behind it, is another question
			}
			syn = f.data
			continue
		}
		if payloadAt(f.data) == len(f.data) {
			continue
		}
		if syn == nil || seqOf(f.data, at) != seqOf(syn, at)+1 || len(f.data)-payloadAt(f.data) < helloHead {
			return ""
		}
		b.lab.odd = 0
		for _, frame := range [][]byte{syn, f.data} {
			if err := b.lab.Ask(frame, func(bpf.Event) {}); err != nil {
				b.t.Fatal(err)
			}
		}
		odd := b.lab.odd
		if err := b.lab.Forget(); err != nil {
			b.t.Fatal(err)
		}
		b.asked++
		if odd != bpf.ReasonNotHello {
			return "the dataplane sees a hello: " + bpf.ReasonName(odd)
		}
		return ""
	}
	return ""
}

// rowsOf prints a short capture; a long one is found again by its seed.
func rowsOf(frames []record) string {
	var rows []string
	for i, f := range frames {
		if i == 8 || len(f.data) > 700 {
			break
		}
		rows = append(rows, fmt.Sprintf("%s +%d", hex.EncodeToString(f.data), f.more))
	}
	return strings.Join(rows, "\n")
}

// Every capture, and mutated ones, through both readers of one driver: JA4, stable JA4, MuonFP, p0f and reasons are the
// same.
func TestBothReadersOfCaptures(t *testing.T) {
	folder := capture.Folder(t)
	b := &both{t: t, lab: &witness{Kernel: openLab(t)}, say: t.Errorf}
	var originals []original
	connections := 0
	for _, name := range capture.Names(t, folder) {
		frames, err := capture.ReadFile(filepath.Join(folder, name))
		if err != nil && damaged[name] == "" {
			t.Fatal(err)
		}
		o := originalOf(name, frames)
		_, n := b.compare(name, o.frames, o.link)
		connections += n
		if len(o.tcp) > 0 {
			originals = append(originals, o)
		}
	}
	t.Logf("%d connections; %d captures have TCP over Ethernet", connections, len(originals))
	random := rand.Uint64()
	if text := os.Getenv("SPILLWAY_SEED"); text != "" {
		random = parse(t, text)
	}
	t.Logf("SPILLWAY_SEED=%d", random)
	b.isMutated = true
	b.mutate(originals, fixedSeed, mutants, time.Time{})
	if b.asked < 10 {
		t.Errorf("the dataplane was asked about %d connections without a hello", b.asked)
	}
	if random == fixedSeed {
		random++ // that one was played
	}
	b.mutate(originals, random, int(parse(t, env("SPILLWAY_CAPTURES", strconv.Itoa(mutants)))), fuzzUntil(t))
	if part, ok := fresh.Begin(t); ok {
		b.say = func(format string, args ...any) { part.Find(fmt.Sprintf(format, args...)) }
		b.mutate(originals, part.Seed, mutants/10, time.Time{})
	}
}

func env(name, otherwise string) string {
	if text := os.Getenv(name); text != "" {
		return text
	}
	return otherwise
}

func parse(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 0, 63)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func fuzzUntil(t *testing.T) (end time.Time) {
	t.Helper()
	if text := os.Getenv("SPILLWAY_FUZZ_FOR"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("SPILLWAY_FUZZ_FOR: %v", err)
		}
		end = time.Now().Add(d)
	}
	return end
}

// mutate compares n mutated captures of a seed, and goes on until the end, if there is one.
func (b *both) mutate(originals []original, seed uint64, n int, end time.Time) {
	b.t.Helper()
	faults, connections, how := 0, 0, map[string]int{}
	begin := time.Now()
	made := 0
	for ; (made < n || time.Now().Before(end)) && faults < 10; made++ {
		r := rand.New(rand.NewPCG(seed, uint64(made)))
		o := originals[r.IntN(len(originals))]
		frames, ways := mutated(r, o)
		for _, way := range ways {
			how[way]++
		}
		f, c := b.compare(fmt.Sprintf("seed %d, number %d, %s: %s", seed, made, o.name, strings.Join(ways, ", ")), frames,
			o.link)
		faults, connections = faults+f, connections+c
	}
	b.t.Logf("seed %d: %d mutated captures, %d connections, %v: %v", seed, made, connections,
		time.Since(begin).Round(time.Millisecond), how)
	for _, m := range mutations {
		if how[m.name] == 0 && made >= mutants {
			b.t.Errorf("no capture was mutated by: %s", m.name)
		}
	}
}

// A whole packet and its two fragments say where the two meet: neither puts fragments together.
func TestBothReadersOfFragments(t *testing.T) {
	b := &both{t: t, lab: &witness{Kernel: openLab(t)}, say: t.Errorf}
	stream := browser()
	for _, o := range []original{{name: "IPv4"}, {name: "IPv6"}} {
		k := visitor
		if o.name == "IPv6" {
			k = visitor6
		}
		syn, whole := k.SYN(packet.MSS(1460)), k.Frame(segmentOf(stream))
		for _, at := range []int{8, 16, 24, 48} {
			first, second, ok := fragments(whole, at)
			if !ok {
				t.Fatalf("%s: no fragments", o.name)
			}
			for name, frames := range map[string][]record{
				"fragments": records(syn, first, second), "backwards": records(syn, second, first),
				"and whole":          records(syn, first, second, whole),
				"a SYN in fragments": records(cutSYN(syn)...), "without lengths": records(withoutLength(syn), withoutLength(whole)),
			} {
				b.compare(fmt.Sprintf("%s, %s at %d", o.name, name, at), frames, layers.LinkTypeEthernet)
			}
		}
	}
}
