// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// The rate of these tests.
const (
	burst    = 4
	interval = 500 * time.Millisecond
	rate     = "connections: 2/s, burst: 4"
	// crawlSpan is how long a client goes on at least.
	crawlSpan = 2 * time.Second
)

// limiting is a bundle that limits who comes from the crawler's prefixes.
func limiting(rate string) string {
	return `rules:
  - {id: net, label: crawler, score: 50}
features:
  prefixes:
    - {list: own, rule: net, entries: [198.18.66.0/24, "2001:db8:66::/48"]}
policy:
  default: {tag: 20, limit: 40, drop: 80, rate: {` + rate + `}}
`
}

// key is who has a rate together.
type key struct {
	by    string
	addrs []netip.Addr
}

// keys are by what the rate is, and the clients of each key; every one of them is a key of its own beside the others.
// The limit of a prefix is the /48, so those come from several /64.
var keys = map[string][]key{
	"source": {
		{"an address", addrs("198.18.66.1")},
		{"another address", addrs("198.18.66.2")},
		{"a /64", addrs("2001:db8:66::1", "2001:db8:66::2", "2001:db8:66::3")},
		{"another /64", addrs("2001:db8:66:1::1", "2001:db8:66:1::2")},
	},
	"prefix": {
		{"a /24", addrs("198.18.66.3", "198.18.66.4", "198.18.66.5", "198.18.66.6")},
		{"a /48", addrs("2001:db8:66::4", "2001:db8:66:1::1", "2001:db8:66:2::1")},
	},
}

// further are the addresses of keys that no lab has by itself.
var further = addrs("2001:db8:66:1::1", "2001:db8:66:1::2", "2001:db8:66:2::1")

// crawled is what a key got. A connection that waits is given up, and one that is served counts when it ends.
type crawled struct{ made, served uint64 }

// crawl makes connections from all addresses of a key for crawlSpan, as fast as they end. A machine that is too busy to
// serve the burst gets more time, which the bound grows with.
func crawl(t *testing.T, e *world.Edge, k key) (c crawled) {
	t.Helper()
	const clients = 4
	var mu sync.Mutex // guards c
	var wg sync.WaitGroup
	begin := time.Now()
	goesOn := func() bool {
		mu.Lock()
		defer mu.Unlock()
		took := time.Since(begin)
		return took < crawlSpan || (c.served < burst && took < time.Minute)
	}
	for n := range clients {
		wg.Go(func() {
			for goesOn() {
				err := visit(t.Context(), e, k.addrs[n%len(k.addrs)], impatience)
				mu.Lock()
				c.made++
				if err == nil {
					c.served++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return c
}

// Clients that a rule is about get their rate and no more, other visitors do not notice, and the counters say so.
func TestLimit(t *testing.T) {
	e := world.NewEdge(t)
	serve(t, e)
	world.Must(t, e.AddOutAddrs(further...))
	visitors, err := e.StartVisitors(t.Context(), lab.VisitorOptions{Rate: 20, Timeout: generous})
	world.Must(t, err)
	t.Cleanup(func() { _ = visitors.Close() })
	e.Start()
	for by := range keys {
		t.Run("by "+by, func(t *testing.T) { limitHolds(t, e, by) })
	}
	t.Run("waits", func(t *testing.T) { limitLetsWait(t, e) })
	t.Run("observe", func(t *testing.T) { limitObserves(t, e) })
	total := visitors.Stop()
	if total.Failures != 0 || total.Requests == 0 {
		t.Errorf("visitors: %d of %d requests failed: %v", total.Failures, total.Requests, total.Errors)
	}
}

func limitHolds(t *testing.T, e *world.Edge, by string) {
	e.MustCLI("apply", e.WriteBundle("by-"+by, limiting(rate+", by: "+by)), "--yes", "--accept", "test")
	tagged, limited := connections(t, e, "tag", "prefix"), connections(t, e, "limit", "prefix")
	all := keys[by]
	got := make([]crawled, len(all))
	begin := time.Now()
	var wg sync.WaitGroup
	for i, k := range all {
		wg.Go(func() { got[i] = crawl(t, e, k) })
	}
	wg.Wait()
	tagged, limited = connections(t, e, "tag", "prefix")-tagged, connections(t, e, "limit", "prefix")-limited
	st := statusOf(t, e)
	took := time.Since(begin)
	// What could not be held passes, and is counted.
	bound := burst*(1+st.LimitsEvicted) + st.LimitsLost + uint64(took/interval)
	var served uint64
	for i, k := range all {
		c := got[i]
		served += c.served
		t.Logf("%s: %d of %d served in %s, at most %d", k.by, c.served, c.made, took, bound)
		if c.served > bound || c.served < burst {
			t.Errorf("%s: %d of %d served, want %d to %d", k.by, c.served, c.made, burst, bound)
		}
	}
	// A connection that waits counts as limited, also when it comes through later.
	least, most := burst*uint64(len(all)), bound*uint64(len(all))
	if tagged < least || tagged > most || limited == 0 || tagged+limited < served {
		t.Errorf("%d connections are counted as tagged (want %d to %d) and %d as limited, of %d that were served: %s", tagged,
			least, most, limited, served, packetsOf(t, e))
	}
	for _, k := range all {
		mustServe(t, e, "after a pause", k.addrs[0])
	}
}

// limitLetsWait: a connection beyond the limit is not lost. Its client's own retransmission brings it through, so all
// are served that come at once, and are more than the burst.
func limitLetsWait(t *testing.T, e *world.Edge) {
	e.MustCLI("apply", e.WriteBundle("waits", limiting(rate+", by: source")), "--yes", "--accept", "test")
	const more = 3
	limited := connections(t, e, "limit", "prefix")
	// A machine that is so busy that no two come close to each other tries again.
	world.Eventually(t, "some had to wait", func() bool {
		mustServe(t, e, "by and by", times(burst+more, "198.18.66.7", "2001:db8:66:2::1")...)
		return connections(t, e, "limit", "prefix") > limited
	})
}

// limitObserves: where the host file allows no more than counting, everybody is served, and what would wait is counted.
func limitObserves(t *testing.T, e *world.Edge) {
	e.WriteHost("observe", world.Direct)
	e.MustCLI("reload")
	e.MustCLI("apply", e.WriteBundle("observe", limiting("connections: 1/h, burst: 1")), "--yes", "--accept", "test")
	limited, would := connections(t, e, "limit", ""), connections(t, e, "would_limit", "prefix")
	const visits = 3
	clients := []string{"198.18.66.8", "2001:db8:66:1::1"}
	mustServe(t, e, "observe mode", times(visits, clients...)...)
	if n := connections(t, e, "limit", ""); n != limited {
		t.Errorf("%d connections are counted as limited", n-limited)
	}
	// The first of each client is within its rate.
	unheld := statusOf(t, e).LimitsLost
	want := uint64(len(clients) * (visits - 1))
	if n := connections(t, e, "would_limit", "prefix") - would; n > want || n+unheld < want {
		t.Errorf("%d connections are counted as would_limit, want %d", n, want)
	}
}

// over: reset ends a connection at once, and its client hears so.
func TestLimitResets(t *testing.T) {
	e := world.NewEdge(t)
	serve(t, e)
	// What a program at one end of a veth sends back arrives only with GRO at the other end, and with the next packet
	// there: Linux 6.18 wakes nobody for it (veth_xdp_flush). So visitors go on.
	outside(t, e, "ethtool", "-K", e.OutIf, "gro", "on")
	e.Start()
	visitors, err := e.StartVisitors(t.Context(), lab.VisitorOptions{Rate: 20, Timeout: generous})
	world.Must(t, err)
	t.Cleanup(func() { _ = visitors.Close() })
	e.MustCLI("apply", e.WriteBundle("reset", limiting("connections: 1/h, burst: 2, over: reset")), "--yes")
	for _, from := range addrs("198.18.66.1", "2001:db8:66::1") {
		mustServe(t, e, "within the burst", from, from)
		for range 2 {
			if err := visit(t.Context(), e, from, generous); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s, over its limit: %v, want a reset", from, err)
			}
		}
	}
	for verdict, want := range map[string]uint64{"tag": 4, "limit": 4, "reset": 0, "drop": 0} {
		if n := connections(t, e, verdict, ""); n != want {
			t.Errorf("%d connections are counted as %s, want %d: %s", n, verdict, want, packetsOf(t, e))
		}
	}
}

// times repeats addresses.
func times(n int, texts ...string) (all []netip.Addr) {
	for range n {
		all = append(all, addrs(texts...)...)
	}
	return all
}

// packetsOf is all that is counted, for a failure's text.
func packetsOf(t *testing.T, e *world.Edge) (text string) {
	t.Helper()
	for _, p := range statusOf(t, e).Packets {
		text += fmt.Sprintf("\n%s %s %s: %d packets, %d connections", p.Service, p.Verdict, p.Reason, p.Packets,
			p.Connections)
	}
	return text
}
