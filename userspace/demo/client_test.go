// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A program's lines count however they are cut, a browser's with what stands around them, and others are kept.
func TestClientReads(t *testing.T) {
	const said = "spillway: served\nspillway: failed reset\n" +
		"[14554:14554:1121/072917.574255:INFO:CONSOLE:2] \"spillway: served\", source: file:///visit.html (2)\n" +
		"[1:1:INFO:CONSOLE:2] \"spillway: failed Failed to fetch\", source: file:///visit.html (2)\nTraceback: odd\nspillway: ser"
	for size := 1; size < len(said); size += 7 {
		c := &client{}
		out := &lines{read: c.read}
		for rest := []byte(said); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			if n, err := out.Write(rest[:min(size, len(rest))]); err != nil || n != min(size, len(rest)) {
				t.Fatalf("wrote %d: %v", n, err)
			}
		}
		want := tally{asked: 4, served: 2, resets: 1}
		if c.sum() != want || c.window() != want {
			t.Errorf("in pieces of %d: %+v, in the window %+v, want %+v", size, c.sum(), c.window(), want)
		}
		if diff := cmp.Diff([]string{"Failed to fetch", "Traceback: odd"}, []string{c.failure(), c.lastWords()}); diff != "" {
			t.Errorf("in pieces of %d (-want +got)\n%s", size, diff)
		}
	}
}

func TestLookWaitsForEveryBot(t *testing.T) {
	l := look{asked: 10, bots: []tally{{asked: 4}, {asked: 3}}}
	if !l.nothing() || !l.each(func(b tally) bool { return b.asked >= 3 }) ||
		l.each(func(b tally) bool { return b.asked >= 4 }) {
		t.Errorf("look %+v", l)
	}
	l.bots[1].served = 1
	if l.nothing() {
		t.Error("a page of one bot is nothing")
	}
	if asked, pages := l.all(); asked != 17 || pages != 1 {
		t.Errorf("%d asked, %d served", asked, pages)
	}
}
