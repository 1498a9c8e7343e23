// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"fmt"
	"math/big"
	"testing"
	"time"
)

// clocks are when the clock of the limits begins, in units: at the boot, at some time, and shortly before its 48 bits
// are over.
var clocks = map[string]uint64{"boot": 0, "some day": 1 << 40, "wrap in a moment": 1<<clockBits - 100,
	"wrap in an hour": 1<<clockBits - units(time.Hour) - 7, "wrap in three days": 1<<clockBits - units(72*time.Hour)}

// setStep puts sets apart.
const setStep = 701

func eachRate(t *testing.T, test func(t *testing.T, r *rig, k key, now uint64)) {
	r := newRig(t)
	for name, now := range clocks {
		for _, interval := range []time.Duration{time.Millisecond, time.Second, time.Minute, time.Hour} {
			for _, burst := range []uint64{1, 2, 4, 20} {
				t.Run(fmt.Sprintf("%s/%d by %s", name, burst, interval), func(t *testing.T) {
					for _, of := range []uint64{0, 1, 0xffff} {
						r.forget(t)
						k := keyIn(7, of)
						k.burst, k.interval = burst, units(interval)
						test(t, r, k, now)
					}
				})
			}
		}
	}
}

// Whoever comes at the rate is never refused, and neither is who comes at it behind a whole burst.
func TestWhoComesAtTheRatePasses(t *testing.T) {
	eachRate(t, func(t *testing.T, r *rig, k key, now uint64) {
		for i := range 50 {
			if a := r.one(t, k, now); !a.admits() || a.isLost() || a.Evicted != 0 {
				t.Fatalf("connection %d, an interval behind the last: %+v", i, a)
			}
			now += k.interval
		}
		for range k.burst - 1 { // one came an interval ago
			r.one(t, k, now)
		}
		for i := range 50 {
			if a := r.one(t, k, now); !a.admits() {
				t.Fatalf("connection %d, an interval behind a burst: %+v", i, a)
			}
			now += k.interval
		}
	})
}

// A key at rest has its whole burst and no more; what is beyond changes nothing, and is told when there is room.
func TestAKeyAtRestHasItsBurst(t *testing.T) {
	eachRate(t, func(t *testing.T, r *rig, k key, now uint64) {
		for round := range 3 {
			for i := range k.burst {
				if a := r.one(t, k, now); !a.admits() {
					t.Fatalf("round %d, connection %d of a burst of %d: %+v", round, i, k.burst, a)
				}
			}
			room := now + k.interval
			for at, step := now, uint64(0); at < room; at, step = at+step, step*2+1 {
				if a := r.one(t, k, at); a.admits() || a.Wait != room-at {
					t.Fatalf("round %d: %+v, %d units before there is room", round, a, room-at)
				}
			}
			if a := r.one(t, k, room-1); a.admits() || a.Wait != 1 {
				t.Fatalf("round %d, a unit before there is room: %+v", round, a)
			}
			if a := r.one(t, k, room); !a.admits() {
				t.Fatalf("round %d, where there is room: %+v", round, a)
			}
			now = room + k.burst*k.interval
		}
	})
}

// A way that is 0 is free, so no key has that number: its burst would begin again.
func TestNoKeyLooksLikeAFreeWay(t *testing.T) {
	r := newRig(t)
	k := keyIn(7, 0)
	k.burst, k.interval = 3, units(time.Second)
	now := uint64(1<<clockBits) - k.interval
	for i := range k.burst + 3 {
		if a := r.one(t, k, now); a.admits() != (i < k.burst) {
			t.Errorf("connection %d of a burst of %d: %+v", i, k.burst, a)
		}
	}
}

// reference is the virtual scheduling of ITU-T I.371 with numbers of any size.
type reference struct{ next map[uint64]*big.Int }

func (m *reference) admits(k key, now *big.Int) bool {
	next := m.next[k.hash]
	if next == nil || next.Cmp(now) < 0 {
		next = now
	}
	interval := new(big.Int).SetUint64(k.interval)
	tolerance := new(big.Int).Mul(interval, new(big.Int).SetUint64(k.burst-1))
	if new(big.Int).Sub(next, now).Cmp(tolerance) > 0 {
		return false
	}
	m.next[k.hash] = interval.Add(interval, next)
	return true
}

// TestOneAfterTheOther compares a million connections with the reference, by a clock that wraps in the middle.
func TestOneAfterTheOther(t *testing.T) {
	r, rnd := newRig(t), random(t)
	r.forget(t)
	var keys []key
	for set := range uint64(40) {
		for name := range uint64(1 + set%8) { // no more than a set has ways
			k := keyIn(set*setStep, 1+name)
			k.burst, k.interval = 1+rnd.Uint64N(pick[uint64](rnd, 1, 4, 60)),
				units(pick(rnd, time.Millisecond, 20*time.Millisecond, time.Second, time.Minute, time.Hour))
			keys = append(keys, k)
		}
	}
	// All of it takes nearly two hours.
	now := new(big.Int).SetUint64(1<<clockBits - units(time.Hour))
	model, asks, all := &reference{map[uint64]*big.Int{}}, make([]limitAsk, asksMax), 0
	over := 0
	for all < 1_000_000 {
		want := make([]bool, len(asks))
		active := keys[rnd.IntN(len(keys)):]
		active = active[:min(len(active), 1+rnd.IntN(12))]
		for i := range asks {
			k := pick(rnd, active...)
			step := pick(rnd, 0, 0, rnd.Uint64N(50), rnd.Uint64N(k.interval)>>rnd.IntN(16), k.interval>>rnd.IntN(16))
			now.Add(now, new(big.Int).SetUint64(min(step, units(30*time.Millisecond))))
			asks[i] = askOf(k, new(big.Int).And(now, big.NewInt(1<<clockBits-1)).Uint64())
			want[i] = model.admits(k, now)
		}
		if rnd.IntN(1000) == 0 {
			now.Add(now, new(big.Int).SetUint64(rnd.Uint64N(units(2*time.Minute))))
		}
		if err := r.ask(asks); err != nil {
			t.Fatal(err)
		}
		for i := range asks {
			a := &asks[i]
			if a.admits() != want[i] || a.isLost() || a.Evicted != 0 {
				t.Fatalf("connection %d: %+v; the reference says %v", all+i, *a, want[i])
			}
			if !want[i] {
				over++
			}
		}
		all += len(asks)
	}
	t.Logf("%d connections, %d of them over, until %v units", all, over, now)
	if now.Cmp(big.NewInt(1<<clockBits)) < 0 || over < all/20 {
		t.Errorf("%d of %d connections are over, and the clock ends at %v units: too little is tested", over, all, now)
	}
}
