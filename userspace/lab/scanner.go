// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

const (
	maxScanRate = 50_000 // SYNs per second
	// scanBeat is how often what is due is sent: at low rates one SYN a time.
	scanBeat = 5 * time.Millisecond
	// scanMemory is how many SYNs wait for an answer; the oldest is forgotten.
	// A power of two, found again in the low bits of the sequence number.
	scanMemory = 1 << 16
	// scanMarks is how far Window can look back, in scanMark steps: a minute.
	scanMarks = 600
	scanMark  = 100 * time.Millisecond
)

// ScannerOptions describe the scanner.
type ScannerOptions struct {
	Rate float64 // SYNs per second, 0.1 to 50000; 0 means 50
	Port uint16  // 0 means 443
}

// ScannerStats is what the scanner saw. Every SYN counts as answered at most
// once, however often its SYN-ACK is repeated. In a window, answers to SYNs from
// before it count too.
type ScannerStats struct {
	Sent, Answered uint64
	Rate           float64       // SYNs per second over Span
	Span           time.Duration // the time that was looked at
	LastError      string        // why frames could not be sent; "" when all were
}

// Scanner sends raw SYNs with a fingerprint of their own (MuonFP
// "1024:2:1460:", as nmap -sS), the families in turn, from addresses of
// ScannerPrefix4 and ScannerPrefix6. It never completes a handshake: as with
// the real ones, its host's kernel answers a SYN-ACK with RST.
type Scanner struct {
	lab    *Lab
	sock   *packetSocket
	source sources
	port   uint16
	base   uint32 // upper half of the sequence numbers of this scan
	start  time.Time
	quit   chan struct{}
	once   sync.Once
	send   sync.WaitGroup // ends by quit
	listen sync.WaitGroup // ends when sock is closed, after send

	mu      sync.Mutex // guards all below
	end     time.Time
	sent    uint64
	got     uint64
	lastErr string
	waiting [scanMemory]bool
	marks   []mark // the latest, oldest at next once it is full
	next    int
}

// mark is what had been counted at one moment.
type mark struct {
	at        time.Time
	sent, got uint64
}

// StartScanner starts the scanner. It ends with ctx, at Stop, or with the lab.
func (l *Lab) StartScanner(ctx context.Context, o ScannerOptions) (*Scanner, error) {
	if o.Rate == 0 {
		o.Rate = 50
	}
	if math.IsNaN(o.Rate) || o.Rate < 0.1 || o.Rate > maxScanRate {
		return nil, fmt.Errorf("start scanner: rate %v: want 0.1 to %d SYNs a second", o.Rate, maxScanRate)
	}
	if o.Port == 0 {
		o.Port = 443
	}
	sock, err := l.Out.openPacket(l.OutIndex, synACKFilter)
	if err != nil {
		return nil, fmt.Errorf("start scanner: %w", err)
	}
	s := &Scanner{
		lab: l, sock: sock, source: scannerSources(), port: o.Port,
		base: rand.Uint32() &^ (scanMemory - 1), start: time.Now(),
		quit: make(chan struct{}),
	}
	if err := l.add(s); err != nil {
		return nil, fmt.Errorf("start scanner: %w", errors.Join(err, sock.Close()))
	}
	s.listen.Go(s.receive)
	s.send.Go(func() { s.scan(ctx, o.Rate) })
	return s, nil
}

// scan sends what is due at every beat. After a delay of more than a second it
// goes on from there instead of catching up.
func (s *Scanner) scan(ctx context.Context, rate float64) {
	tick := time.NewTicker(scanBeat)
	defer tick.Stop()
	from, n := s.start, uint64(0)
	var done uint64 // sent since from
	for {
		due := uint64(time.Since(from).Seconds()*rate) + 1
		if float64(due-done) > max(rate, 1) {
			from, done, due = time.Now(), 0, 1
		}
		for ; done < due; done++ {
			s.probe(n)
			n++
		}
		s.mark(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-s.quit:
			return
		case <-tick.C:
		}
	}
}

// probe sends the n-th SYN. It waits for its answer from before it is sent.
func (s *Scanner) probe(n uint64) {
	src := s.source.pick(n)
	seq := s.base | uint32(n%scanMemory)
	port := uint16(32768 + n/2%28000)
	frame := scanSYN{
		srcMAC: s.lab.OutMAC, dstMAC: s.lab.EdgeMAC,
		src:  netip.AddrPortFrom(src, port),
		dst:  netip.AddrPortFrom(edgeAddrFor(src), s.port),
		seq:  seq,
		ipID: uint16(rand.Uint32()),
	}.frame()
	s.mu.Lock()
	s.waiting[n%scanMemory] = true
	s.mu.Unlock()
	err := s.sock.send(frame)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.waiting[n%scanMemory] = false
		s.lastErr = err.Error()
		return
	}
	s.sent++
}

// receive counts the answers until the socket is closed.
func (s *Scanner) receive() {
	buf := make([]byte, maxFrame)
	for {
		n, err := s.sock.file.Read(buf)
		if err != nil {
			return
		}
		a, ok := parseSYNACK(buf[:n])
		if ok && (ScannerPrefix4.Contains(a.dst.Addr()) || ScannerPrefix6.Contains(a.dst.Addr())) {
			s.answered(a.ack - 1)
		}
	}
}

// answered counts the answer to the SYN with this sequence number, if one waits.
func (s *Scanner) answered(seq uint32) {
	if seq&^(scanMemory-1) != s.base {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := seq % scanMemory; s.waiting[i] {
		s.waiting[i] = false
		s.got++
	}
}

// mark remembers the counts, every scanMark.
func (s *Scanner) mark(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := mark{now, s.sent, s.got}
	if len(s.marks) == 0 {
		s.marks = append(s.marks, m)
		return
	}
	last := s.marks[(s.next+len(s.marks)-1)%len(s.marks)]
	switch {
	case now.Sub(last.at) < scanMark:
	case len(s.marks) < scanMarks:
		s.marks = append(s.marks, m)
	default:
		s.marks[s.next] = m
		s.next = (s.next + 1) % scanMarks
	}
}

// Window returns what the scanner saw in the last d, at most a minute, in
// steps of 100 ms: Span says how much it really is.
func (s *Scanner) Window(d time.Duration) ScannerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.until(time.Now())
	from := mark{at: s.start}
	for i := range s.marks {
		m := s.marks[(s.next+i)%len(s.marks)]
		if i == 0 && len(s.marks) == scanMarks || !m.at.After(now.Add(-d)) {
			from = m
		}
	}
	return s.since(from, now)
}

// Total returns what the scanner saw since its start.
func (s *Scanner) Total() ScannerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since(mark{at: s.start}, s.until(time.Now()))
}

// since returns what was counted after m; s.mu is held.
func (s *Scanner) since(m mark, now time.Time) ScannerStats {
	st := ScannerStats{Sent: s.sent - m.sent, Answered: s.got - m.got, Span: now.Sub(m.at), LastError: s.lastErr}
	if st.Span > 0 {
		st.Rate = float64(st.Sent) / st.Span.Seconds()
	}
	return st
}

// until returns the end of the time that counts; s.mu is held.
func (s *Scanner) until(now time.Time) time.Time {
	if s.end.IsZero() {
		return now
	}
	return s.end
}

// Stop ends the scan and returns the total. Answers that are still under way
// are not counted. It may be called again.
func (s *Scanner) Stop() ScannerStats {
	_ = s.Close()
	return s.Total()
}

// Close is Stop without the total.
func (s *Scanner) Close() error {
	var err error
	s.once.Do(func() {
		close(s.quit)
		s.send.Wait()
		err = s.sock.Close()
		s.listen.Wait()
		s.mu.Lock()
		s.end = time.Now()
		s.mu.Unlock()
	})
	return err
}
