// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"slices"
	"time"

	"github.com/spillway/spillway/userspace/lab"
)

// How busy the lab is: enough to see something within two seconds, and little enough for two slow cores.
const (
	visitorRate = 25
	scannerRate = 50
	crawlerRate = 10
	// visitorTimeout is long, because a busy machine is not a refusal.
	visitorTimeout = 15 * time.Second
)

// What a look at the bots needs before it says something.
const (
	lookSpan    = 3 * time.Second
	readSpan    = 5 * time.Second // on a terminal, where somebody reads along
	lookSYNs    = 60
	lookPages   = 10
	lookBot     = 2 // pages of one bot
	lookBrowser = 3
	// settleLimit bounds how long a switch may take to show; it takes some milliseconds, and the crawler's time-out.
	settleLimit = 20 * time.Second
	lookPause   = 50 * time.Millisecond
)

// traffic is everybody who talks to the origin.
type traffic struct {
	visitors *lab.Visitors
	scanner  *lab.Scanner
	crawler  *lab.Crawler
	bots     *bots         // from the visitors' own addresses
	browser  browser       // a visitor, too
	span     time.Duration // of a look, at least
	// listed is set once a bundle names the bots: until then they are visitors like others.
	listed bool
}

// startTraffic lets visitors and bots in. They leave at stop, or with the lab.
func startTraffic(ctx context.Context, l *lab.Lab, home, exe string, realClients bool) (t traffic, err error) {
	t.visitors, err = l.StartVisitors(ctx, lab.VisitorOptions{
		Rate: visitorRate, Timeout: visitorTimeout, UseCurl: realClients, UseWget: realClients,
	})
	if err == nil {
		t.scanner, err = l.StartScanner(ctx, lab.ScannerOptions{Rate: scannerRate})
	}
	if err == nil {
		t.crawler, err = l.StartCrawler(ctx, lab.CrawlerOptions{Rate: crawlerRate})
	}
	if err == nil {
		err = l.Out.Do(func() error { return receiveAnswers(l.OutIf) })
	}
	if err == nil {
		t.bots, err = startBots(ctx, l, home, exe, !realClients)
	}
	if err == nil {
		t.browser, err = startBrowser(ctx, l, home, !realClients)
	}
	return t, err
}

// stop sends away those who keep files in the demo's folder.
func (t traffic) stop() {
	if t.bots != nil {
		t.bots.stop()
	}
	t.browser.stop()
}

// look is what the bots got in a span of time.
type look struct {
	syns, answers uint64  // of the scanner
	asked, pages  uint64  // of the crawler
	bots          []tally // of those that a bundle names
	span          time.Duration
}

// now returns what the bots got so far.
func (t traffic) now() look {
	s, c := t.scanner.Total(), t.crawler.Total()
	l := look{syns: s.Sent, answers: s.Answered, asked: c.Requests, pages: c.Served(), span: s.Span}
	if t.listed {
		for _, b := range t.bots.all {
			l.bots = append(l.bots, b.sum())
		}
	}
	return l
}

// minus returns what came between m and l. An answer to the last SYN before m is in it; that there are more answers
// than SYNs nobody needs to read.
func (l look) minus(m look) look {
	d := look{l.syns - m.syns, l.answers - m.answers, l.asked - m.asked, l.pages - m.pages, nil, l.span - m.span}
	d.answers, d.pages = min(d.answers, d.syns), min(d.pages, d.asked)
	for i := range l.bots {
		d.bots = append(d.bots, l.bots[i].minus(m.bots[i]))
	}
	return d
}

// all returns the pages of the crawler and of the bots.
func (l look) all() (asked, pages uint64) {
	asked, pages = l.asked, l.pages
	for _, b := range l.bots {
		asked, pages = asked+b.asked, pages+b.served
	}
	return asked, pages
}

func (l look) nothing() bool {
	_, pages := l.all()
	return l.answers == 0 && pages == 0
}

// each reports whether that holds for every bot.
func (l look) each(holds func(tally) bool) bool {
	return !slices.ContainsFunc(l.bots, func(b tally) bool { return !holds(b) })
}

// untilBlocked waits for a span in which every bot tried and none got anything, and reports whether there was one.
// What was under way when the block began is still answered; then the span begins anew.
func (t traffic) untilBlocked(ctx context.Context) (look, bool, error) {
	from := t.now()
	return t.until(ctx, func() (look, bool) {
		l := t.now().minus(from)
		if !l.nothing() {
			from = t.now()
			return l, false
		}
		tried := l.each(func(b tally) bool { return b.asked >= lookBot })
		return l, tried && l.span >= t.span && l.syns >= lookSYNs && l.asked >= lookPages
	})
}

// untilServed waits for a span in which every bot got what it asked for, and reports whether there was one.
func (t traffic) untilServed(ctx context.Context) (look, bool, error) {
	from := t.now()
	return t.until(ctx, func() (look, bool) {
		l := t.now().minus(from)
		served := l.each(func(b tally) bool { return b.served >= lookBot })
		return l, served && l.span >= t.span && l.answers >= lookSYNs/2 && l.pages >= lookPages/2
	})
}

// untilListed is untilServed for the bots among the visitors alone.
func (t traffic) untilListed(ctx context.Context) (look, bool, error) {
	from := t.now()
	return t.until(ctx, func() (look, bool) {
		l := t.now().minus(from)
		return l, l.each(func(b tally) bool { return b.served >= lookBot })
	})
}

// untilBrowsed waits until the browser has had a few pages more, and returns how they ended.
func (t traffic) untilBrowsed(ctx context.Context) (got tally, _ bool, _ error) {
	from := t.browser.sum()
	_, served, err := t.until(ctx, func() (look, bool) {
		got = t.browser.sum().minus(from)
		return look{}, got.served >= lookBrowser
	})
	return got, served, err
}

// left says who does not take part.
func (t traffic) left() []string {
	if t.browser.left == "" {
		return t.bots.left
	}
	return append(slices.Clone(t.bots.left), t.browser.left)
}

// untilCrawled is untilServed for the crawler alone.
func (t traffic) untilCrawled(ctx context.Context) (look, bool, error) {
	from := t.now()
	return t.until(ctx, func() (look, bool) {
		l := t.now().minus(from)
		return l, l.span >= t.span && l.pages >= lookPages/2
	})
}

func (t traffic) until(ctx context.Context, ask func() (look, bool)) (look, bool, error) {
	limit := time.After(settleLimit)
	for {
		l, ok := ask()
		if ok {
			return l, true, nil
		}
		select {
		case <-ctx.Done():
			return l, false, ctx.Err()
		case <-limit:
			return l, false, nil
		case <-time.After(lookPause):
		}
	}
}
