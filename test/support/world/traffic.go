// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/lab"
)

// Traffic is who knocks on the edge while something happens to the agent.
type Traffic struct {
	Visitors *lab.Visitors
	Scanner  *lab.Scanner
	Crawler  *lab.Crawler

	scanned, crawled uint64 // what bots had got at the last Count
}

// StartTraffic starts a web server and who knocks on it.
func StartTraffic(t testing.TB, e *Edge) *Traffic {
	t.Helper()
	return StartTrafficOf(t, e, 50)
}

// StartTrafficOf is StartTraffic with so many requests of visitors a second.
func StartTrafficOf(t testing.TB, e *Edge, rate float64) *Traffic {
	t.Helper()
	ctx := t.Context()
	origin, err := e.StartOrigin(ctx, lab.OriginOptions{})
	Must(t, err)
	t.Cleanup(func() { _ = origin.Close() })
	tr := &Traffic{}
	tr.Visitors, err = e.StartVisitors(ctx, lab.VisitorOptions{Rate: rate, Timeout: 30 * time.Second})
	Must(t, err)
	t.Cleanup(func() { _ = tr.Visitors.Close() })
	tr.Scanner, err = e.StartScanner(ctx, lab.ScannerOptions{Rate: 200})
	Must(t, err)
	t.Cleanup(func() { _ = tr.Scanner.Close() })
	tr.Crawler, err = e.StartCrawler(ctx, lab.CrawlerOptions{Rate: 10, Timeout: time.Second})
	Must(t, err)
	t.Cleanup(func() { _ = tr.Crawler.Close() })
	return tr
}

// BotsAreStopped waits until bots that go on trying get nothing.
func (tr *Traffic) BotsAreStopped(t testing.TB) {
	t.Helper()
	Eventually(t, "bots get nothing", func() bool {
		scan, crawl := tr.Scanner.Total(), tr.Crawler.Total()
		Eventually(t, "bots go on trying", func() bool {
			return tr.Scanner.Total().Sent > scan.Sent+100 && tr.Crawler.Total().Requests > crawl.Requests+3
		})
		return tr.Scanner.Total().Answered == scan.Answered && tr.Crawler.Total().Served() == crawl.Served()
	})
}

// BotsAreServed waits until bots are answered.
func (tr *Traffic) BotsAreServed(t testing.TB) {
	t.Helper()
	scan, crawl := tr.Scanner.Total(), tr.Crawler.Total()
	Eventually(t, "bots are answered", func() bool {
		return tr.Scanner.Total().Answered > scan.Answered+50 && tr.Crawler.Total().Served() > crawl.Served()+2
	})
}

// Count takes what bots got so far as given.
func (tr *Traffic) Count() {
	tr.scanned, tr.crawled = tr.Scanner.Total().Answered, tr.Crawler.Total().Served()
}

// Leaked says what bots got since Count, which is what counts from then on; "" is nothing.
func (tr *Traffic) Leaked() string {
	scanned, crawled := tr.scanned, tr.crawled
	tr.Count()
	if scanned, crawled = tr.scanned-scanned, tr.crawled-crawled; scanned+crawled == 0 {
		return ""
	}
	return fmt.Sprintf("bots got through: %d SYNs answered, %d pages served", scanned, crawled)
}

// VisitorsNeverNoticed stops the visitors and asks for a spotless record.
func (tr *Traffic) VisitorsNeverNoticed(t testing.TB) {
	t.Helper()
	total := tr.Visitors.Stop()
	if total.Failures != 0 || total.Requests == 0 {
		t.Errorf("visitors: %d of %d requests failed: %v", total.Failures, total.Requests, total.Errors)
	}
	t.Logf("visitors: %d requests, no failure", total.Requests)
}
