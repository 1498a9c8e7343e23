// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRecorderWindow(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(seconds float64) time.Time {
		return start.Add(time.Duration(seconds * float64(time.Second)))
	}
	r := newRecorder(start)
	src := sourcesOf(VisitorPrefix4, VisitorPrefix6, 1)
	for i := range 100 {
		var err error
		if i >= 90 {
			err = &fault{"dial: timeout", errors.New("details")}
		}
		r.add(at(float64(i)/10), "go", src.pick(uint64(i)), time.Duration(i+1)*time.Millisecond, err)
	}
	got := r.window(at(10), 2*time.Second)
	want := Stats{
		Requests: 20, Failures: 10,
		P50: 85 * time.Millisecond, P99: 90 * time.Millisecond, Max: 90 * time.Millisecond,
		Rate: 10, Span: 2 * time.Second,
		LastError: "dial: timeout: details",
		Errors:    map[string]uint64{"dial: timeout": 10},
		ByClient:  map[string]Count{"go": {20, 10}},
		ByFamily:  map[string]Count{"ipv4": {10, 5}, "ipv6": {10, 5}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("window of 2 s (-want +got):\n%s", diff)
	}
	total := r.sum(at(10))
	if total.Requests != 100 || total.Failures != 10 || total.Rate != 10 || total.Max != 90*time.Millisecond {
		t.Errorf("total is %+v", total)
	}
	r.stop(at(10))
	if got := r.window(at(500), 2*time.Second); got.Requests != 20 {
		t.Errorf("window after the end has %d requests, want those of the last 2 s, 20", got.Requests)
	}
}

func TestRecorderIsBounded(t *testing.T) {
	start := time.Unix(1000, 0)
	r := newRecorder(start)
	src := visitorSources().v4[0]
	const n = recorderSamples + 1000
	for i := range n {
		r.add(start.Add(time.Duration(i)*time.Millisecond), "go", src, time.Millisecond, fmt.Errorf("cause %d", i))
	}
	now := start.Add(n * time.Millisecond)
	if w := r.window(now, time.Hour); w.Requests != recorderSamples || w.Span != recorderSamples*time.Millisecond {
		t.Errorf("an hour's window has %d requests in %v, want %d", w.Requests, w.Span, recorderSamples)
	}
	s := r.sum(now)
	if s.Requests != n || len(s.Errors) != recorderCauses+1 || s.Errors[otherCause] != n-recorderCauses {
		t.Errorf("%d requests, %d causes, %d others", s.Requests, len(s.Errors), s.Errors[otherCause])
	}
}

func TestHistogramAgainstSorting(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var h histogram
	if h.quantile(0.99) != 0 {
		t.Errorf("quantile of nothing is %v", h.quantile(0.99))
	}
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(1) << rng.IntN(36) // 1 ns to 34 s
		d += time.Duration(rng.Int64N(int64(d)))
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		exact, got := nearestRank(all, q), h.quantile(q)
		if got < exact || got > exact+exact/31+time.Microsecond {
			t.Errorf("quantile %v is %v, want %v or at most 1/32 more", q, got, exact)
		}
	}
}

func TestBucketsCoverAllDurations(t *testing.T) {
	for i := range (octaves+1)<<subBits - 1 {
		if below := upper(i) - time.Microsecond; bucketOf(below) != i || bucketOf(upper(i)) != i+1 {
			t.Fatalf("bucket %d ends at %v, but %v is in %d and its end in %d",
				i, upper(i), below, bucketOf(below), bucketOf(upper(i)))
		}
	}
	if got := bucketOf(1 << 62); got != (octaves+1)<<subBits-1 {
		t.Errorf("the longest duration is in bucket %d", got)
	}
}
