// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// CrawlerOptions describe a crawler from the prefixes that a bundle denies.
type CrawlerOptions struct {
	Rate      float64       // requests per second, 0.1 to 2000; 0 means 10
	Timeout   time.Duration // of a whole request, up to 30 s; 0 means 1 s
	TLSPort   uint16        // 0 means 443
	PlainPort uint16        // 0 means 80
}

// Crawler is a bot that speaks perfect HTTP, from addresses of
// CrawlerPrefix4 and CrawlerPrefix6, over TLS and plain in turn.
type Crawler struct{ *crowd }

// StartCrawler starts the crawler. It ends with ctx, at Stop, or with the lab.
func (l *Lab) StartCrawler(ctx context.Context, o CrawlerOptions) (*Crawler, error) {
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	if err := checkRate(&o.Rate, &o.Timeout, 10); err != nil {
		return nil, fmt.Errorf("start crawler: %w", err)
	}
	ports := OriginOptions{TLSPort: o.TLSPort, PlainPort: o.PlainPort}.withDefaults()
	src := crawlerSources()
	conf := l.clientTLS()
	c := &Crawler{newCrowd(ctx, l.Out, "go", src, func(n uint64) target {
		t := target{timeout: o.Timeout, agent: "lab-crawler/1"}
		port := ports.PlainPort
		// The families change with every request, the schemes with every second.
		if n/2%2 == 0 {
			t.tls, port = conf, ports.TLSPort
		}
		t.addr = netip.AddrPortFrom(edgeAddrFor(src.pick(n)), port)
		return t
	})}
	if err := l.add(c); err != nil {
		return nil, fmt.Errorf("start crawler: %w", errors.Join(err, c.Close()))
	}
	c.start(o.Rate)
	return c, nil
}
