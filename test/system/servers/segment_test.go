// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
)

// way is how a client sends its stream, with segments that only somebody makes who forges them. other is a stream of
// the same length with another fingerprint: what a decoy holds.
type way func(r *raw, other []byte)

// fakes are segments that Linux ignores.
var fakes = map[string]func(tcp *packet.TCP){
	"a wrong checksum":      func(tcp *packet.TCP) { sum := uint16(0x5bad); tcp.Checksum = &sum },
	"an MD5 option":         func(tcp *packet.TCP) { tcp.Options = packet.Option(19, make([]byte, 16)...) },
	"no ACK flag":           func(tcp *packet.TCP) { tcp.Flags = packet.PSH },
	"an ACK of what is not": func(tcp *packet.TCP) { tcp.Ack += 1 << 20 },
	"an old timestamp": func(tcp *packet.TCP) {
		tcp.Options = packet.Options(packet.NOP(), packet.NOP(), packet.Timestamps(clock-5000, 0))
	},
}

// undecided is what nobody can decide behind DNAT: connection tracking does not keep the newest timestamp.
func undecided(p place, name string) bool {
	return p.dnat && strings.HasPrefix(name, "an old timestamp")
}

// orders are those of four segments.
var orders = map[string][]int{"2431": {2, 4, 3, 1}, "4231": {4, 2, 3, 1}, "2413": {2, 4, 1, 3},
	"backwards": {4, 3, 2, 1}}

func ways() map[string]way {
	all := map[string]way{
		"in one segment":  func(r *raw, _ []byte) { r.send(r.part(0, len(r.stream))) },
		"in two segments": func(r *raw, _ []byte) { r.send(r.part(0, 100)); r.send(r.part(100, len(r.stream))) },
		"other bytes behind what is queued": func(r *raw, other []byte) {
			r.send(r.part(100, len(r.stream)))
			r.send(r.segment(100, other[100:]))
			r.send(r.part(0, 100))
		},
		"an urgent byte": func(r *raw, _ []byte) {
			r.send(r.part(0, 100))
			urgent := r.segment(100, slices.Concat([]byte{'!'}, r.stream[100:]))
			urgent.Flags |= packet.URG
			urgent.Urgent = 1
			r.send(urgent)
		},
		"a port that is used again": func(r *raw, other []byte) {
			r.send(packet.TCP{Seq: r.isn + 1, Ack: r.ack, Flags: packet.RST | packet.ACK})
			stale := r.segment(0, other)
			r.isn, r.now = r.isn+1<<20, r.now+5000
			if err := r.connect(); err != nil {
				r.w.s.t.Error(err)
			}
			r.send(stale)
			r.send(r.part(0, len(r.stream)))
		},
	}
	for name, bend := range fakes {
		all[name+" before"] = func(r *raw, other []byte) {
			fake := r.segment(0, other)
			bend(&fake)
			r.send(fake)
			r.send(r.part(0, len(r.stream)))
		}
		all[name+" between"] = func(r *raw, other []byte) {
			r.send(r.part(0, 100))
			fake := r.segment(100, other[100:])
			bend(&fake)
			r.send(fake)
			r.send(r.part(100, len(r.stream)))
		}
	}
	for name, order := range orders {
		all[name] = func(r *raw, _ []byte) {
			for _, i := range order {
				r.send(r.part((i-1)*len(r.stream)/4, i*len(r.stream)/4))
			}
		}
	}
	return all
}

// equallyLong are the hellos of a bot and of a visitor.
func equallyLong(t *testing.T) (bot, visitor []byte) {
	t.Helper()
	short := func(protocols ...string) []byte { // a segment holds it
		return clienthello.Records(
			helloOf(t, &tls.Config{NextProtos: protocols, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}}))
	}
	bot, visitor = short("h2", "http/1.1"), short("http/1.1", "h2")
	if len(bot) != len(visitor) || ja4Of(bot) == ja4Of(visitor) {
		t.Fatalf("hellos of %d and %d bytes, %s and %s", len(bot), len(visitor), ja4Of(bot), ja4Of(visitor))
	}
	return bot, visitor
}

// Whatever segments come around the hello, in every order: a listed client is blocked, whatever it shows besides, and a
// visitor is served and was read, though a listed hello comes before its own which the server ignores. All servers, all
// columns, live.
func TestSegments(t *testing.T) {
	s := newSite(t, len(servers))
	s.serve(servers...)
	w := s.newWire(t)
	bot, visitor := equallyLong(t)
	s.publish(deny(t, bot))
	var wg sync.WaitGroup
	for _, p := range places {
		for _, v := range servers {
			wg.Go(func() {
				all := ways()
				for _, name := range slices.Sorted(maps.Keys(all)) {
					for _, f := range families {
						if undecided(p, name) {
							continue
						}
						w.steady(fmt.Sprintf("%s, %s, %s, %s", name, v.name, p.name, f.name), func() error {
							return w.cell(p, v, f, all[name], bot, visitor)
						})
					}
				}
			})
		}
	}
	wg.Wait()
	t.Run("crowded places", func(t *testing.T) { w.crowded(t, bot, visitor) })
	t.Run("fragments", func(t *testing.T) { w.fragmented(t, bot, visitor) })
	if n := w.unsteady.Load(); n > unsteadyMost {
		t.Errorf("%d cells ended in two ways", n)
	}
}

// unsteadyMost is how many of some 700 cells may end in two ways: a server that closes a connection of its own accord,
// or a machine too busy for its patience.
const unsteadyMost = 3

// errFree is a listed client that is not blocked: once is too often.
var errFree = errors.New("a listed client is free")

// steady fails the test for a cell that fails twice, or in which a listed client was not blocked.
func (w *wire) steady(name string, cell func() error) {
	w.s.t.Helper()
	once := cell()
	if once == nil {
		return
	}
	if errors.Is(once, errFree) {
		w.s.t.Errorf("%s: %v", name, once)
		return
	}
	if again := cell(); again != nil {
		w.s.t.Errorf("%s: %v; and again: %v", name, once, again)
		return
	}
	w.s.t.Logf("%s, and not when it was played again: %v", name, once)
	w.unsteady.Add(1)
}

func (w *wire) cell(p place, v server, f family, send way, bot, visitor []byte) error {
	r, err := w.dial(p, v, f, visitor)
	if err != nil {
		return fmt.Errorf("the visitor: %w", err)
	}
	send(r, bot)
	if err = r.isServed(); err != nil {
		err = fmt.Errorf("the visitor: %w, read: %s", err, r.flow())
	} else if got, want := r.flow(), ja4Of(visitor); got != want {
		err = fmt.Errorf("read of the visitor: %s, want %s", got, want)
	}
	err = errors.Join(err, r.close(p, v, f))
	b, failed := w.dial(p, v, f, bot)
	if failed != nil {
		return errors.Join(err, fmt.Errorf("the bot: %w", failed))
	}
	send(b, visitor)
	if free := b.isBlocked(); free != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", errFree, free))
	}
	return errors.Join(err, b.close(p, v, f))
}
