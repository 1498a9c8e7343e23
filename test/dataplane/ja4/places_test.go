// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/test/support/clienthello"
)

// Unfinished hellos of others, half as many as there are places of their kind, between the two halves of a denied one
// (by default 500, and 512 of 1,024 places): it is dropped. What is decided is free at once, so others that end take
// none.
func TestHalfFullPlaces(t *testing.T) {
	p := open(t)
	p.spendFreely()
	bot := one(browser(1))
	p.swap(against(p.ja4Of(bot)).bundle())
	h := browser(2)
	h.Ciphers = h.Ciphers[:7]
	other := one(h)
	places := capacity.Hellos / 2 // for what no socket vouches for
	lost := 0
	for n := range 100 {
		p.forget()
		b := p.visits(botIP, uint16(1+n), bot)
		b.bytes(0, 1460)
		for i := range places/2 - 1 {
			p.visits(visitorIP, uint16(1000+n*places+i), other).bytes(0, 1000)
		}
		for i := range 4 * places {
			p.visits("203.0.113.99", uint16(1000+n*4*places+i), other).all(1000)
		}
		if b.bytes(1460, len(bot)) != "XDP_DROP" {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of 100 denied hellos were lost", lost)
	}
}

// What a packet costs that a stranger can send again and again, by program run; the median of interleaved runs.
func TestCostOfHellos(t *testing.T) {
	p := open(t)
	root, err := ebpf.LoadPinnedProgram(filepath.Join(p.Pins, "root/program"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	onOneProcessor(t)
	p.spendFreely()
	stream := one(browser(1))
	whole := p.visits(visitorIP, 1, stream)
	whole.all()
	half := p.visits(visitorIP, 2, stream)
	half.bytes(0, 1000)
	records := p.visits(visitorIP, 3, clienthello.Records(browser(3).Bytes(), clienthello.Every(64)...))
	records.bytes(0, 400)
	queued := p.visits(visitorIP, 4, stream)
	queued.bytes(0, 10)
	queued.bytes(1000, 1700)
	worst := largest()
	full := p.visits(visitorIP, 5, worst)
	full.all()
	full.all()
	rows := []struct {
		name  string
		frame []byte
		ns    time.Duration // at most; ample, for tests share their processors
	}{
		{"a known shape", whole.frame(0, len(stream)), 10 * time.Microsecond},
		{"a half again", half.frame(0, 1000), 10 * time.Microsecond},
		{"one byte again into 64 records", records.frame(200, 201), 5 * time.Microsecond},
		{"a piece behind a gap again", queued.frame(1000, 1700), 10 * time.Microsecond},
		{"a known shape of 99, 99 and 64 values", full.frame(0, len(worst)), 20 * time.Microsecond},
	}
	took := make([][]time.Duration, len(rows))
	for range 9 {
		for i, row := range rows {
			_, each, err := root.Benchmark(row.frame, 2000, nil)
			if err != nil {
				t.Fatal(err)
			}
			took[i] = append(took[i], each)
		}
	}
	for i, row := range rows {
		slices.Sort(took[i])
		median := took[i][len(took[i])/2]
		t.Log(fmt.Sprintf("%-40s %v", row.name, median))
		if median > row.ns {
			t.Errorf("%s: %v, want at most %v", row.name, median, row.ns)
		}
	}
}
