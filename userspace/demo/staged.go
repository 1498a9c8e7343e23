// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/lab"
)

// Who comes while bundles go in stages. A vote is one source prefix: each of them has many.
const (
	widePrefixes  = 4096
	guestRate     = 80
	botnetRate    = 15
	botnetTimeout = 2 * time.Second
	// browsersPause is between two pages of the browser that many have.
	browsersPause = 100 * time.Millisecond
	// rolloutLimit bounds one rollout; on two idle cores a good one takes 40 seconds.
	rolloutLimit = 5 * time.Minute
)

// chromeRule is the rule of the imitation in every bundle of the demo.
const chromeRule = "old-chrome"

// The prefixes of the three, all of lab.WidePrefix6.
var (
	guestPrefix    = netip.MustParsePrefix("2001:db8:8000::/36")
	browsersPrefix = netip.MustParsePrefix("2001:db8:9000::/36")
	botnetPrefix   = netip.MustParsePrefix("2001:db8:b000::/36")
)

// wide is who comes from everywhere.
type wide struct {
	guests, botnet *lab.Visitors
	carrier        *carrier
	browsers       browser // one program, whose pages come from many prefixes
}

// startWide lets them in.
func (s *show) startWide(ctx context.Context) (w wide, err error) {
	l := s.edge.lab
	if err := l.Widen(); err != nil {
		return w, err
	}
	for _, c := range []struct {
		to      **lab.Visitors
		from    netip.Prefix
		rate    float64
		timeout time.Duration
	}{{&w.guests, guestPrefix, guestRate, visitorTimeout}, {&w.botnet, botnetPrefix, botnetRate, botnetTimeout}} {
		if *c.to, err = l.StartVisitors(ctx, lab.VisitorOptions{Rate: c.rate, Timeout: c.timeout,
			From: lab.WideSources(c.from, widePrefixes)}); err != nil {
			return w, err
		}
	}
	if s.traffic.browser.client == nil {
		return w, nil
	}
	if w.carrier, err = startCarrier(ctx, l, lab.WideSources(browsersPrefix, widePrefixes)); err != nil {
		return w, err
	}
	w.browsers, err = startChromium(ctx, l, chromium{
		home: s.edge.work.path("wide"), name: s.traffic.browser.name, pause: browsersPause,
		resolve: fmt.Sprintf("MAP *.example 127.0.0.1:%d", w.carrier.port()),
	})
	return w, err
}

// stop sends them away.
func (w *wide) stop() {
	w.browsers.stop()
	if w.carrier != nil {
		w.carrier.stop()
	}
	for _, v := range []*lab.Visitors{w.guests, w.botnet} {
		if v != nil {
			_ = v.Close()
		}
	}
}

// stages applies two bundles where changes go in stages: one that would block a browser, and one that does as it says.
func (s *show) stages(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	w, err := s.startWide(ctx)
	defer func() { cancel(); w.stop() }()
	if err != nil {
		return err
	}
	s.edge.work.staged = true
	if err := s.edge.work.writeHost(config.ModeEnforce, s.edge.lab.EdgeIf); err != nil {
		return err
	}
	s.screen.say("%s asks for rollout: direct no more. Visitors come from thousands of prefixes, and so does a botnet, from %s.",
		hostFile, botnetPrefix)
	if _, err := s.must(ctx, "reload"); err != nil {
		return err
	}
	if err := s.careless(ctx, &w); err != nil {
		return err
	}
	return s.declared(ctx, &w)
}

// careless applies a bundle with a fingerprint that is too wide: what all versions of a browser say.
func (s *show) careless(ctx context.Context, w *wide) error {
	if w.browsers.client == nil {
		s.ledger.leave(shadowCatches, "left out: Chromium")
		return nil
	}
	before, _, err := s.edge.footing(ctx)
	if err != nil {
		return err
	}
	s.screen.say("In %s the fingerprint of the imitation has lost a part, and fits every Chrome. Nobody noticed.", carelessFile)
	ro, err := s.roll(ctx, carelessFile)
	if err != nil {
		return err
	}
	after, _, err := s.edge.footing(ctx)
	if err != nil {
		return err
	}
	got, guests := w.browsers.sum(), w.guests.Total()
	s.screen.say("%s meanwhile: %d of %d pages. Generation %d decides, as before.", w.browsers.name, got.served,
		got.asked, after.Number)
	// A candidate that was compared leaves a new epoch, and decided for nobody.
	after.Control = before.Control
	seen := fmt.Sprintf("%s in %s; browser %d pages, %d lost", ro.State, stageOf(ro), got.served, got.asked-got.served)
	if change := before.difference(after); change != "" {
		seen += "; " + change
	}
	s.ledger.see(shadowCatches, ro.State == api.RolloutHeld && stageOf(ro) == api.StageShadow && blames(ro, chromeRule) &&
		after == before && got.served > 0 && w.browsers.failure() == "" && guests.Failures == 0, "%s", seen)
	return nil
}

// declared applies a bundle that blocks a botnet, and says so.
func (s *show) declared(ctx context.Context, w *wide) error {
	before := w.botnet.Total()
	s.screen.say("%s names the botnet, and says what that blocks: intent: {expects: {new_blocks: 25%%, by: [botnet]}}.",
		declaredFile)
	ro, err := s.roll(ctx, declaredFile)
	if err != nil {
		return err
	}
	met := w.botnet.Total()
	s.screen.say("The botnet got %d of %d pages while it was tried.", met.Served()-before.Served(),
		met.Requests-before.Requests)
	l, blocked, err := s.traffic.until(ctx, func() (look, bool) {
		now := w.botnet.Total()
		l := look{asked: now.Requests - met.Requests, pages: now.Served() - met.Served()}
		if l.pages > 0 {
			met = now
		}
		return l, l.pages == 0 && l.asked >= lookPages
	})
	if err != nil {
		return err
	}
	guests := w.guests.Total()
	s.screen.say("Botnet: %d of %d pages. Visitors from everywhere: %d of %d.", l.pages, l.asked, guests.Served(),
		guests.Requests)
	s.ledger.see(stagesGoOn, ro.State == api.RolloutDone && blocked && guests.Failures == 0,
		"%s; botnet %d/%d pages, visitors %d errors", ro.State, l.pages, l.asked, guests.Failures)
	return nil
}

// blames reports whether a rule is named by what a rollout ended for.
func blames(ro *api.Rollout, rule string) bool {
	return ro.Staged != nil && ro.Staged.Verdict != nil && strings.Contains(ro.Staged.Verdict.Why, "`"+rule+":")
}

// stageOf is the stage in which a rollout ended.
func stageOf(ro *api.Rollout) string {
	if ro.Staged == nil || len(ro.Staged.Decisions) == 0 {
		return "no stage"
	}
	return ro.Staged.Decisions[len(ro.Staged.Decisions)-1].From
}

// roll applies a bundle and tells what each gate decides, until it is over. Where none began, its state says so.
func (s *show) roll(ctx context.Context, file string) (*api.Rollout, error) {
	ctx, cancel := context.WithTimeout(ctx, rolloutLimit)
	defer cancel()
	client := api.NewClient(s.edge.work.socket())
	defer client.Close()
	before, err := client.Rollouts(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.must(ctx, "apply", file); err != nil {
		return nil, err
	}
	all, err := client.Rollouts(ctx)
	if err != nil {
		return nil, err
	}
	if len(all.Rollouts) == 0 || slices.ContainsFunc(before.Rollouts,
		func(ro api.Rollout) bool { return ro.ID == all.Rollouts[0].ID }) {
		return &api.Rollout{State: "no rollout began"}, nil
	}
	last, told := &all.Rollouts[0], 0
	for !last.Over() {
		err := client.FollowRollout(ctx, last.ID, func(ro *api.Rollout) error {
			last = ro
			if ro.Staged == nil {
				return nil
			}
			for ; told < len(ro.Staged.Decisions); told++ {
				d := ro.Staged.Decisions[told]
				s.screen.quote(d.Gate + ": " + d.Sentence)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return last, nil
}
