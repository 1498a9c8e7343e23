// SPDX-License-Identifier: Apache-2.0

package oracle_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spillway/spillway/test/dataplane/oracle/compare"
	"github.com/spillway/spillway/test/support/fresh"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/plane"
)

const (
	roundFrames = 5000 // from a fresh start
	worldFrames = 250  // between two changes of the world
	wantFrames  = 200_000
	freshRounds = 4 // of a seed that no run had before
	workers     = 4 // building a generation is mostly waiting for the kernel
)

// enough says when the rounds end: after wantFrames, after the time of SPILLWAY_FUZZ_FOR, or after SPILLWAY_ROUND.
func enough(t *testing.T) func(round uint64) bool {
	t.Helper()
	text := os.Getenv("SPILLWAY_FUZZ_FOR")
	if only, ok := os.LookupEnv("SPILLWAY_ROUND"); ok {
		return func(round uint64) bool { return strconv.FormatUint(round, 10) != only }
	}
	if text == "" {
		return func(round uint64) bool { return round*roundFrames >= wantFrames }
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("SPILLWAY_FUZZ_FOR: %v", err)
	}
	end := time.Now().Add(d)
	return func(uint64) bool { return time.Now().After(end) }
}

// TestA22ProgramAndModelAgree runs mutated frames in random worlds. SPILLWAY_SEED repeats a run, SPILLWAY_ROUND one
// round of it, SPILLWAY_FUZZ_FOR=8h makes it long. A difference is shrunk and written to a file, which becomes a case
// of testdata/corpus.
func TestA22ProgramAndModelAgree(t *testing.T) {
	plane.Need(t)
	base := fresh.Number(t, "SPILLWAY_SEED", rand.Uint64())
	t.Logf("SPILLWAY_SEED=%d", base)
	tally := newTally()
	frames, failed := agree(t, base, fresh.Number(t, "SPILLWAY_ROUND", 0), enough(t), tally,
		func(why string) { t.Error(why) })
	t.Logf("%d frames: %s", frames, tally)
	if failed == 0 && frames >= wantFrames {
		tally.check(t)
	} else if os.Getenv("SPILLWAY_FUZZ_FOR")+os.Getenv("SPILLWAY_ROUND") == "" {
		t.Errorf("%d frames, want %d", frames, wantFrames)
	}
	if part, ok := fresh.Begin(t); ok {
		agree(t, part.Seed, 0, func(round uint64) bool { return round >= freshRounds }, tally, part.Find)
	}
}

// agree compares rounds from the first one on until it is done, and says what differs. It stops behind the fifth.
func agree(t *testing.T, base, first uint64, done func(round uint64) bool, tally *tally,
	say func(why string)) (frames, failed uint64) {
	t.Helper()
	var next, all, wrong atomic.Uint64
	next.Store(first)
	var group sync.WaitGroup
	var saying sync.Mutex
	for worker := range workers {
		front := compare.Front(worker % 3)
		p := compare.OpenFor(t, front)
		group.Go(func() {
			for wrong.Load() < 5 {
				round := next.Add(1) - 1
				if done(round) {
					return
				}
				n, err := fuzzRound(p, rand.New(rand.NewPCG(base, round)), tally)
				all.Add(uint64(n))
				if err != nil {
					wrong.Add(1)
					saying.Lock()
					say(fmt.Sprintf("SPILLWAY_SEED=%d, round %d, %s: %v", base, round, front, err))
					saying.Unlock()
				}
			}
		})
	}
	group.Wait()
	return all.Load(), wrong.Load()
}

// fuzzRound compares roundFrames frames, and changes the world in between.
func fuzzRound(p *compare.Plane, r *rand.Rand, tally *tally) (frames int, err error) {
	s, err := newSession(p)
	if err != nil {
		return 0, err
	}
	var last packet.Frame
	var visit [][]byte
	condemns := one(r, 3)
	for ; frames < roundFrames; frames++ {
		if frames%worldFrames == 0 {
			if err := change(s, r, frames == 0, condemns); err != nil {
				return frames, err
			}
		}
		if one(r, 10) {
			s.wait(randomWait(r, &s.model.World))
		}
		if len(visit) == 0 && one(r, 15) {
			visit = randomVisit(r)
		}
		var b []byte
		switch {
		case len(visit) > 0:
			b, visit = visit[0], visit[1:]
		case condemns && !one(r, 3):
			b = randomSYN(r).Bytes()
		default:
			last = randomFrame(r, last)
			b = mutated(r, last)
		}
		difference, want, err := s.frame(b)
		if err != nil {
			return frames, fmt.Errorf("run a frame of %d bytes: %w", len(b), err)
		}
		if difference != "" {
			return frames, report(p, s.steps)
		}
		tally.add(want)
	}
	wrong, err := s.end()
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("at the end of the round: %q", wrong)
	}
	return frames, err
}

// change makes another world: all of it, its generations, or its words.
func change(s *session, r *rand.Rand, first, condemns bool) error {
	w := s.model.World
	condemns = condemns && !one(r, 4)
	switch {
	case first || one(r, 20):
		w = randomWorld(r)
	case one(r, 8):
		randomGenerations(r, &w)
	default:
		randomWords(r, &w)
		if condemns {
			allowBlocks(r, &w)
		}
		return s.set(w)
	}
	if condemns {
		condemn(r, &w)
	}
	return s.publish(w)
}

// report shrinks what led to a difference and writes it down.
func report(p *compare.Plane, steps []step) error {
	steps = shrink(p, steps)
	difference, at, err := play(p, steps)
	if err != nil {
		return fmt.Errorf("play the difference again: %w", err)
	}
	if difference == "" {
		return fmt.Errorf("a difference that does not come again from a fresh start; last frame %x",
			steps[len(steps)-1].Frame)
	}
	text, err := json.MarshalIndent(corpusCase{Why: difference, Steps: steps}, "", "\t")
	if err != nil {
		return err
	}
	folder := os.Getenv(fresh.Folder)
	if folder != "" {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	file, err := os.CreateTemp(folder, "spillway-difference-*.json")
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Write(text); err != nil {
		return err
	}
	return fmt.Errorf("%s\n  frame %x\n  %d steps in %s: name it, and move it to %s", difference, steps[at].Frame,
		len(steps), file.Name(), filepath.Join("testdata", "corpus"))
}
