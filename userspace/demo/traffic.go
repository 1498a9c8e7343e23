// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
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
	lookSpan  = 3 * time.Second
	readSpan  = 5 * time.Second // on a terminal, where somebody reads along
	lookSYNs  = 60
	lookPages = 10
	// settleLimit bounds how long a switch may take to show; it takes some milliseconds, and the crawler's time-out.
	settleLimit = 20 * time.Second
	lookPause   = 50 * time.Millisecond
)

// traffic is everybody who talks to the origin.
type traffic struct {
	visitors *lab.Visitors
	scanner  *lab.Scanner
	crawler  *lab.Crawler
	span     time.Duration // of a look, at least
}

// startTraffic lets visitors and bots in. They leave with the lab.
func startTraffic(ctx context.Context, l *lab.Lab, realClients bool) (t traffic, err error) {
	t.visitors, err = l.StartVisitors(ctx, lab.VisitorOptions{
		Rate: visitorRate, Timeout: visitorTimeout, UseCurl: realClients, UseWget: realClients,
	})
	if err == nil {
		t.scanner, err = l.StartScanner(ctx, lab.ScannerOptions{Rate: scannerRate})
	}
	if err == nil {
		t.crawler, err = l.StartCrawler(ctx, lab.CrawlerOptions{Rate: crawlerRate})
	}
	return t, err
}

// look is what the bots got in a span of time.
type look struct {
	syns, answers uint64 // of the scanner
	asked, pages  uint64 // of the crawler
	span          time.Duration
}

// now returns what the bots got so far.
func (t traffic) now() look {
	s, c := t.scanner.Total(), t.crawler.Total()
	return look{syns: s.Sent, answers: s.Answered, asked: c.Requests, pages: c.Served(), span: s.Span}
}

// minus returns what came between m and l. An answer to the last SYN before m is in it; that there are more answers than
// SYNs nobody needs to read.
func (l look) minus(m look) look {
	d := look{l.syns - m.syns, l.answers - m.answers, l.asked - m.asked, l.pages - m.pages, l.span - m.span}
	d.answers, d.pages = min(d.answers, d.syns), min(d.pages, d.asked)
	return d
}

func (l look) nothing() bool { return l.answers == 0 && l.pages == 0 }

// untilBlocked waits for a span in which both bots tried and neither got anything, and reports whether there was one.
// What was under way when the block began is still answered; then the span begins anew.
func (t traffic) untilBlocked(ctx context.Context) (look, bool, error) {
	from := t.now()
	return t.until(ctx, func() (look, bool) {
		l := t.now().minus(from)
		if !l.nothing() {
			from = t.now()
			return l, false
		}
		return l, l.span >= t.span && l.syns >= lookSYNs && l.asked >= lookPages
	})
}

// untilServed waits for a span in which both bots got what they asked for, and reports whether there was one.
func (t traffic) untilServed(ctx context.Context) (look, bool, error) {
	from := t.now()
	return t.until(ctx, func() (look, bool) {
		l := t.now().minus(from)
		return l, l.span >= t.span && l.answers >= lookSYNs/2 && l.pages >= lookPages/2
	})
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
