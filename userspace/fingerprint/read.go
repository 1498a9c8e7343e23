// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"container/list"
	"errors"
	"hash/maphash"
	"io"
	"maps"
	"slices"

	"github.com/gopacket/gopacket/layers"

	"github.com/spillway/spillway/config/catalogue"
)

const (
	// openMax bounds the connections that wait for their beginning, and openBytes what they hold.
	openMax   = 65536
	openBytes = 128 << 20
	// toldMax bounds the connections that are remembered as told; there are two such sets.
	toldMax = 1 << 20
)

// Options of Read.
type Options struct {
	// Kernel is asked for what the dataplane computes; without one this package computes it.
	Kernel Kernel
	// Catalogue names who is known.
	Catalogue *catalogue.Catalogue
}

// Summary counts what a capture held beside connections.
type Summary struct {
	Frames, Connections     int
	UDP, Fragments, Damaged int
	Unread                  map[layers.LinkType]int // frames by link type
}

// Read reads a capture to its end, or to where it is damaged, and tells each connection once. What was read before a
// damage is told, then the error says where it is. An error of tell ends it at once.
func Read(c *Capture, o Options, tell func(Connection) error) (Summary, error) {
	r := &reader{Options: o, say: tell, open: map[flow]*conn{}, order: list.New(), seed: maphash.MakeSeed(),
		told: map[uint64]uint32{}, sum: Summary{Unread: map[layers.LinkType]int{}}}
	for {
		f, err := c.next()
		if errors.Is(err, io.EOF) {
			return r.sum, r.end()
		}
		if err != nil {
			return r.sum, errors.Join(r.end(), err)
		}
		if err := r.frame(f); err != nil {
			return r.sum, err
		}
	}
}

// reader follows the connections of a capture.
type reader struct {
	Options
	say   func(Connection) error
	open  map[flow]*conn // by client and server
	order *list.List     // of *conn; in front the one that was silent for longest
	bytes int
	seed  maphash.Seed
	// told maps the hash of a connection that was told to its ISN; before is the set from before told was full.
	told, before map[uint64]uint32
	sum          Summary
}

func (r *reader) frame(f frame) error {
	r.sum.Frames++
	switch {
	case !f.known:
		r.sum.Unread[f.link]++
		return nil
	case f.data == nil:
		r.sum.Damaged++
		return nil
	}
	s, why := readSegment(f.data, f.isCut)
	switch why {
	case isUDP:
		r.sum.UDP++
	case isFragment:
		r.sum.Fragments++
		if c := r.open[s.flow]; c != nil {
			c.fragments++
		}
	case isDamaged:
		r.sum.Damaged++
	case isTCP:
		return r.segment(&s, f)
	}
	return nil
}

// segment finds the connection of a segment, or begins one.
func (r *reader) segment(s *segment, f frame) error {
	c := r.open[s.flow]
	if c != nil && s.isSYN() && s.seq != c.isn {
		if err := r.finish(c); err != nil { // the ports are used again
			return err
		}
		c = nil
	}
	if c == nil {
		if back := r.open[s.reverse()]; back != nil {
			if !back.isGuess || !beginsHello(s.payload) {
				return nil // the server's
			}
			r.forget(back)
		}
		if c = r.begin(s, f); c == nil {
			return nil
		}
	}
	if c.flow != s.flow {
		return nil
	}
	size := c.memory()
	c.add(s)
	r.bytes += c.memory() - size
	r.order.MoveToBack(c.place)
	if c.isDone() {
		return r.finish(c)
	}
	return r.makeRoom()
}

// begin returns the connection that a segment is the first of, nil when that says nothing.
func (r *reader) begin(s *segment, f frame) *conn {
	isn, known := r.wasTold(s.flow)
	c := &conn{flow: s.flow, frame: f.number, time: f.time}
	switch {
	case s.isSYN():
		if known && isn == s.seq {
			return nil
		}
		c.opens(s)
	case known:
		return nil
	case s.flags&flagSYN != 0: // the server's answer
		c.flow, c.isn, c.hasStart = s.reverse(), s.ack-1, true
		c.stream.start(s.ack)
	case len(s.payload) == 0 && !s.cut:
		return nil
	case !beginsHello(s.payload):
		c.isGuess = true
		if s.from.Port() < s.to.Port() {
			c.flow = s.reverse()
		}
	}
	c.place = r.order.PushBack(c)
	r.open[c.flow] = c
	r.bytes += c.memory()
	return c
}

// makeRoom tells connections early while too many wait.
func (r *reader) makeRoom() error {
	for len(r.open) > openMax || r.bytes > openBytes {
		c := r.order.Front().Value.(*conn)
		c.isCrowded = true
		if err := r.finish(c); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) forget(c *conn) {
	r.bytes -= c.memory()
	r.order.Remove(c.place)
	delete(r.open, c.flow)
}

// finish tells a connection.
func (r *reader) finish(c *conn) error {
	r.forget(c)
	r.remember(c)
	c.takeFakes()
	told, err := c.tell(r.Kernel)
	if err != nil {
		return err
	}
	if r.Catalogue != nil {
		told.Clients = Clients(r.Catalogue, told.JA4, told.StableJA4)
		told.Stacks = Stacks(r.Catalogue, told.MuonFP, told.P0F)
	}
	r.sum.Connections++
	return r.say(told)
}

// end tells what still waits, in the order of the capture.
func (r *reader) end() error {
	left := slices.SortedFunc(maps.Values(r.open), func(a, b *conn) int { return a.frame - b.frame })
	for _, c := range left {
		if err := r.finish(c); err != nil {
			return err
		}
	}
	return nil
}

// key is the same for both directions.
func (r *reader) key(f flow) uint64 {
	return maphash.Comparable(r.seed, f.from) + maphash.Comparable(r.seed, f.to)
}

func (r *reader) remember(c *conn) {
	if len(r.told) >= toldMax {
		r.before, r.told = r.told, map[uint64]uint32{}
	}
	r.told[r.key(c.flow)] = c.isn
}

func (r *reader) wasTold(f flow) (isn uint32, known bool) {
	k := r.key(f)
	if isn, known = r.told[k]; !known {
		isn, known = r.before[k]
	}
	return isn, known
}
