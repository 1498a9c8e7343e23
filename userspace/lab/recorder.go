// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// recorderSamples bounds what Window can look back at: at the highest rate
	// of a crowd, a quarter of a minute.
	recorderSamples = 1 << 15
	// recorderCauses bounds the distinct causes of failure that are told apart.
	recorderCauses = 32
)

// otherCause counts the failures whose cause came after recorderCauses others.
const otherCause = "other"

// sample is one request that ended.
type sample struct {
	at      time.Time
	latency time.Duration // 0 when it was not measured
	client  string
	v6      bool
	cause   string // "" when it was served
	detail  string
}

// recorder counts requests. Its memory does not grow with their number.
type recorder struct {
	start time.Time

	mu      sync.Mutex // guards all below
	end     time.Time  // zero while the crowd runs
	total   Stats
	latency histogram
	ring    []sample // the latest samples, oldest at next once it is full
	next    int
	causes  map[string]bool
}

func newRecorder(now time.Time) *recorder {
	return &recorder{start: now, total: emptyStats(), causes: map[string]bool{}}
}

func emptyStats() Stats {
	return Stats{Errors: map[string]uint64{}, ByClient: map[string]Count{}, ByFamily: map[string]Count{}}
}

// add counts one request of client from source, which ended at now.
func (r *recorder) add(now time.Time, client string, source netip.Addr, latency time.Duration, err error) {
	s := sample{at: now, latency: latency, client: client, v6: source.Is6()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		s.cause, s.detail = r.causeOf(err), err.Error()
	}
	r.total.count(s)
	if s.cause == "" && s.latency > 0 {
		r.latency.add(s.latency)
	}
	if len(r.ring) < recorderSamples {
		r.ring = append(r.ring, s)
		return
	}
	r.ring[r.next] = s
	r.next = (r.next + 1) % len(r.ring)
}

// causeOf returns the cause under which err is counted; r.mu is held.
func (r *recorder) causeOf(err error) string {
	cause := err.Error()
	var f *fault
	if errors.As(err, &f) {
		cause = f.cause
	}
	if !r.causes[cause] && len(r.causes) >= recorderCauses {
		return otherCause
	}
	r.causes[cause] = true
	return cause
}

func (s *Stats) count(e sample) {
	one := Count{Requests: 1}
	if e.cause != "" {
		one.Failures = 1
		s.Errors[e.cause]++
		s.LastError = e.detail
	}
	family := "ipv4"
	if e.v6 {
		family = "ipv6"
	}
	s.Requests += one.Requests
	s.Failures += one.Failures
	s.ByClient[e.client] = s.ByClient[e.client].plus(one)
	s.ByFamily[family] = s.ByFamily[family].plus(one)
}

func (c Count) plus(d Count) Count {
	return Count{c.Requests + d.Requests, c.Failures + d.Failures}
}

// sum returns everything since the start.
func (r *recorder) sum(now time.Time) Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := emptyStats()
	s.Requests, s.Failures, s.LastError = r.total.Requests, r.total.Failures, r.total.LastError
	for k, v := range r.total.Errors {
		s.Errors[k] = v
	}
	for k, v := range r.total.ByClient {
		s.ByClient[k] = v
	}
	for k, v := range r.total.ByFamily {
		s.ByFamily[k] = v
	}
	s.P50, s.P99, s.Max = r.latency.quantile(0.50), r.latency.quantile(0.99), r.latency.max
	s.setSpan(r.until(now).Sub(r.start))
	return s
}

// until returns the end of the time that counts; r.mu is held.
func (r *recorder) until(now time.Time) time.Time {
	if !r.end.IsZero() {
		return r.end
	}
	return now
}

// window returns the last d, or what of it the ring still holds. After the end
// it is the last d of the crowd's life.
func (r *recorder) window(now time.Time, d time.Duration) Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	now = r.until(now)
	from := now.Add(-d)
	if from.Before(r.start) {
		from = r.start
	}
	if len(r.ring) == recorderSamples && from.Before(r.ring[r.next].at) {
		from = r.ring[r.next].at
	}
	s := emptyStats()
	var served []time.Duration
	for i := range r.ring {
		e := r.ring[(r.next+i)%len(r.ring)]
		if e.at.Before(from) || e.at.After(now) {
			continue
		}
		s.count(e)
		if e.cause == "" && e.latency > 0 {
			served = append(served, e.latency)
		}
	}
	if len(served) > 0 {
		slices.Sort(served)
		s.P50, s.P99 = nearestRank(served, 0.50), nearestRank(served, 0.99)
		s.Max = served[len(served)-1]
	}
	s.setSpan(now.Sub(from))
	return s
}

func (s *Stats) setSpan(span time.Duration) {
	s.Span = span
	if span > 0 {
		s.Rate = float64(s.Requests) / span.Seconds()
	}
}

// stop fixes the end of the time that counts; the first call wins.
func (r *recorder) stop(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end.IsZero() {
		r.end = now
	}
}
