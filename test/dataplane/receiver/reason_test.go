// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"slices"

	"github.com/spillway/spillway/test/support/packet"
)

// gapsMost is how many gaps at once the dataplane follows at least.
const gapsMost = 4

// excuses says whether a listed client may be served for this reason. A policy may act on each of them; but whoever
// sends an ordinary hello in an ordinary way must have been read.
func (s *schedule) excuses(reason string) bool {
	switch reason {
	case "hello_too_long":
		return len(s.stream) > helloMost
	case "hello_overlap":
		return s.contradicts()
	case "hello_order":
		return s.gaps() > gapsMost
	case "hello_urgent":
		return s.urgents() > 1
	case "hello_hidden":
		return !s.ordinary()
	case "hello_unseen": // weak for ever: no ordinary client may get there
		return !s.ordinary() || s.world.NoACK || s.world.Cookies == 2
	}
	return false
}

// ordinary says whether the client sent only what any client sends over a bad network: its own bytes, in segments that
// a receiver takes, whatever others send in its name.
func (s *schedule) ordinary() bool {
	return !s.contradicts() && s.gaps() <= gapsMost && s.urgents() == 0
}

// refused are tricks whose segments no socket takes: what is in them says nothing.
var refused = []string{"bad sum", "MD5", "no ACK", "ACK beyond", "SYN", "bare SYN"}

// contradicts says whether two segments that a socket may take have different bytes for one place.
func (s *schedule) contradicts() bool {
	for i, a := range s.steps {
		if slices.Contains(refused, a.what) {
			continue
		}
		for _, b := range s.steps[:i] {
			if slices.Contains(refused, b.what) {
				continue
			}
			from, to := max(a.at, b.at), min(a.at+len(a.data), b.at+len(b.data))
			if from < to && !bytes.Equal(a.data[from-a.at:to-a.at], b.data[from-b.at:to-b.at]) {
				return true
			}
		}
	}
	return false
}

// gaps is how many gaps there were at most at one time.
func (s *schedule) gaps() (most int) {
	have := make([]bool, len(s.stream)+1)
	for _, step := range s.steps {
		for i := range step.data {
			if at := step.at + i; at >= 0 && at < len(s.stream) {
				have[at] = true
			}
		}
		gaps, last := 0, true
		for _, h := range have[:len(s.stream)] {
			if h && !last {
				gaps++
			}
			last = h
		}
		most = max(most, gaps)
	}
	return most
}

// urgents is how many urgent bytes were announced.
func (s *schedule) urgents() int {
	places := map[int]bool{}
	for _, step := range s.steps {
		if step.urgent != 0 {
			places[step.at+int(step.urgent)] = true
		}
	}
	return len(places)
}

// finals is how many FINs came. What is sent behind one, in sequence, becomes a part of it in Linux's queue, and is
// served: a stream without the byte that the FIN counts for.
func (s *schedule) finals() (n int) {
	for _, step := range s.steps {
		n += int(step.flags & packet.FIN)
	}
	return n
}
