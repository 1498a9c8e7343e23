// SPDX-License-Identifier: Apache-2.0

package fingerprint

import "slices"

// scanMax is how far into what a client sends a ClientHello is looked for: behind STARTTLS, or a proxy's answer.
const scanMax = 16 << 10

// stream puts together what a client sends, as far as it takes to find its ClientHello. A ClientHello begins where a
// segment begins; only the bytes from there on are kept.
type stream struct {
	receiver
	started    bool
	begin      uint32 // sequence number of the first byte
	held       []byte // since helloAt, while a ClientHello goes on; the urgent byte with them
	helloAt    uint32
	urgent     uint32 // sequence number of the urgent byte, which the application does not read
	isUrgent   bool   // there is one
	isHello    bool   // a ClientHello was found, or goes on
	hello      *hello
	err        error // why the last candidate is none
	isFinished bool  // there is nothing to wait for
}

func (s *stream) start(seq uint32) { s.started, s.begin, s.next = true, seq, seq }

// point takes the urgent pointer of a segment that begins at seq. It counts from there to behind the byte (RFC 6093
// section 3.1), as it does without net.ipv4.tcp_stdurg, and says nothing of what was taken. Of two it depends on how
// much the application has read in between which bytes it loses.
func (s *stream) point(seq uint32, pointer uint16) {
	at := seq + uint32(max(pointer, 1)) - 1
	if s.isFinished || s.started && before(at, s.next) || s.isUrgent && at == s.urgent {
		return
	}
	if s.isUrgent && !before(s.urgent, s.next-uint32(len(s.held))) {
		s.err, s.isFinished = errUrgent, true
		return
	}
	s.urgent, s.isUrgent = at, true
}

// add takes the data of a segment, and what waited for it, and the FIN that it may have.
func (s *stream) add(seq uint32, data []byte, hasFIN bool) {
	if len(data) == 0 && !(hasFIN && s.started) || s.isFinished {
		return
	}
	if !s.started {
		s.start(seq)
	}
	p := piece{seq, data, hasFIN}
	if s.isHello && differ(p, piece{seq: s.helloAt, data: s.held}) {
		s.late.differs = true
	}
	s.receive(p, s.take)
}

// take takes the next bytes, and says whether more are wanted.
func (s *stream) take(at uint32, data []byte) (more bool) {
	if !s.isHello {
		read := s.read(at, data)
		if len(read) == 0 {
			return true
		}
		if !beginsHello(read) || at != s.begin && read[0]&sslv2Mark != 0 { // behind other data many a byte looks like that
			return s.skip(errNotHello)
		}
		s.isHello, s.helloAt, s.held = true, at, nil
	}
	s.held = append(s.held, data...)
	h, err := readHello(s.read(s.helloAt, s.held))
	switch {
	case err == nil:
		s.hello, s.err, s.isFinished = h, nil, true
	case err == errPartial:
		s.err = err
	case s.helloAt == s.begin && err != errNotHello:
		s.err, s.isFinished = err, true
	default: // behind other data the dataplane does not look
		s.isHello, s.held = false, nil
		return s.skip(errNotHello)
	}
	return !s.isFinished
}

// read returns what the application reads of data that begins at a sequence number.
func (s *stream) read(at uint32, data []byte) []byte {
	if place := s.urgent - at; s.isUrgent && place < uint32(len(data)) {
		return slices.Concat(data[:place], data[place+1:])
	}
	return data
}

// skip passes over data that is no ClientHello, and says whether more are wanted.
func (s *stream) skip(err error) (more bool) {
	s.err = err
	s.isFinished = s.next-s.begin > scanMax
	return !s.isFinished
}

// isWaiting reports whether what came so far may still be needed.
func (s *stream) isWaiting() bool { return s.isHello || len(s.late.pieces) > 0 }
