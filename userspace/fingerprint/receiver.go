// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"bytes"
	"slices"
)

const (
	// lateMax bounds the bytes, and latePieces the segments, that wait for one that is missing.
	lateMax    = 64 << 10
	latePieces = 256
)

// piece is data that came before what lies in front of it, and perhaps the sender's FIN, which counts as a byte behind
// it.
type piece struct {
	seq    uint32
	data   []byte
	hasFIN bool
}

func (p piece) end() uint32 {
	if p.hasFIN {
		return p.seq + uint32(len(p.data)) + 1
	}
	return p.seq + uint32(len(p.data))
}

// queue holds pieces by where they begin, and decides between bytes that came twice as Linux does (tcp_data_queue_ofo).
// What lies wholly inside one piece adds nothing, what covers a piece takes its place, and what two pieces share is of
// the one that begins earlier. What begins where a piece ends becomes a part of that piece. So no piece lies inside
// another.
type queue struct {
	pieces  []piece
	bytes   int
	differs bool // bytes came twice, and were others
}

// before reports whether a sequence number comes before another one.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// add takes a piece, if there is room.
func (q *queue) add(p piece) {
	if q.bytes+len(p.data) > lateMax || len(q.pieces) >= latePieces {
		return
	}
	for _, held := range q.pieces {
		q.differs = q.differs || differ(p, held)
	}
	i := len(q.pieces) // the first that begins behind p
	for i > 0 && before(p.seq, q.pieces[i-1].seq) {
		i--
	}
	if i > 0 {
		switch front := &q.pieces[i-1]; {
		case front.end() == p.seq && !front.hasFIN:
			front.data, front.hasFIN = append(front.data, p.data...), p.hasFIN
			q.bytes += len(p.data)
			return
		case !before(front.end(), p.end()):
			return
		case front.seq == p.seq:
			i--
		}
	}
	j := i // from i to j p covers all
	for j < len(q.pieces) && !before(p.end(), q.pieces[j].end()) {
		q.bytes -= len(q.pieces[j].data)
		j++
	}
	p.data = bytes.Clone(p.data)
	q.pieces = slices.Replace(q.pieces, i, j, p)
	q.bytes += len(p.data)
}

// receiver puts segments in order as a host does that takes at once what comes in order: a byte that was taken stays
// what it was, and the queue holds what comes too early.
type receiver struct {
	next    uint32 // sequence number of the next byte to take
	wasLate bool   // segments came out of order
	isEnded bool   // the sender's FIN was reached: nothing is taken any more
	late    queue
}

// receive hands what can be taken after a segment to take, in order, until that wants no more.
func (r *receiver) receive(p piece, take func(at uint32, data []byte) (more bool)) {
	if r.isEnded {
		return
	}
	if before(r.next, p.seq) {
		r.wasLate = true
		r.late.add(p)
		return
	}
	for ok := true; ok; p, ok = r.late.next(r.next) {
		if !before(r.next, p.end()) {
			continue
		}
		at := r.next
		r.next = p.end()
		if p.hasFIN {
			r.isEnded, r.late.pieces, r.late.bytes = true, nil, 0
		}
		if rest := p.data[at-p.seq:]; len(rest) > 0 && !take(at, rest) {
			return
		}
	}
}

// next returns the first piece that begins at seq or before, and takes it out.
func (q *queue) next(seq uint32) (p piece, ok bool) {
	if len(q.pieces) == 0 || before(seq, q.pieces[0].seq) {
		return piece{}, false
	}
	p = q.pieces[0]
	q.pieces = q.pieces[1:]
	q.bytes -= len(p.data)
	return p, true
}

// differ reports whether two pieces have other bytes at one place.
func differ(a, b piece) bool {
	if before(b.seq, a.seq) {
		a, b = b, a
	}
	at := int(b.seq - a.seq)
	if at >= len(a.data) {
		return false
	}
	n := min(len(a.data)-at, len(b.data))
	return !bytes.Equal(a.data[at:at+n], b.data[:n])
}
