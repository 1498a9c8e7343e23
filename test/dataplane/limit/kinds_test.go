// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"math/bits"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/plane"
)

// Periods are half a day, of which a way has eight bits: they come again after 128 days.
const (
	periods = 256
	kinds   = 20
)

// note says that an address shows a kind of client, 0 for one that nobody knows, and returns how many kinds it shows.
func (r *rig) note(t *testing.T, address uint64, kind, period uint32) int {
	t.Helper()
	notes := []limitNote{{Hash: address, Kind: kind, Period: period}}
	b := bytesOf(notes)
	got, err := r.Note.Run(&ebpf.RunOptions{Data: b, DataOut: b})
	if err != nil || got != xdpAnswered {
		t.Fatalf("note a kind: action %d, %v", got, err)
	}
	return int(notes[0].Kinds)
}

func (r *rig) forgetKinds(t *testing.T) {
	t.Helper()
	if err := plane.Fill(r.Sharers, bpf.LimitSet{}); err != nil {
		t.Fatal(err)
	}
}

// addressIn returns an address with a name of its own in a set.
func addressIn(set, name uint64) uint64 { return name<<clockBits | set%bpf.SharerSets }

// Kinds add up, each once, over this half of a day and the one before; what is older is forgotten.
func TestKindsAddUp(t *testing.T) {
	r := newRig(t)
	for _, first := range []uint32{0, 1, 1000, periods - 2, periods - 1, 1<<32 - 2} {
		r.forgetKinds(t)
		a, other := addressIn(5, 1), addressIn(5, 2)
		for i, c := range []struct {
			address      uint64
			kind, period uint32
			want         int
		}{
			{a, 0, 0, 0}, // a client that no catalogue knows is none
			{a, 1, 0, 1}, {a, 1, 0, 1}, {a, 20, 0, 2}, {a, 0, 0, 2},
			{other, 2, 0, 1}, {other, 0, 1, 1},
			{a, 3, 1, 3}, {a, 1, 1, 3}, // of the half before, and again
			{a, 0, 2, 2}, {a, 4, 2, 3}, // 20 is over
			{a, 0, 3, 1}, {a, 0, 4, 0}, {a, 5, 4, 1},
			{other, 0, 4, 0},
		} {
			if got := r.note(t, c.address, c.kind, first+c.period); got != c.want {
				t.Errorf("from period %d, row %d: %d kinds, want %d", first, i, got, c.want)
			}
		}
	}
}

// sharer is what a person would write down of an address: its kinds by period.
type sharer map[uint32]uint32

func (s sharer) note(kind, period uint32) int {
	if kind > 0 {
		s[period] |= 1 << (kind - 1)
	}
	return bits.OnesCount32(s[period] | s[period-1])
}

// TestKindsAsWrittenDown compares random clients of as many addresses as sets have ways, over more than one round of
// the periods.
func TestKindsAsWrittenDown(t *testing.T) {
	r, rnd := newRig(t), random(t)
	r.forgetKinds(t)
	written, addresses := map[uint64]sharer{}, []uint64(nil)
	for set := range uint64(10) {
		for name := range uint64(ways) {
			addresses = append(addresses, addressIn(set, 1+name))
			written[addressIn(set, 1+name)] = sharer{}
		}
	}
	period, most := uint32(1<<32-300), 0
	for i := range 100_000 {
		a, kind := pick(rnd, addresses...), uint32(rnd.IntN(kinds+1))
		got, want := r.note(t, a, kind, period), written[a].note(kind, period)
		if got != want {
			t.Fatalf("client %d, kind %d of %x in period %d: %d kinds, want %d", i, kind, a, period, got, want)
		}
		most = max(most, got)
		if rnd.IntN(160) == 0 {
			period += pick[uint32](rnd, 1, 1, 1, 2)
		}
	}
	if most < 10 || period < 200 || period > 1<<31 {
		t.Errorf("%d kinds at most, until period %d: too little is tested", most, period)
	}
}

// A full set gives up the address with the fewest kinds: who comes with one is at most that.
func TestTheFewestKindsAreForgotten(t *testing.T) {
	r, rnd := newRig(t), random(t)
	for range 50 {
		r.forgetKinds(t)
		has := rnd.Perm(ways) // and two more, each
		for name, n := range has {
			for kind := range n + 2 {
				r.note(t, addressIn(9, uint64(1+name)), uint32(1+kind), 3)
			}
		}
		for i := range uint64(30) { // each takes the place of the one before
			if got := r.note(t, addressIn(9, 100+i), 1, 3); got != 1 {
				t.Fatalf("a new address shows %d kinds, want 1", got)
			}
		}
		for name, n := range has {
			want := n + 2
			if n == 0 {
				want = 0
			}
			if got := r.note(t, addressIn(9, uint64(1+name)), 0, 3); got != want {
				t.Errorf("an address with %d kinds shows %d, want %d", n+2, got, want)
			}
		}
	}
}
