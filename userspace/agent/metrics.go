// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/metrics"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/retry"
)

// Metrics implements metrics.Source.
func (a *agent) Metrics() (*metrics.Snapshot, error) {
	status := a.status(withMaps)
	fins := uint64(0)
	if d, done, err := a.plane.Use(); err == nil {
		a.collect(d)
		fins, _ = d.Released()
		done()
	}
	s := &metrics.Snapshot{Status: status, Now: a.now(), EventsDropped: a.events.Lost(),
		Build: metrics.Build{Version: a.opts.Version, GoVersion: runtime.Version()}}
	a.totals.mu.Lock()
	s.Counts, s.Rules = a.totals.snapshot()
	a.totals.mu.Unlock()
	s.Released = map[string]uint64{metrics.ReleasedFIN: fins, metrics.ReleasedSilence: a.silent.Load()}
	s.Repairs = a.plane.Repairs()
	s.Applies, s.Rollbacks = a.release.Counts()
	return s, nil
}

// collect adds what the kernel counted since the last look. It runs at each scrape, and before a slot is filled again:
// that takes the counts of its rules away.
func (a *agent) collect(d plane.Dataplane) {
	a.totals.mu.Lock()
	defer a.totals.mu.Unlock()
	services := api.ServiceNames(nil)
	if h, err := d.Host(); err == nil && h != nil {
		for _, s := range h.Services {
			services[s.ID] = s.Name
		}
	}
	if counters, err := d.Counters(); err == nil {
		a.totals.see(counters, func(id uint8) string { return services[id] })
	}
	if rules, err := a.ruleHits(d); err == nil { // a gap would look like a generation that left and came back
		a.totals.addRules(rules)
	}
}

// adoptCounts leaves what the kernel counted under another agent out of the rules' totals.
func (a *agent) adoptCounts(d plane.Dataplane) {
	a.totals.mu.Lock()
	defer a.totals.mu.Unlock()
	if rules, err := a.ruleHits(d); err == nil {
		a.totals.adopt(rules)
	}
}

// ruleHits reads the counts of the rules of all resident generations.
func (a *agent) ruleHits(d plane.Dataplane) ([]ruleHits, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	var rules []ruleHits
	for _, g := range all {
		hits, err := d.RuleHits(g.Slot)
		if err != nil {
			return nil, err
		}
		name := func(index uint16) ruleKey {
			if r, ok := a.ledger.RuleOf(g.Digest, index); ok {
				return ruleKey{r.ID, r.Label}
			}
			return nameless(index)
		}
		rules = append(rules, ruleHits{g.Number, hits, name})
	}
	return rules, nil
}

// serveMetrics answers scrapes until ctx ends. An address that is taken is tried again.
func (a *agent) serveMetrics(ctx context.Context) {
	addr := a.hostFile().Listen.Metrics
	if addr == "" {
		return
	}
	var again retry.Retry
	for ctx.Err() == nil {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err == nil {
			a.ledger.ClearProblem(ledger.ProblemMetrics)
			err = a.answerScrapes(ctx, l)
		}
		if ctx.Err() != nil {
			return
		}
		again.Failed(time.Now())
		a.ledger.SetProblem(ledger.ProblemMetrics, "metrics cannot be served: "+err.Error(), "free "+addr+", or set listen.metrics in the host file; the agent tries again")
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(again.Next())):
		}
	}
}

// scrapeConnections may be open at once; more wait in the kernel's backlog, so that they take the agent no descriptors.
const scrapeConnections = 256

func (a *agent) answerScrapes(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.scrapes)
	s := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug)}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(api.LimitConnections(l, scrapeConnections)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
