// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// The whole promise in one test: bots stop, visitors do not notice.
func TestBotsStopVisitorsDoNotNotice(t *testing.T) {
	w := world.New(t)
	ctx := t.Context()
	t.Logf("origin: %s", w.Origin(ctx).Name())
	visitors, err := w.StartVisitors(ctx,
		lab.VisitorOptions{Rate: 100, Timeout: 10 * time.Second, UseCurl: true, UseWget: true})
	world.Must(t, err)
	defer visitors.Stop()
	crawler, err := w.StartCrawler(ctx, lab.CrawlerOptions{Rate: 20, Timeout: time.Second})
	world.Must(t, err)
	defer crawler.Stop()
	scanner, err := w.StartScanner(ctx, lab.ScannerOptions{Rate: 500})
	world.Must(t, err)
	defer scanner.Stop()

	world.Eventually(t, "everybody is served without a bundle", func() bool {
		return visitors.Total().Served() > 50 && crawler.Total().Served() > 5 && scanner.Total().Answered > 100
	})

	rules := []config.Rule{{ID: "net", Label: "net", Score: 100}, {ID: "scan", Label: "scan", Score: 90}}
	fp, err := signature.ParseMuonFP("1024:2:1460:")
	world.Must(t, err)
	both := world.Bundle(rules, func(b *config.Bundle) {
		b.Prefixes = []config.PrefixList{{List: "own", Rule: "net", Entries: world.Denied()}}
		b.TCP = []config.TCPFeature{{Rule: "scan", Fingerprint: fp}}
	})
	observe := *w.Host
	observe.MaxMode = config.ModeObserve
	w.Publish(&observe, both)
	world.Eventually(t, "observe mode counts what it would drop", func() bool {
		return w.Packets(int(bpf.ReasonPrefix), int(bpf.OutcomeWouldDrop)) > 10 &&
			w.Packets(int(bpf.ReasonTCPFingerprint), int(bpf.OutcomeWouldDrop)) > 10
	})
	if n := w.Packets(-1, int(bpf.OutcomeDrop)); n != 0 {
		t.Errorf("observe mode dropped %d packets", n)
	}

	w.Publish(w.Host, both)
	world.Eventually(t, "bots are not answered any more", func() bool {
		served, answered := crawler.Total().Served(), scanner.Total().Answered
		sent, tried := scanner.Total().Sent, crawler.Total().Requests
		world.Eventually(t, "bots go on trying", func() bool {
			return scanner.Total().Sent > sent+300 && crawler.Total().Requests > tried+5
		})
		return crawler.Total().Served() == served && scanner.Total().Answered == answered
	})
	before := visitors.Total().Requests
	world.Eventually(t, "visitors go on", func() bool { return visitors.Total().Requests > before+100 })
	checkFlows(t, w)
	total := visitors.Stop()
	if total.Failures != 0 {
		t.Errorf("%d of %d visitors' requests failed: %v", total.Failures, total.Requests, total.Errors)
	}
	t.Logf("visitors: %d requests by %v, p99 %s; scanner: %+v", total.Requests, total.ByClient, total.P99, scanner.Stop())
}

// checkFlows: the visitors' payloads were confirmed by the origin's sockets.
func checkFlows(t *testing.T, w *world.World) {
	t.Helper()
	confirmed := w.Packets(int(bpf.ReasonNoMatch), int(bpf.OutcomePass))
	known := w.Packets(int(bpf.ReasonKnownFlow), -1)
	unconfirmed := w.Packets(int(bpf.ReasonUnconfirmed), -1)
	midstream := w.Packets(int(bpf.ReasonMidstream), -1)
	t.Logf("no match %d, known flow %d, unconfirmed %d, midstream %d", confirmed, known, unconfirmed, midstream)
	if known == 0 || known < unconfirmed {
		t.Error("flows are not confirmed by their sockets")
	}
}
