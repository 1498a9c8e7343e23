// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// freshFor is how long one snapshot serves everyone who asks: however many scrape, the kernel's maps are read once a
// second.
const freshFor = time.Second

// Handler answers scrapes with the metrics of a source, and those of the Go runtime and the process.
func Handler(s Source) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(New(s), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(&shared{from: r, now: time.Now},
		promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// shared gathers once for all who ask at the same time and shortly after. What it hands out is read only.
type shared struct {
	from prometheus.Gatherer
	now  func() time.Time

	mu       sync.Mutex // held while somebody gathers: the others want what comes of it
	families []*dto.MetricFamily
	err      error
	at       time.Time
}

// Gather implements prometheus.Gatherer.
func (s *shared) Gather() ([]*dto.MetricFamily, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := s.now().Sub(s.at); s.at.IsZero() || age < 0 || age >= freshFor {
		s.families, s.err = s.from.Gather()
		s.at = s.now()
	}
	return s.families, s.err
}
