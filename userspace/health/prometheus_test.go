// SPDX-License-Identifier: Apache-2.0

package health

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/spillway/spillway/config"
)

// shop is an exporter, and the Prometheus server of Debian that reads it.
//
//	asker ──▶ prometheus ──▶ /metrics of the shop
type shop struct {
	codes   *prometheus.CounterVec
	latency prometheus.Histogram
	server  *httptest.Server
	url     string // of prometheus
	cmd     *exec.Cmd
	log     bytes.Buffer
}

func newShop(t *testing.T) *shop {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("left out: the shipped questions are not asked of a real server; Debian's package prometheus has one")
	}
	s := &shop{
		codes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total"}, []string{"code"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "http_request_duration_seconds",
			Buckets: prometheus.DefBuckets}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.codes, s.latency)
	s.server = httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(s.server.Close)
	folder := t.TempDir()
	file := filepath.Join(folder, "prometheus.yml")
	text := fmt.Sprintf(`global: {scrape_interval: 250ms, scrape_timeout: 250ms}
scrape_configs: [{job_name: shop, static_configs: [{targets: ['%s']}]}]
`, s.server.Listener.Addr())
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	s.url = "http://" + address
	s.cmd = exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--web.listen-address="+address)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	return s
}

// freeAddress returns an address that nobody has: somebody may take it meanwhile, and then the server says so and ends.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve counts requests.
func (s *shop) serve(code string, took time.Duration) {
	s.codes.WithLabelValues(code).Add(10)
	for range 10 {
		s.latency.Observe(took.Seconds())
	}
}

// The questions of docs/HOST.md, asked of a real server about a real exporter: nothing is known before there was
// traffic, then it is well, unwell by errors, unwell by latency; and when the exporter or the server goes, nothing is
// known again.
func TestOriginHealthByPrometheus(t *testing.T) {
	s := newShop(t)
	h, err := config.ParseHost("spillway.yaml", fmt.Appendf(nil, `version: 1
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}]
health:
  prometheus: %s
  every: 1s
  stale: 30s
  queries:
    - {name: errors, query: 'sum(rate(http_requests_total{code=~"5.."}[2s])) / sum(rate(http_requests_total[2s]))', above: 2%%}
    - {name: slow, query: 'histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[2s])))', above: 800ms}
    - {name: up, query: 'min(up{job="shop"})', below: 1}
`, s.url))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	a := New(Options{Host: func() config.Health { return h.Health }})
	ended := make(chan struct{})
	go func() { a.Run(ctx); close(ended) }()
	defer func() { stop(); <-ended }()
	until := func(what string, traffic func(), is func(Answer) bool) {
		t.Helper()
		for end := time.Now().Add(90 * time.Second); ; {
			if traffic != nil {
				traffic()
			}
			if got := a.Latest(); is(got) {
				t.Logf("%s: %+v %v", what, got.Health, got.Trouble)
				return
			} else if time.Now().After(end) {
				t.Fatalf("%s: not within 90 s; the last answer is %+v", what, got)
			}
			time.Sleep(50 * time.Millisecond) // between two requests of the traffic
		}
	}
	s.codes.WithLabelValues("500") // a counter that nothing was counted in is there
	until("no traffic: 0 / 0 is no number", nil, func(got Answer) bool {
		return !got.Health.Known && len(got.Trouble) == 2
	})
	until("well", func() { s.serve("200", 20*time.Millisecond) }, func(got Answer) bool {
		return got.Health.Known && !got.Health.Bad
	})
	until("errors", func() { s.serve("200", 20*time.Millisecond); s.serve("503", 20*time.Millisecond) },
		func(got Answer) bool { return got.Health.Bad && got.Health.What == "errors" && got.Health.Value > 0.02 })
	until("slow", func() { s.serve("200", 3*time.Second) }, func(got Answer) bool {
		return got.Health.Bad && got.Health.What == "slow" && got.Health.Value > 0.8
	})
	until("well again", func() { s.serve("200", 20*time.Millisecond) }, func(got Answer) bool {
		return got.Health.Known && !got.Health.Bad
	})
	s.server.CloseClientConnections()
	s.server.Close()
	until("the exporter is gone: that it is down is known", nil, func(got Answer) bool {
		return got.Health.Bad && got.Health.What == "up" && len(got.Trouble) == 2
	})
	_ = s.cmd.Process.Kill()
	until("the server is gone", nil, func(got Answer) bool { return !got.Health.Known && len(got.Trouble) == 3 })
}
