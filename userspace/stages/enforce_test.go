// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// reload publishes one of the two host files.
func (s *site) reload(t *testing.T, i int) {
	t.Helper()
	s.file = s.hosts[i]
	k, done, err := s.mg.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if _, err := s.mg.PublishHost(k, s.file, view.ModeOf(s.file.Host.MaxMode)); err != nil {
		t.Fatal(err)
	}
}

// What was applied while the host observed does not block with the reload that lets it: last-known-good decides from
// the moment of the reload, and the set comes in stages.
func TestSetThatWasObservedComesInStages(t *testing.T) {
	for _, known := range []bool{false, true} {
		s := newSite(t, 1)
		if known {
			if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
				t.Fatal(err)
			}
			s.done(t)
		}
		s.reload(t, 1)
		if _, err := s.apply(s.bundles[1], api.RolloutRequest{}); err != nil {
			t.Fatal(err)
		}
		s.until(t, "it is observed", func() bool { return s.stable()[s.bundles[1].Digest] })
		s.looks(2)
		s.reload(t, 0)
		if s.k.control.Mode != bpf.ModeEnforce || s.stable()[s.bundles[1].Digest] ||
			s.stable()[s.bundles[0].Digest] != known || s.k.control.Previous != 0 {
			t.Fatalf("known %t: word %+v, stable %v", known, s.k.control, s.stable())
		}
		f := NewFront(s.mg, s.st)
		if !f.Waits() {
			t.Fatal("nothing comes")
		}
		f.TakeUp()
		s.until(t, "canary", func() bool { return s.k.control.Canary > 0 })
		s.done(t)
		if r := s.ledger.Record(); !s.stable()[s.bundles[1].Digest] || r.LastKnownGood.Digest != s.bundles[1].Digest {
			t.Errorf("known %t: stable %v\n  %s", known, s.stable(), s.said())
		}
		if fault := s.holds(true); fault != "" {
			t.Error(fault)
		}
	}
}
