// SPDX-License-Identifier: Apache-2.0

package events

import (
	"sync"

	"github.com/spillway/spillway/userspace/api"
)

const (
	kept        = 1000
	readerQueue = 256
)

// hub keeps the last events and hands new ones to readers. A reader that is too slow loses events; the gap in their
// sequence tells it so.
type hub struct {
	mu       sync.Mutex
	sequence uint64
	last     []api.Event // a ring once it is full
	next     int
	readers  map[chan api.Event]bool
	dropped  uint64
}

func newHub() *hub { return &hub{readers: map[chan api.Event]bool{}} }

func (h *hub) add(e api.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sequence++
	e.Sequence = h.sequence
	if len(h.last) < kept {
		h.last = append(h.last, e)
	} else {
		h.last[h.next] = e
		h.next = (h.next + 1) % kept
	}
	for r := range h.readers {
		select {
		case r <- e:
		default:
			h.dropped++
		}
	}
}

// lost returns how many events readers were too slow for.
func (h *hub) lost() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dropped
}

func (h *hub) read(recent int, follow bool) (past []api.Event, next <-chan api.Event, stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	past = append(append(past, h.last[h.next:]...), h.last[:h.next]...)
	past = past[max(0, len(past)-recent):]
	if !follow {
		return past, nil, func() {}
	}
	r := make(chan api.Event, readerQueue)
	h.readers[r] = true
	return past, r, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.readers, r)
	}
}
