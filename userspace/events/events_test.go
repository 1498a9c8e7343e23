// SPDX-License-Identifier: Apache-2.0

package events

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/spillway/spillway/userspace/api"
)

func addressWords(text string) [4]uint32 {
	b := netip.MustParseAddr(text).As16()
	var w [4]uint32
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

func TestTruncatedAddresses(t *testing.T) {
	for in, want := range map[string]string{"::ffff:198.51.100.7": "198.51.100.0/24",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1::/48"} {
		if got := addressText(addressWords(in), false); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestA38SlowReadersLoseEventsAndSeeIt(t *testing.T) {
	h := newHub()
	_, next, stop := h.read(0, true)
	for range kept + 10 {
		h.add(api.Event{})
	}
	if h.lost() != kept+10-readerQueue {
		t.Errorf("lost %d", h.lost())
	}
	if e := <-next; e.Sequence != 1 {
		t.Errorf("first is %d", e.Sequence)
	}
	stop()
	past, _, _ := h.read(5000, false)
	if len(past) != kept || past[0].Sequence != 11 || past[kept-1].Sequence != kept+10 {
		t.Errorf("%d events, from %d", len(past), past[0].Sequence)
	}
	if past, _, _ = h.read(2, false); len(past) != 2 || past[1].Sequence != kept+10 {
		t.Errorf("the last two: %+v", past)
	}
	h.add(api.Event{})
	if len(h.readers) != 0 {
		t.Error("a reader that left is still fed")
	}
}
