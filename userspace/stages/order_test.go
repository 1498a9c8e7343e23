// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release"
)

// A look that comes between an order and its change does not take the order for one that is over.
func TestLookBesideAnOrderLosesNothing(t *testing.T) {
	s := newSite(t, 1)
	var orders []*release.Wanted
	for range 100 {
		b := s.bundles[len(orders)%3]
		s.disk.Sets[b.Digest] = s.setOf(b)
		w, err := s.mg.Order(t.Context(), person, api.RolloutRequest{Stored: hexOf(b)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		orders = append(orders, w)
	}
	ctx, stop := context.WithCancel(t.Context())
	var looks sync.WaitGroup
	looks.Go(func() {
		for ctx.Err() == nil {
			s.st.Look()
		}
	})
	for _, w := range orders {
		if _, err := s.st.Ask(w.Order, w.Change); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond)
		s.st.mu.Lock()
		for _, c := range s.st.memory.changes() {
			if s.st.memory.order(c.ID) == nil {
				t.Errorf("change %s has no order", c.ID)
			}
		}
		s.st.mu.Unlock()
	}
	stop()
	looks.Wait()
}

// A rollout whose order is lost ends, and the next one has its turn.
func TestRolloutWithoutAnOrderEnds(t *testing.T) {
	s := newSite(t, 1)
	if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.st.memory.Stories = nil
	s.looks(2)
	if s.st.memory.runs() {
		t.Errorf("it goes on: %+v", s.st.memory.State.Main)
	}
	if _, err := s.apply(s.bundles[1], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.done(t)
	if !s.stable()[s.bundles[1].Digest] {
		t.Errorf("stable %v\n  %s", s.stable(), s.said())
	}
}
