// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/spillway/spillway/config"
)

// killAttempts is how often the demo tries to hit the middle of an apply. On a machine that is busy at the wrong moment
// the apply may win.
const killAttempts = 5

// killAgent kills it while a generation is being built, looks at what protects without it, and starts it again.
func (s *show) killAgent(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		hit, err := s.killInApply(ctx, attempt)
		if err != nil {
			return err
		}
		if hit {
			break
		}
		if attempt == killAttempts {
			return fmt.Errorf("%d applies in a row were faster than the kill", attempt)
		}
		s.screen.say("The apply was faster than the kill. Once more, with another bundle.")
	}
	if err := s.withoutAgent(ctx); err != nil {
		return err
	}
	return s.restart(ctx)
}

// killInApply applies a large bundle and kills the agent in its middle. When the apply wins it reports false; then the
// agent runs, and the new generation is the footing.
func (s *show) killInApply(ctx context.Context, attempt int) (hit bool, err error) {
	file, digest, err := s.edge.work.writeFeed(attempt, s.known)
	if err != nil {
		return false, err
	}
	apply := []string{"apply", file, "--accept", "a larger feed, checked"}
	s.screen.command(apply...)
	pid := s.agent.cmd.Process.Pid
	before, err := newestMap()
	if err != nil {
		return false, err
	}
	begin := time.Now()
	var r result
	ended := make(chan error, 1)
	go func() {
		var err error
		r, err = s.edge.run(ctx, apply...)
		ended <- err
	}()
	caught, err := untilBuilding(pid, before, ended)
	if caught {
		s.agent.kill()
		took := time.Since(begin)
		if err = <-ended; err == nil {
			s.screen.say("Killed after %d ms, while the tables of %d prefixes were being built.", took.Milliseconds(), feedRows)
		}
	}
	if err != nil {
		return false, err
	}
	if !caught && r.exit != 0 {
		return false, fmt.Errorf("spillway apply %s: exit code %d: %s", file, r.exit, r.complaint())
	}
	return s.judgeKill(ctx, caught, digest)
}

// judgeKill tells the three outcomes apart: nothing changed; the apply was complete before the kill; and anything else,
// which would break the promise.
func (s *show) judgeKill(ctx context.Context, caught bool, applied config.Digest) (hit bool, err error) {
	after, _, err := s.edge.footing(ctx)
	if err != nil {
		return false, err
	}
	if after.Digest != applied {
		if change := s.footing.difference(after); change != "" {
			s.ledger.see(killIsHarmless, false, "%s", change)
		}
		return true, nil
	}
	if caught {
		if s.agent, err = s.edge.startAgent(ctx); err != nil {
			return false, err
		}
	}
	s.footing, _, err = s.edge.footing(ctx)
	return false, err
}

// withoutAgent looks at the bots while nobody is there but the kernel.
func (s *show) withoutAgent(ctx context.Context) error {
	l, blocked, err := s.traffic.untilBlocked(ctx)
	if err != nil {
		return err
	}
	status, err := s.edge.status(ctx)
	if err != nil {
		return err
	}
	change := s.footing.difference(footingOf(status))
	s.screen.say("No agent runs. Bots: %s", l)
	if change != "" {
		s.screen.say("Not as promised: %s", change)
		s.ledger.see(killIsHarmless, false, "%s", change)
	}
	s.ledger.see(killIsHarmless, blocked, "%s", l.short())
	return nil
}

// restart starts the agent again and compares.
func (s *show) restart(ctx context.Context) (err error) {
	s.screen.command("run", "&")
	if s.agent, err = s.edge.startAgent(ctx); err != nil {
		return err
	}
	after, _, err := s.edge.footing(ctx)
	if err != nil {
		return err
	}
	if change := s.footing.difference(after); change != "" {
		s.screen.say("Not as promised: %s", change)
		s.ledger.see(restartAdopts, false, "%s", change)
		return nil
	}
	s.screen.say("Adopted as it was: generation %d, link %d, the same control word.", after.Number, after.Link)
	s.ledger.see(restartAdopts, true, "generation %d, link %d, as before", after.Number, after.Link)
	return nil
}
