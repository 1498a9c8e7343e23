// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spillway/spillway/userspace/lab"
)

// The limit of the bundle, and the crawler that meets it.
const (
	limitBurst    = 5
	limitInterval = time.Second // from one connection to the next, by the rate below
	limitRate     = "{connections: 60/m, burst: 5, by: prefix}"

	crawlSpan   = 5 * time.Second
	crawlAtOnce = 16
	// crawlPatience is how long the crawler waits for a page: a connection over the limit waits, too.
	crawlPatience = time.Second
)

// crawl is what a crawler got that went as fast as it could.
type crawl struct {
	made, served uint64
	took         time.Duration // from before its first connection until its last had ended
}

// bound is how many connections the rate admits in that time, whatever the machine does meanwhile.
func (c crawl) bound() uint64 { return limitBurst + uint64(c.took/limitInterval) }

// crawlers are the visitors' own IPv4 addresses: one prefix for a limit by prefix.
func crawlers() (all []trip) {
	for _, t := range trips() {
		if t.source.Is4() {
			all = append(all, t)
		}
	}
	return all
}

// crawl asks for pages as fast as it is let, for crawlSpan. A machine that is too busy to serve even the burst gets
// more time, which the bound grows with.
func (s *show) crawl(ctx context.Context) (c crawl) {
	var mu sync.Mutex // guards c
	var wg sync.WaitGroup
	all := crawlers()
	begin := time.Now()
	goesOn := func() bool {
		mu.Lock()
		defer mu.Unlock()
		took := time.Since(begin)
		return ctx.Err() == nil && (took < crawlSpan || (c.served < limitBurst && took < settleLimit))
	}
	for n := range crawlAtOnce {
		wg.Go(func() {
			// Those that wait in step would all miss the moment in which there is room.
			time.Sleep(time.Duration(n) * crawlPatience / crawlAtOnce)
			for goesOn() {
				cause := getPage(ctx, s.edge.lab, all[n%len(all)], crawlPatience)
				mu.Lock()
				c.made++
				if cause == "" {
					c.served++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	c.took = time.Since(begin)
	return c
}

// limit slows a bot that crawls from the visitors' own network.
func (s *show) limit(ctx context.Context) error {
	s.screen.say("In %s %s scores as much as a limit, and less than a drop: rate: %s.", limitFile, goName, limitRate)
	// The bot that asks now and then would take its part of the rate.
	s.traffic.bots.pauseGo(true)
	defer s.traffic.bots.pauseGo(false)
	if _, err := s.must(ctx, "apply", limitFile); err != nil {
		return err
	}
	before := s.traffic.visitors.Total()
	c := s.crawl(ctx)
	after := s.traffic.visitors.Total()
	if err := ctx.Err(); err != nil {
		return err
	}
	s.screen.say("It crawls from %d addresses of %s as fast as it can: %d connections in %.1f s, %d served. "+
		"The rate promises at most %d: %d at once, and one a second.",
		len(crawlers()), lab.VisitorPrefix4, c.made, c.took.Seconds(), c.served, c.bound(), limitBurst)
	asked := after.ByFamily["ipv4"].Requests - before.ByFamily["ipv4"].Requests
	failed := after.ByFamily["ipv4"].Failures - before.ByFamily["ipv4"].Failures
	s.screen.say("Visitors from the same %s meanwhile: %d of %d pages.", lab.VisitorPrefix4, asked-failed, asked)
	if err := s.quoteLimits(ctx); err != nil {
		return err
	}
	s.ledger.see(limitSlows, c.served <= c.bound() && c.served >= limitBurst && c.made > c.served,
		"%d of %d served in %.1f s, at most %d", c.served, c.made, c.took.Seconds(), c.bound())
	s.ledger.see(limitSparesVisitors, asked > 0 && failed == 0, "%d of %d pages", asked-failed, asked)
	if _, err := s.must(ctx, "apply", ja4File); err != nil {
		return err
	}
	var err error
	s.footing, _, err = s.edge.footing(ctx)
	return err
}

// quoteLimits shows what the kernel counted, as an engineer would look for it.
func (s *show) quoteLimits(ctx context.Context) error {
	r, err := s.must(ctx, "status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(r.stdout) {
		switch verdict, _, _ := strings.Cut(line, " "); verdict {
		case "VERDICT", "limit", "tag":
			s.screen.print(clip(fmt.Sprintf("  | %s", strings.TrimRight(line, " \n")), s.screen.columns()))
		}
	}
	return nil
}
