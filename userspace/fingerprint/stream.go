// SPDX-License-Identifier: Apache-2.0

package fingerprint

import "bytes"

const (
	// scanMax is how far into what a client sends a ClientHello is looked for: behind STARTTLS, or a proxy's answer.
	scanMax = 16 << 10
	// lateMax bounds the bytes, and latePieces the segments, that wait for one that is missing.
	lateMax    = 64 << 10
	latePieces = 256
)

// stream puts together what a client sends, as far as it takes to find its ClientHello. Of bytes that come twice the
// first count. A ClientHello begins where a segment begins; only the bytes from there on are kept.
type stream struct {
	started    bool
	begin      uint32 // sequence number of the first byte
	next       uint32
	wasLate    bool // segments came out of order
	late       []piece
	lateBytes  int
	held       []byte // since helloAt, while a ClientHello goes on
	helloAt    uint32
	isHello    bool // a ClientHello was found, or goes on
	hello      *hello
	err        error // why the last candidate is none
	isFinished bool  // there is nothing to wait for
}

type piece struct {
	seq  uint32
	data []byte
}

func (s *stream) start(seq uint32) { s.started, s.begin, s.next = true, seq, seq }

// add takes the data of a segment, and what waited for it.
func (s *stream) add(seq uint32, data []byte) {
	if len(data) == 0 || s.isFinished {
		return
	}
	if !s.started {
		s.start(seq)
	}
	if int32(s.next-seq) < 0 {
		s.wait(seq, data)
		return
	}
	s.take(seq, data)
	for i := 0; i < len(s.late) && !s.isFinished; i++ {
		p := s.late[i]
		if int32(s.next-p.seq) < 0 {
			continue
		}
		s.late = append(s.late[:i:i], s.late[i+1:]...)
		s.lateBytes -= len(p.data)
		s.take(p.seq, p.data)
		i = -1
	}
}

func (s *stream) wait(seq uint32, data []byte) {
	if s.lateBytes+len(data) > lateMax || len(s.late) >= latePieces {
		return
	}
	s.wasLate = true
	s.late = append(s.late, piece{seq, bytes.Clone(data)})
	s.lateBytes += len(data)
}

// take takes data that begins at s.next or before.
func (s *stream) take(seq uint32, data []byte) {
	before := int(s.next - seq)
	if before >= len(data) {
		return
	}
	data = data[before:]
	at := s.next
	s.next += uint32(len(data))
	if !s.isHello {
		if !beginsHello(data) {
			s.skip(errNotHello)
			return
		}
		s.isHello, s.helloAt, s.held = true, at, nil
	}
	s.held = append(s.held, data...)
	h, err := readHello(s.held)
	switch {
	case err == nil:
		s.hello, s.err, s.isFinished = h, nil, true
	case err == errPartial:
		s.err = err
	case s.helloAt == s.begin && err != errNotHello:
		s.err, s.isFinished = err, true
	default:
		s.isHello, s.held = false, nil
		s.skip(err)
	}
}

// skip passes over data that is no ClientHello.
func (s *stream) skip(err error) {
	s.err = err
	s.isFinished = s.next-s.begin > scanMax
}

// isWaiting reports whether what came so far may still be needed.
func (s *stream) isWaiting() bool { return s.isHello || len(s.late) > 0 }
