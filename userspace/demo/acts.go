// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/userspace/api"
)

// acts is how many there are.
const acts = 9

// playActs plays them in order. An act that cannot go on ends the demo; a promise that does not hold is noted, and the
// next act is played.
func (s *show) playActs(ctx context.Context) error {
	for i, a := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"Observe: what would be blocked?", s.observe},
		{"Enforce: the bots stop, the visitors do not notice", s.enforce},
		{"JA4: the bots among the visitors", s.listBots},
		{"Limit: a crawler is slowed, the visitors of its network are not", s.limit},
		{"18 November 2025: the feature file that took a CDN down", s.november},
		{"SIGKILL the agent in the middle of an apply", s.killAgent},
		{"Rollback: undo a mistake with one store", s.rollback},
		{"Bypass: the kill switch, on and off", s.bypass},
		{"Stages: a bundle that would block a browser never meets one", s.stages},
	} {
		s.act.Store(int32(i + 1))
		s.screen.headline(fmt.Sprintf("%d  %s", i+1, a.title))
		if err := a.play(ctx); err != nil {
			return fmt.Errorf("act %d: %w", i+1, err)
		}
	}
	return nil
}

// do shows a command and runs it.
func (s *show) do(ctx context.Context, args ...string) (result, error) {
	s.screen.command(args...)
	return s.edge.run(ctx, args...)
}

// must is do for a command without which the demo cannot go on.
func (s *show) must(ctx context.Context, args ...string) (result, error) {
	r, err := s.do(ctx, args...)
	if err == nil && r.exit != 0 {
		err = fmt.Errorf("spillway %s: exit code %d: %s", strings.Join(args, " "), r.exit, r.complaint())
	}
	return r, err
}

// observe applies the bundle where the host file allows no more than counting.
func (s *show) observe(ctx context.Context) error {
	if err := s.edge.work.writeHost(config.ModeObserve, s.edge.lab.EdgeIf); err != nil {
		return err
	}
	s.screen.say("%s says guards: {rollout: direct}: what is valid counts at once. The last act has the default, stages.",
		hostFile)
	s.screen.command("run", "&")
	var err error
	if s.agent, err = s.edge.startAgent(ctx); err != nil {
		return err
	}
	if _, err := s.must(ctx, "apply", bundleFile); err != nil {
		return err
	}
	l, served, err := s.traffic.untilServed(ctx)
	if err != nil {
		return err
	}
	status, err := s.edge.status(ctx)
	if err != nil {
		return err
	}
	scanner, crawler := connectionsOf(status, "would_drop", "tcp_fingerprint"), connectionsOf(status,
		"would_drop", "prefix")
	blocked := connectionsOf(status, "drop", "")
	s.screen.say("Would be blocked: %d connections by TCP fingerprint, %d by prefix.", scanner, crawler)
	s.screen.say("Blocked: %d. Bots: %s", blocked, l)
	s.ledger.see(observeBlocksNothing, served && scanner > 0 && crawler > 0 && blocked == 0,
		"%d would be blocked, %d were", scanner+crawler, blocked)
	return nil
}

// connectionsOf sums the kernel's connections of a verdict and a reason, "" being all reasons.
func connectionsOf(s *api.Status, verdict, reason string) uint64 {
	var sum uint64
	for _, p := range s.Packets {
		if p.Verdict == verdict && (reason == "" || p.Reason == reason) {
			sum += p.Connections
		}
	}
	return sum
}

// enforce lets the host file allow blocking.
func (s *show) enforce(ctx context.Context) error {
	if err := s.edge.work.writeHost(config.ModeEnforce, s.edge.lab.EdgeIf); err != nil {
		return err
	}
	s.screen.say("%s now says max_mode: enforce", hostFile)
	if _, err := s.must(ctx, "reload"); err != nil {
		return err
	}
	l, blocked, err := s.traffic.untilBlocked(ctx)
	if err != nil {
		return err
	}
	s.screen.say("Bots: %s", l)
	s.ledger.see(enforceStopsBots, blocked, "%s", l.short())
	s.footing, _, err = s.edge.footing(ctx)
	return err
}

// String says what the bots got.
func (l look) String() string {
	asked, pages := l.all()
	return fmt.Sprintf("%d of %d SYNs answered, %d of %d pages served.", l.answers, l.syns, pages, asked)
}

// short is the same for the table.
func (l look) short() string {
	asked, pages := l.all()
	return fmt.Sprintf("%d/%d SYNs, %d/%d pages answered", l.answers, l.syns, pages, asked)
}

// november applies the two feature files: with the command, and past it to learn the agent's reason by its code.
func (s *show) november(ctx context.Context) error {
	for _, f := range []struct {
		file, code string
		promise    int
	}{
		{doubledFile, yaml.CodeDuplicate, doubledIsRefused},
		{tooBigFile, yaml.CodeCapacity, tooBigIsRefused},
	} {
		r, err := s.do(ctx, "apply", f.file)
		if err != nil {
			return err
		}
		s.quoteRefusal(r.complaint())
		agentRefused, err := s.applyPastCommand(ctx, f.file, f.code)
		if err != nil {
			return err
		}
		after, _, err := s.edge.footing(ctx)
		if err != nil {
			return err
		}
		change := s.footing.difference(after)
		held := r.exit != 0 && agentRefused && change == ""
		if change == "" {
			change = fmt.Sprintf("refused, generation %d stays", after.Number)
		}
		s.ledger.see(f.promise, held, "%s", change)
	}
	l, blocked, err := s.traffic.untilBlocked(ctx)
	if err != nil {
		return err
	}
	if !blocked {
		s.ledger.see(tooBigIsRefused, false, "bots get through: %s", l)
	}
	s.screen.say("Generation %d stays. Bots: %s", s.footing.Number, l)
	return nil
}

// applyPastCommand sends a bundle to the agent without the command's own checks, and reports whether the agent refuses
// it for the expected reason.
func (s *show) applyPastCommand(ctx context.Context, file, code string) (bool, error) {
	upload, err := api.Pack(s.edge.work.path(file))
	if err != nil {
		return false, err
	}
	client := api.NewClient(s.edge.work.socket())
	defer client.Close()
	_, err = client.Apply(ctx, upload, api.ApplyOptions{})
	var refusal *api.Error
	if err != nil && !errors.As(err, &refusal) {
		return false, err
	}
	return err != nil && refusal.Code == api.CodeRefused && refusal.Faults != nil && refusal.Faults.Counts[code] > 0, nil
}

// quoteRefusal shows the first fault of a refusal, and how many more there are.
func (s *show) quoteRefusal(text string) {
	for i, line := range strings.Split(text, "\n") {
		if i == 0 || strings.HasPrefix(line, "and ") {
			s.screen.quote(line)
		}
	}
}
