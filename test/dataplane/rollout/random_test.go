// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/fresh"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/rollout"
)

// Whatever people, visitors, pauses and starts again do, both kernels show the same. SPILLWAY_TRACES is how many are
// replayed; each has the seed of the one before and one more.
func TestRandomTracesOnBothKernels(t *testing.T) {
	r, p := enter(t), open(t)
	first, n := fresh.Number(t, "SPILLWAY_SEED", rand.Uint64()>>1), fresh.Number(t, "SPILLWAY_TRACES", 2)
	for i := range n {
		tr := newTrace(t, r, p)
		tr.tell("SPILLWAY_SEED=%d SPILLWAY_TRACES=1 go test ./test/dataplane/rollout -run Random", first+i)
		tr.play(rand.New(rand.NewPCG(first+i, 14)))
	}
	t.Logf("%d traces from SPILLWAY_SEED=%d", n, first)
}

func some(rng *rand.Rand, from, to, n int) (all []int) {
	for _, at := range rng.Perm(to - from)[:n] {
		all = append(all, from+at)
	}
	return all
}

func (tr *trace) play(rng *rand.Rand) {
	h := tr.files[0].Host
	draw := func() {
		name, from := "base", 0
		if rng.IntN(3) == 0 {
			name, from = "beside", 30
		}
		rows := some(rng, from, from+28, 8)
		b := bundle(tr.t, h, name, rows[:rng.IntN(6)], rows[6:6+rng.IntN(3)])
		req := api.RolloutRequest{AcceptBlocks: []float64{0, 0, 0.3}[rng.IntN(3)], Reason: "meant"}
		if rng.IntN(6) == 0 {
			req.Emergency = true
		}
		tr.apply(b, req)
	}
	bypass, observes := false, false
	tr.apply(bundle(tr.t, h, "base", some(rng, 0, 28, 3), nil), api.RolloutRequest{})
	for range 70 {
		failing := rng.IntN(12)
		switch rng.IntN(30) {
		case 0, 1, 2:
			draw()
		case 3:
			tr.restart()
		case 4:
			tr.away(time.Duration(rng.IntN(9))*time.Second, some(rng, 0, groups, 10)...)
		case 5:
			bypass = !bypass
			for _, s := range tr.both {
				s.k.pass(bypass)
			}
		case 6:
			observes = !observes
			tr.reload(map[bool]int{false: 0, true: 1}[observes])
		case 7:
			tr.command([]rollout.Verb{rollout.VerbPromote, rollout.VerbPause, rollout.VerbResume, rollout.VerbAbort,
				rollout.VerbAccept, rollout.VerbThaw}[rng.IntN(6)])
		case 8:
			tr.each("rollback", func(s *side) string { return s.back() })
		case 9:
			if rng.IntN(4) == 0 {
				for _, s := range tr.both {
					s.k.full()
				}
				tr.tell("votes find no room")
			}
		}
		visitors := some(rng, 0, groups-2, rng.IntN(40))
		if rng.IntN(25) == 0 {
			visitors = append(visitors, allowed...)
		}
		tr.look(func(n int) bool { return n%29 == failing }, visitors...)
	}
}
