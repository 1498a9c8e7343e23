// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/fresh"
	"github.com/spillway/spillway/test/support/plane"
)

// Units are those of bpf/limit.h.
const (
	unit        = 1 << bpf.LimitUnit * time.Nanosecond
	clockBits   = 48
	asksMax     = 64
	xdpBusy     = 1 // XDP_DROP: another run has the workspace
	xdpAnswered = 2
)

// key is what a limit counts together, with its rate.
type key struct {
	hash            uint64
	burst, interval uint64
}

// keyIn returns a key with a name of its own in a set.
func keyIn(set, name uint64) key { return key{hash: name<<clockBits | set%bpf.LimitSets} }

func (k key) set() uint64 { return k.hash & (1<<clockBits - 1) }

func units(d time.Duration) uint64 { return max(uint64((d+unit-1)/unit), 1) }

// rig is the program, with maps of its own.
type rig struct {
	Ask     *ebpf.Program `ebpf:"ask_limits"`
	Note    *ebpf.Program `ebpf:"note_kinds"`
	Limits  *ebpf.Map     `ebpf:"limits"`
	Sharers *ebpf.Map     `ebpf:"sharers"`
	Gates   *ebpf.Map     `ebpf:"gates"`
}

func newRig(t *testing.T) *rig {
	t.Helper()
	plane.Need(t)
	r := &rig{}
	if err := loadLimitObjects(r, nil); err != nil {
		t.Fatalf("load the program: %+v", err)
	}
	t.Cleanup(func() {
		for _, c := range []interface{ Close() error }{r.Ask, r.Note, r.Limits, r.Sharers, r.Gates} {
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
	return r
}

// random returns numbers that the printed seed repeats.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := fresh.Number(t, "SPILLWAY_SEED", rand.Uint64())
	t.Logf("SPILLWAY_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// askOf is the question of one connection.
func askOf(k key, now uint64) limitAsk {
	return limitAsk{Hash: k.hash, Interval: k.interval, Burst: uint32(k.burst), Now: now & (1<<clockBits - 1)}
}

// admits says whether a connection passed, charged or not.
func (a *limitAsk) admits() bool { return a.Answer != uint8(limitAnswerANSWER_OVER) }

func (a *limitAsk) isLost() bool { return a.Answer == uint8(limitAnswerANSWER_LOST) }

// ask asks for several connections, one after the other, in one run. It may be called by many threads.
func (r *rig) ask(asks []limitAsk) error {
	if len(asks) > asksMax {
		return fmt.Errorf("%d connections in a run", len(asks))
	}
	b := bytesOf(asks)
	for {
		got, err := r.Ask.Run(&ebpf.RunOptions{Data: b, DataOut: b})
		switch {
		case err != nil:
			return err
		case got == xdpBusy:
			runtime.Gosched()
			continue
		case got != xdpAnswered:
			return fmt.Errorf("the program ended with action %d", got)
		}
		return nil
	}
}

func bytesOf[T any](all []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&all[0])), len(all)*int(unsafe.Sizeof(all[0])))
}

// one asks for one connection.
func (r *rig) one(t *testing.T, k key, now uint64) limitAsk {
	t.Helper()
	asks := []limitAsk{askOf(k, now)}
	if err := r.ask(asks); err != nil {
		t.Fatal(err)
	}
	return asks[0]
}

// forget puts all keys at rest.
func (r *rig) forget(t *testing.T) {
	t.Helper()
	if err := errors.Join(plane.Fill(r.Limits, bpf.LimitSet{}), plane.Fill(r.Gates, uint32(0))); err != nil {
		t.Fatal(err)
	}
}
