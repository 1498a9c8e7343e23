// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The clocks of processors differ by less than a tick. Keys of sets with others have intervals far above that: there a
// way may be free for one processor while it is not for another.
const tick = 4 * time.Millisecond

var crowds = map[string]crowd{
	"one key": {1, 1, 300, tick, []time.Duration{time.Millisecond, time.Second}, 800},
	"keys with a set each": {40, 1, 9, tick,
		[]time.Duration{time.Millisecond, 20 * time.Millisecond, time.Minute}, 800},
	"six keys of a set":             {1, 6, 50, 0, []time.Duration{time.Millisecond, time.Second, time.Hour}, 800},
	"six keys of many sets":         {50, 6, 5, 0, []time.Duration{time.Millisecond, time.Second}, 800},
	"six keys, and clocks differ":   {30, 6, 1, tick, []time.Duration{200 * time.Millisecond}, 2000},
	"more keys than a set has ways": {1, 20, 5, 0, []time.Duration{time.Second}, 500},
	"many sets of too many keys":    {30, 12, 5, 0, []time.Duration{time.Second, time.Minute}, 500},
}

// TestNoKeyGetsMoreThanItsRate is the bound: of any time a key gets at most its burst, and one for each interval of
// that time.
func TestNoKeyGetsMoreThanItsRate(t *testing.T) {
	r, rnd := newRig(t), random(t)
	for name, c := range crowds {
		for _, when := range []string{"some day", "wrap in a moment"} {
			t.Run(name+"/"+when, func(t *testing.T) {
				r.forget(t)
				keys, start := c.draw(rnd), clocks[when]
				seen, end, err := c.run(r, rnd, keys, start)
				if err != nil {
					t.Fatal(err)
				}
				c.check(t, keys, seen, end-start)
			})
		}
	}
}

// admission is a connection that a thread saw pass.
type admission struct {
	key int
	now uint64
}

// visits is what a thread saw.
type visits struct {
	passed     []admission // charged
	over, lost int
	evicted    map[uint64]int // by set
}

// bring asks for connections of these keys, one after the other.
func (v *visits) bring(r *rig, keys []key, next round, now uint64) error {
	asks := make([]limitAsk, len(next.keys))
	for i, k := range next.keys {
		asks[i] = askOf(keys[k], now)
		asks[i].Gate = uint16(next.gate + i)
	}
	if err := r.ask(asks); err != nil {
		return err
	}
	if v.evicted == nil {
		v.evicted = map[uint64]int{}
	}
	for i, a := range asks {
		switch {
		case !a.admits():
			v.over++
		case a.isLost():
			v.lost++
		default:
			v.passed = append(v.passed, admission{next.keys[i], now})
		}
		if a.Evicted > 0 {
			v.evicted[keys[next.keys[i]].set()] += int(a.Evicted)
		}
	}
	return nil
}

// check looks at what all threads saw together.
func (c crowd) check(t *testing.T, keys []key, seen []visits, lasted uint64) {
	t.Helper()
	passed, evicted := make([][]uint64, len(keys)), map[uint64]int{}
	all, over, lost, forgotten := 0, 0, 0, 0
	for _, v := range seen {
		for _, a := range v.passed {
			passed[a.key] = append(passed[a.key], a.now)
		}
		for set, n := range v.evicted {
			evicted[set] += n
			forgotten += n
		}
		all, over, lost = all+len(v.passed), over+v.over, lost+v.lost
	}
	t.Logf("%d connections passed, %d were over, %d lost, %d keys forgotten", all, over, lost, forgotten)
	if c.keys <= ways && forgotten > 0 {
		t.Errorf("%d keys were forgotten, though sets have room", forgotten)
	}
	if c.keys > ways && forgotten == 0 {
		t.Error("no key was forgotten, though no set has room for all")
	}
	if lost > (all+over)/100 {
		t.Errorf("%d connections of %d were lost", lost, all+over+lost)
	}
	if all < 50 || over < 1000 {
		t.Errorf("%d passed and %d were over: too little is tested", all, over)
	}
	for i := 0; i < len(keys) && c.keys > ways; i += c.keys {
		if err := setWithin(keys[i:i+c.keys], passed[i:i+c.keys], evicted[keys[i].set()], lasted); err != nil {
			t.Errorf("set %d: %v", keys[i].set(), err)
		}
	}
	for i, k := range keys {
		if err := c.within(k, passed[i]); c.keys <= ways && err != nil {
			t.Errorf("key %d (%d by %d units): %v", i, k.burst, k.interval, err)
		}
	}
}

// within says where a key got more than its rate: of all times that begin and end with a connection that passed. With n
// of them from one moment to another that is n > burst + (another - one) / interval. Where a set has other keys, a way
// that rests by one clock and not by another may be taken, and each connection moves its key by that much less.
func (c crowd) within(k key, passed []uint64) error {
	slices.Sort(passed)
	interval := k.interval
	if c.keys > 1 && c.skew > 0 {
		interval -= units(c.skew)
	}
	tolerance := int64((k.burst - 1) * k.interval)
	most, from := int64(0), -1
	for i, now := range passed {
		at := int64(now-passed[0]) - int64(i)*int64(interval)
		if from < 0 || at > most {
			most, from = at, i
		}
		if at < most-tolerance {
			return fmt.Errorf("%d connections passed in %d units", i-from+1, now-passed[from])
		}
	}
	return nil
}

// setWithin holds the keys of a set, which have one rate, to that together: a key that is forgotten has at most its
// burst once more.
func setWithin(keys []key, passed [][]uint64, forgotten int, lasted uint64) error {
	got, want := uint64(0), uint64(forgotten)*keys[0].burst
	for i, k := range keys {
		got += uint64(len(passed[i]))
		want += k.burst + lasted/k.interval
	}
	if got > want {
		return fmt.Errorf("%d connections passed, want at most %d", got, want)
	}
	return nil
}

func (c crowd) draw(rnd *rand.Rand) (keys []key) {
	for set := range uint64(c.sets) {
		burst, interval := 1+rnd.Uint64N(c.burst), units(pick(rnd, c.intervals...))
		for name := range uint64(c.keys) {
			k := keyIn(set*setStep, 1+name)
			k.burst, k.interval = burst, interval
			keys = append(keys, k)
		}
	}
	return keys
}
