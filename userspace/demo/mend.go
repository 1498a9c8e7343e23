// SPDX-License-Identifier: Apache-2.0

package demo

import "context"

// rollback applies a bundle with a mistake in it, sees the crawler come back, and takes the bundle back.
func (s *show) rollback(ctx context.Context) error {
	if _, err := s.must(ctx, "apply", mistakeFile); err != nil {
		return err
	}
	l, slipped, err := s.traffic.untilCrawled(ctx)
	if err != nil {
		return err
	}
	s.screen.say("The crawler's network is missing in this bundle: it gets %d of %d pages.", l.pages, l.asked)
	r, err := s.must(ctx, "rollback", "--reason", "the crawler is back")
	if err != nil {
		return err
	}
	l, blocked, err := s.traffic.untilBlocked(ctx)
	if err != nil {
		return err
	}
	after, _, err := s.edge.footing(ctx)
	if err != nil {
		return err
	}
	s.screen.say("Generation %d is back. The command took %d ms.", after.Number, r.took.Milliseconds())
	s.screen.say("Bots: %s", l)
	back := after.Number == s.footing.Number && after.Digest == s.footing.Digest
	s.ledger.see(rollbackRestores, slipped && blocked && back, "generation %d is back, bots get 0", after.Number)
	return nil
}

// bypass throws the kill switch, and takes it back.
func (s *show) bypass(ctx context.Context) error {
	if _, err := s.must(ctx, "bypass", "on", "--for", "10m", "--reason", "show the kill switch"); err != nil {
		return err
	}
	through, passed, err := s.traffic.untilServed(ctx)
	if err != nil {
		return err
	}
	s.screen.say("Bots: %s", through)
	if _, err := s.must(ctx, "bypass", "off", "--reason", "shown"); err != nil {
		return err
	}
	l, blocked, err := s.traffic.untilBlocked(ctx)
	if err != nil {
		return err
	}
	s.screen.say("Bots: %s", l)
	_, throughPages := through.all()
	_, pages := l.all()
	s.ledger.see(bypassOnOff, passed && blocked, "on: %d SYNs, %d pages; off: %d, %d", through.answers,
		throughPages, l.answers, pages)
	return nil
}
