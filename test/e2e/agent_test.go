// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/test/world"
	"github.com/spillway/spillway/userspace/lab"
)

const denyBoth = `rules:
  - {id: net, label: denied-network, score: 100}
  - {id: scan, label: scanner, score: 90}
features:
  prefixes:
    - {list: own, rule: net, entries: [198.18.66.0/24, "2001:db8:66::/64"]}
  tcp:
    - {rule: scan, muonfp: "1024:2:1460:"}
policy:
  default: {drop: 80}
`

// traffic is who knocks on the edge while something happens to the agent.
type traffic struct {
	visitors *lab.Visitors
	scanner  *lab.Scanner
	crawler  *lab.Crawler
}

func startTraffic(t *testing.T, e *world.Edge) *traffic {
	t.Helper()
	ctx := t.Context()
	origin, err := e.StartOrigin(ctx, lab.OriginOptions{})
	world.Must(t, err)
	t.Cleanup(func() { _ = origin.Close() })
	tr := &traffic{}
	tr.visitors, err = e.StartVisitors(ctx, lab.VisitorOptions{Rate: 50, Timeout: 15 * time.Second})
	world.Must(t, err)
	t.Cleanup(func() { _ = tr.visitors.Close() })
	tr.scanner, err = e.StartScanner(ctx, lab.ScannerOptions{Rate: 200})
	world.Must(t, err)
	t.Cleanup(func() { _ = tr.scanner.Close() })
	tr.crawler, err = e.StartCrawler(ctx, lab.CrawlerOptions{Rate: 10, Timeout: time.Second})
	world.Must(t, err)
	t.Cleanup(func() { _ = tr.crawler.Close() })
	return tr
}

// botsAreStopped waits until bots that go on trying get nothing.
func (tr *traffic) botsAreStopped(t *testing.T) {
	t.Helper()
	world.Eventually(t, "bots get nothing", func() bool {
		scan, crawl := tr.scanner.Total(), tr.crawler.Total()
		world.Eventually(t, "bots go on trying", func() bool {
			return tr.scanner.Total().Sent > scan.Sent+100 && tr.crawler.Total().Requests > crawl.Requests+3
		})
		return tr.scanner.Total().Answered == scan.Answered && tr.crawler.Total().Served() == crawl.Served()
	})
}

func (tr *traffic) botsAreServed(t *testing.T) {
	t.Helper()
	scan, crawl := tr.scanner.Total(), tr.crawler.Total()
	world.Eventually(t, "bots are answered", func() bool {
		return tr.scanner.Total().Answered > scan.Answered+50 && tr.crawler.Total().Served() > crawl.Served()+2
	})
}

// visitorsNeverNoticed stops the visitors and asks for a spotless record.
func (tr *traffic) visitorsNeverNoticed(t *testing.T) {
	t.Helper()
	total := tr.visitors.Stop()
	if total.Failures != 0 || total.Requests == 0 {
		t.Errorf("visitors: %d of %d requests failed: %v", total.Failures, total.Requests, total.Errors)
	}
	t.Logf("visitors: %d requests, no failure", total.Requests)
}

// One life of an edge: apply, kill, adopt, rollback and bypass without an agent.
func TestAgentKilledAdoptedRolledBackBypassed(t *testing.T) {
	e := world.NewEdge(t)
	tr := startTraffic(t, e)
	e.Start()
	tr.botsAreServed(t)
	bundle := e.WriteBundle("deny", denyBoth)
	e.MustCLI("apply", bundle, "--yes")
	tr.botsAreStopped(t)
	before := e.Adopt().Control()

	e.Kill()
	tr.botsAreStopped(t)
	if out, code := e.CLI("status"); code == 0 || !strings.Contains(out, "agent") {
		t.Errorf("status without an agent: exit %d\n%s", code, out)
	}
	e.MustCLI("bypass", "on", "--for", "10m")
	tr.botsAreServed(t)
	e.MustCLI("bypass", "off")
	tr.botsAreStopped(t)

	e.Start()
	if after := e.Adopt().Control(); after != before {
		t.Errorf("adoption touched the control word:\n was %+v\n  is %+v", before, after)
	}
	tr.botsAreStopped(t)
	e.MustCLI("apply", e.WriteBundle("nothing", "rules: []\nfeatures: {}\npolicy:\n  default: {drop: 80}\n"), "--yes", "--accept", "test: an empty bundle")
	tr.botsAreServed(t)
	e.Kill()
	e.MustCLI("rollback")
	tr.botsAreStopped(t)
	e.Start()
	tr.botsAreStopped(t)
	if out := e.MustCLI("history"); !strings.Contains(out, "rollback") {
		t.Errorf("the history does not tell of the rollback:\n%s", out)
	}
	tr.visitorsNeverNoticed(t)
}

// --confirm is a lease: nobody confirms and nobody renews it, so the kernel goes back by itself.
func TestUnconfirmedApplyGoesBackWithoutAnAgent(t *testing.T) {
	e := world.NewEdge(t)
	tr := startTraffic(t, e)
	e.Start()
	e.MustCLI("apply", e.WriteBundle("deny", denyBoth), "--yes", "--confirm", "10m")
	tr.botsAreStopped(t)
	e.Kill()
	tr.botsAreServed(t)
	e.Start()
	tr.botsAreServed(t)
	tr.visitorsNeverNoticed(t)
}

// The agent stays away longer than it may: everything passes, and the command line says why.
func TestAgentLostPassesEverything(t *testing.T) {
	e := world.NewEdge(t)
	e.WriteHost("enforce", "guards: {lease: 1s, agent_timeout: 3s}")
	tr := startTraffic(t, e)
	e.Start()
	e.MustCLI("apply", e.WriteBundle("deny", denyBoth), "--yes")
	tr.botsAreStopped(t)
	e.Kill()
	tr.botsAreServed(t)
	e.Start()
	tr.botsAreStopped(t)
	tr.visitorsNeverNoticed(t)
}
