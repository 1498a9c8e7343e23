// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"runtime"
	"slices"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/metrics"
	"github.com/spillway/spillway/userspace/view"
)

// Metrics implements metrics.Source.
func (a *agent) Metrics() (*metrics.Snapshot, error) {
	status := a.status(view.WithMaps)
	fins := uint64(0)
	if d, done, err := a.use(); err == nil {
		a.totals.Collect(d)
		fins, _ = d.Released()
		done()
	}
	s := &metrics.Snapshot{Status: status, Now: a.now(), EventsDropped: a.events.Lost(),
		Build: metrics.Build{Version: a.opts.Version, GoVersion: runtime.Version()}}
	s.Counts, s.Rules = a.totals.Snapshot()
	s.Released = map[string]uint64{metrics.ReleasedFIN: fins, metrics.ReleasedSilence: a.silent.Closed()}
	s.Repairs = a.plane.Links.Repairs()
	s.Applies, s.Rollbacks = a.release.Counts()
	s.Decisions, s.TakenBack = a.stages.Counts()
	stable := slices.IndexFunc(status.Generations, func(g api.Generation) bool { return g.Role == "stable" })
	if stable >= 0 {
		for _, l := range a.ledger.Lives(status.Generations[stable].Digest) {
			s.Lives = append(s.Lives, metrics.Life{Bundle: l.Name, Since: l.Since, End: l.End})
		}
	}
	return s, nil
}
