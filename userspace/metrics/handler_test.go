// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counted is a source that needs a while, and counts how often it is asked.
type counted struct {
	fixed
	asked atomic.Int64
}

func (c *counted) Metrics() (*Snapshot, error) {
	c.asked.Add(1)
	time.Sleep(20 * time.Millisecond)
	return c.fixed.Metrics()
}

// F14: fifty scrapers at once are all answered, of one look at the kernel.
func TestF14FiftyScrapersAtOnce(t *testing.T) {
	source := &counted{fixed: fixed{s: full()}}
	server := httptest.NewServer(Handler(source))
	defer server.Close()
	begun := time.Now()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			resp, err := http.Get(server.URL)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "spillway_protected") {
				t.Errorf("status %d, %v", resp.StatusCode, err)
			}
		})
	}
	wg.Wait()
	if most := int64(time.Since(begun)/freshFor) + 1; source.asked.Load() > most {
		t.Errorf("the source was asked %d times in %s, want at most %d", source.asked.Load(), time.Since(begun), most)
	}
}

// A snapshot serves for a second, and not longer; a clock that is set back does not keep it.
func TestSnapshotIsFresh(t *testing.T) {
	source := &counted{fixed: fixed{s: full()}}
	r := prometheus.NewRegistry()
	r.MustRegister(New(source))
	now := time.Unix(1_800_000_000, 0)
	g := &shared{from: r, now: func() time.Time { return now }}
	for _, step := range []struct {
		after time.Duration
		asked int64
	}{{0, 1}, {0, 1}, {freshFor - time.Millisecond, 1}, {time.Millisecond, 2}, {0, 2}, {-time.Hour, 3}} {
		now = now.Add(step.after)
		if _, err := g.Gather(); err != nil {
			t.Fatal(err)
		}
		if got := source.asked.Load(); got != step.asked {
			t.Errorf("after %s: asked %d times, want %d", step.after, got, step.asked)
		}
	}
}
