// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// sampleSpan is the window of rates and quantiles on the screen.
const sampleSpan = 2 * time.Second

// sample is what stays on the screen: how the visitors fare, and what the bots get.
type sample struct {
	at      time.Duration // since the demo began; 0 is no sample
	act     int
	rate    float64
	p99     time.Duration
	served  uint64 // in all
	errors  uint64 // in all
	lastErr string
	syns    uint64 // the bots' of the window
	answers uint64
	asked   uint64
	pages   uint64
	bots    []clientSample
	browser clientSample // without a name when there is none
}

// clientSample is one client's window.
type clientSample struct {
	name string
	tally
}

func (c *client) sample() clientSample { return clientSample{c.name, c.window()} }

func (c clientSample) String() string { return fmt.Sprintf("%s %d/%d", c.name, c.served, c.asked) }

// sampleOf looks at everybody.
func (t traffic) sampleOf(at time.Duration, act int) sample {
	v, total := t.visitors.Window(sampleSpan), t.visitors.Total()
	s, c := t.scanner.Window(sampleSpan), t.crawler.Window(sampleSpan)
	// A window counts answers to SYNs from just before it, too; nobody wants to read 101 of 100.
	s.Answered = min(s.Answered, s.Sent)
	x := sample{
		at: at, act: act, rate: v.Rate, p99: v.P99, served: total.Served(), errors: total.Failures,
		lastErr: total.LastError, syns: s.Sent, answers: s.Answered, asked: c.Requests, pages: c.Served(),
	}
	for _, b := range t.bots.all {
		x.bots = append(x.bots, b.sample())
	}
	if b := t.browser.client; b != nil {
		x.browser = b.sample()
		sum := b.sum()
		x.served, x.errors = x.served+sum.served, x.errors+sum.asked-sum.served
		if x.lastErr == "" {
			x.lastErr = b.failure()
		}
	}
	return x
}

// watch shows a sample again and again until ctx ends.
func (t traffic) watch(ctx context.Context, s *screen, begin time.Time, act func() int) {
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		s.show(t.sampleOf(time.Since(begin), act()))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// line is the sample on a pipe.
func (x sample) line() string {
	var bots tally
	for _, b := range x.bots {
		bots.asked, bots.served = bots.asked+b.asked, bots.served+b.served
	}
	return fmt.Sprintf("  %3.0f s  visitors %2.0f/s, p99 %s, errors %d | SYN %d/%d, net %d/%d, JA4 %d/%d",
		x.at.Seconds(), x.rate, shortDuration(x.p99), x.errors, x.answers, x.syns, x.pages, x.asked, bots.served, bots.asked)
}

// panel is the sample on a terminal: a rule and some lines, none of them wider than width.
func (x sample) panel(width int) []string {
	left, right := fmt.Sprintf("-- %.0f s ", x.at.Seconds()), fmt.Sprintf(" act %d of %d --", x.act, acts)
	rule := left + strings.Repeat("-", max(0, width-len(left)-len(right))) + right
	visitors := fmt.Sprintf("  visitors  %.0f/s, p99 %s, errors %d, served %d", x.rate,
		shortDuration(x.p99), x.errors, x.served)
	if x.browser.name != "" {
		visitors += fmt.Sprintf("; %v", x.browser)
	}
	if x.errors > 0 {
		visitors += ": " + x.lastErr
	}
	bots := fmt.Sprintf("  bots      scanner %d of %d SYNs answered, crawler %d of %d pages", x.answers,
		x.syns, x.pages, x.asked)
	names := make([]string, len(x.bots))
	for i, b := range x.bots {
		names[i] = b.String()
	}
	return []string{clip(rule, width), clip(visitors, width), clip(bots, width),
		clip("  by JA4    "+strings.Join(names, ", "), width)}
}

// clip cuts a line to the given columns.
func clip(text string, width int) string {
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width])
	}
	return text
}

// shortDuration is a latency for people: 850 us, 12 ms, 1.4 s.
func shortDuration(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
