// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/lab"
	screens "github.com/spillway/spillway/userspace/show"
)

// recentEvents is how many decisions are asked for; each bot is among them.
const recentEvents = 1000

// botRules are the rules of the bundle that name the bots.
var botRules = map[string]string{pythonName: "python", goName: "go-http", mimicName: chromeRule}

// listBots applies the bundle that knows the bots by what they say, not by where they are.
func (s *show) listBots(ctx context.Context) error {
	s.traffic.listed = true
	l, served, err := s.traffic.untilListed(ctx)
	if err != nil {
		return err
	}
	s.screen.say("Some bots come from the visitors' own addresses, in %s and %s. No list can name them: %s",
		lab.VisitorPrefix4, lab.VisitorPrefix6, l.ofBots())
	if err := s.showPlan(ctx); err != nil {
		return err
	}
	if _, err := s.must(ctx, "apply", ja4File); err != nil {
		return err
	}
	l, blocked, err := s.traffic.untilBlocked(ctx)
	if err != nil {
		return err
	}
	s.ledger.see(ja4StopsBots, served && blocked, "%s", strings.TrimSuffix(l.ofBots(), "."))
	if err := s.tellBots(ctx, l); err != nil {
		return err
	}
	s.judgeReset(l)
	if err := s.judgeBrowser(ctx); err != nil {
		return err
	}
	s.footing, _, err = s.edge.footing(ctx)
	return err
}

// showPlan shows what the bundle adds, as an engineer would look at it before.
func (s *show) showPlan(ctx context.Context) error {
	r, err := s.do(ctx, "plan", ja4File)
	if err != nil {
		return err
	}
	for line := range strings.Lines(r.stdout) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "+ ja4") || strings.Contains(line, " to add") {
			s.screen.quote(line)
		}
	}
	return nil
}

// ofBots says what the bots among the visitors got.
func (l look) ofBots() string {
	var sum tally
	for _, b := range l.bots {
		sum.asked, sum.served = sum.asked+b.asked, sum.served+b.served
	}
	return fmt.Sprintf("%d of %d pages served.", sum.served, sum.asked)
}

// tellBots says of each bot what it got, what the kernel saw of it, and who is known to send that.
func (s *show) tellBots(ctx context.Context, l look) error {
	blocks, err := s.blocks(ctx)
	if err != nil {
		return err
	}
	for i, b := range s.traffic.bots.all {
		got := fmt.Sprintf("%s: %d of %d pages", b.name, l.bots[i].served, l.bots[i].asked)
		if over := s.traffic.bots.over(b); over != "" {
			got += ". Its program ended (" + over + "): " + b.lastWords()
		}
		e, blocked := blocks[botRules[b.name]]
		if blocked && e.Score != nil {
			got += fmt.Sprintf("; score %d, %s", *e.Score, e.Verdict)
		}
		s.screen.say("%s", got)
		if blocked {
			s.screen.wrap("    ", "      ", fmt.Sprintf("%s: %s", e.JA4, cmp.Or(screens.ClientNames(e.JA4), "nobody known")))
		}
	}
	return nil
}

// blocks returns, by rule, one decision that blocked a connection whose JA4 is known.
func (s *show) blocks(ctx context.Context) (map[string]api.Event, error) {
	seen := map[string]api.Event{}
	client := api.NewClient(s.edge.work.socket())
	defer client.Close()
	err := client.Events(ctx, recentEvents, false, func(e api.Event) error {
		if e.JA4 != "" && (e.Verdict == "drop" || e.Verdict == "reset") {
			seen[e.Rule] = e
		}
		return nil
	})
	return seen, err
}

// judgeReset looks at the bot whose score is a reset: with a drop it would wait for its time-out.
func (s *show) judgeReset(l look) {
	for i, b := range s.traffic.bots.all {
		if b.name == pythonName {
			s.ledger.see(resetIsHeard, l.bots[i].resets > 0, "Python: %d of %d connections reset",
				l.bots[i].resets, l.bots[i].asked)
			return
		}
	}
	s.ledger.leave(resetIsHeard, "left out: "+pythonName)
}

// judgeBrowser looks at the visitor who comes with the bots' SYN and a browser's ClientHello.
func (s *show) judgeBrowser(ctx context.Context) error {
	b := s.traffic.browser.client
	if b == nil {
		s.ledger.leave(ja4SparesBrowser, "left out: Chromium")
		return nil
	}
	got, served, err := s.traffic.untilBrowsed(ctx)
	if err != nil {
		return err
	}
	s.screen.say("%s: %d of %d pages. Its SYN is this Linux's, like theirs: score %d. Its ClientHello is younger than the one that uTLS copies; that old Chrome itself, on Linux, would be blocked, too.",
		b.name, got.served, got.asked, linuxScore)
	if over := s.traffic.browser.program.over(); over != "" {
		s.screen.say("It ended (%s): %s", over, b.lastWords())
	}
	s.ledger.see(ja4SparesBrowser, served && got.served == got.asked, "%s: %d of %d pages", b.name, got.served, got.asked)
	return nil
}
