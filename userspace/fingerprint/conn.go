// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"bytes"
	"container/list"
	"encoding/binary"
	"time"
)

const (
	// synsMax is how many SYNs of one connection are looked at; retransmissions may differ.
	synsMax = 4
	// framesMax bounds the bytes of the frames that are kept for the kernel.
	framesMax = 192 << 10
	// frameMax is the longest frame that a kernel can be shown: 64 KiB of IP, and some tags.
	frameMax = 64<<10 + 64
	// overhead is what one frame or connection costs beside its bytes, about.
	overhead = 128
)

// conn is a connection that is not told yet.
type conn struct {
	flow      // from the client to the server
	frame     int
	time      time.Time
	isn       uint32
	hasStart  bool     // the ISN is known
	isGuess   bool     // which side is the client is a guess
	isCut     bool     // data was sent that is not in the capture
	isLong    bool     // data came in frames that are too long, or too many, to show the dataplane
	hasFirst  bool     // a segment came
	isSummed  bool     // its client's host makes checksums itself: those of its first segment are right
	fakes     [][]byte // frames with wrong ones, which no server takes
	isEdited  bool     // and they are read all the same, for nothing else came
	fragments int      // packets that came in IP fragments, of which none is put together
	syns      [][]byte
	read      []synFacts // what Go reads in them
	frames    []held     // with data that may be needed
	size      int
	stream    stream
	isClosed  bool
	// isCrowded is set when it is told early, to make room.
	isCrowded bool
	place     *list.Element
}

// held is a frame that the kernel may be shown.
type held struct {
	seq  uint32
	end  uint32
	data []byte
}

// opens begins a connection at its SYN.
func (c *conn) opens(s *segment) {
	c.isn, c.hasStart = s.seq, true
	c.stream.start(s.seq + 1)
}

// takes says whether a server would, by the checksums. Those that the sending host left to its card are made here; it
// leaves all of them, so a wrong one behind a right one is wrong.
func (c *conn) takes(s *segment) bool {
	found := s.checksum()
	if !c.hasFirst {
		c.hasFirst, c.isSummed = true, found == sumRight
	}
	switch {
	case found == sumWrong && c.isSummed:
		if s.frame != nil && c.size < framesMax {
			c.fakes = append(c.fakes, bytes.Clone(s.frame))
			c.size += len(s.frame) + overhead
		}
		return false
	case found == sumWrong || found == sumPartial:
		s.complete()
	}
	return true
}

// takeFakes takes what no server would where nothing else came: somebody may have edited the capture.
func (c *conn) takeFakes() {
	fakes := c.fakes
	c.isSummed = false
	for _, frame := range fakes {
		if c.stream.isFinished {
			return
		}
		c.isEdited = true
		if s, why := readSegment(frame, false); why == isTCP {
			c.add(&s)
		}
	}
}

// add takes a segment of the client.
func (c *conn) add(s *segment) {
	if !c.takes(s) {
		return
	}
	seq := s.seq
	if s.isSYN() {
		seq++
		if len(c.read) < synsMax {
			c.read = append(c.read, readSYN(s))
			c.size += len(s.frame) + overhead
			if s.frame != nil {
				c.syns = append(c.syns, bytes.Clone(s.frame))
			}
		}
	}
	if s.cut {
		c.isCut = true
	}
	const urgent = flagURG | flagACK
	if s.flags&urgent == urgent {
		c.stream.point(seq, binary.BigEndian.Uint16(s.tcp[18:]))
	}
	if len(s.payload) > 0 {
		switch {
		case s.isSYN() || s.cut:
		case s.frame == nil || len(s.frame) > frameMax || c.size >= framesMax:
			c.isLong = true
		default:
			c.frames = append(c.frames, held{seq, seq + uint32(len(s.payload)), bytes.Clone(s.frame)})
			c.size += len(s.frame) + overhead
		}
	}
	c.stream.add(seq, s.payload, s.flags&flagFIN != 0 && !s.cut)
	c.isClosed = c.stream.isEnded
	if len(s.payload) > 0 && !c.stream.isFinished && !c.stream.isWaiting() {
		c.drop()
	}
}

// drop forgets the frames with data.
func (c *conn) drop() {
	for _, f := range c.frames {
		c.size -= len(f.data) + overhead
	}
	c.frames = nil
}

// isDone reports whether nothing can come that changes what is known.
func (c *conn) isDone() bool { return c.stream.isFinished || c.isClosed }

// memory is what the connection takes.
func (c *conn) memory() int { return 2*overhead + c.size + len(c.stream.held) + c.stream.late.bytes }

// reason says why there is no ClientHello.
func (c *conn) reason() string {
	s := &c.stream
	hasGap := len(s.late.pieces) > 0
	switch {
	case c.isCrowded:
		return reasonCrowded
	case s.err == errUrgent:
		return reasonUrgent
	case c.isCut && s.err != errNotHello:
		return reasonCutShort
	case c.fragments > 0 && (s.err == nil || s.err == errPartial):
		return reasonFragment
	case hasGap && (s.err == nil || s.err == errPartial):
		return reasonGap
	case s.err == nil && !c.hasStart:
		return reasonMidstream
	case s.err == nil:
		return reasonNoData
	case s.err == errPartial && s.helloAt == s.begin:
		return reasonPartial
	case s.err == errTooLong:
		return reasonTooLong
	case (s.err == errNotHello || s.err == errPartial) && !c.hasStart:
		return reasonMidstream
	case s.err == errNotHello || s.err == errPartial: // what goes on behind other data is none to the dataplane
		return reasonNotHello
	}
	return reasonMalformed
}
