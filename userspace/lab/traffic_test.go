// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is for requests that must succeed: only a broken lab reaches it.
const patience = 20 * time.Second

// origins runs f against the embedded origin, and nginx where it is installed.
func origins(t *testing.T, f func(t *testing.T, l *Lab, o Origin)) {
	requireRoot(t)
	for _, kind := range []string{"embedded", "nginx"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "nginx" && findNginx() == "" {
				t.Skip("nginx is not installed")
			}
			l := newLab(t)
			o, err := l.StartOrigin(t.Context(), OriginOptions{ForceEmbedded: kind == "embedded"})
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]string{"embedded": "embedded Go server",
				"nginx": "nginx/"}[kind]; !strings.HasPrefix(o.Name(), want) {
				t.Errorf("origin is %q, want %q", o.Name(), want)
			}
			f(t, l, o)
		})
	}
}

func TestVisitorsAreServed(t *testing.T) {
	origins(t, func(t *testing.T, l *Lab, _ Origin) {
		v, err := l.StartVisitors(t.Context(), VisitorOptions{Rate: 50, Timeout: patience, UseCurl: true, UseWget: true})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]uint64{"go": 100}
		for _, c := range v.Clients()[1:] {
			want[strings.Fields(c)[0]] = 2
		}
		eventually(t, "every client was served over both families", func() bool {
			s := v.Total()
			for client, least := range want {
				if s.ByClient[client].Requests < least {
					return false
				}
			}
			return true
		})
		s := v.Stop()
		if s.Failures != 0 {
			t.Errorf("%d of %d requests failed: %v, last: %s", s.Failures, s.Requests, s.Errors, s.LastError)
		}
		if s.ByFamily["ipv4"].Requests == 0 || s.ByFamily["ipv6"].Requests == 0 {
			t.Errorf("families are %v, want both", s.ByFamily)
		}
		if s.P50 <= 0 || s.P99 < s.P50 || s.Max < s.P99 || s.Rate <= 0 {
			t.Errorf("p50 %v, p99 %v, max %v, rate %v: want them ordered and above 0", s.P50, s.P99, s.Max, s.Rate)
		}
		if w := v.Window(time.Hour); w.Requests != s.Requests {
			t.Errorf("an hour's window has %d requests, want all %d", w.Requests, s.Requests)
		}
		t.Logf("%v: %d requests, p50 %v, p99 %v, by client %v", v.Clients(), s.Requests, s.P50, s.P99, s.ByClient)
	})
}

// Each visitor comes from a /48 of its own, all over a part of WidePrefix6.
func TestVisitorsFromEverywhere(t *testing.T) {
	requireRoot(t)
	l := newLab(t)
	if err := errors.Join(l.Widen(), l.Widen()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.StartOrigin(t.Context(), OriginOptions{ForceEmbedded: true}); err != nil {
		t.Fatal(err)
	}
	part := netip.MustParsePrefix("2001:db8:f000::/36")
	from := WideSources(part, 4096)
	prefixes := map[netip.Prefix]bool{}
	for _, a := range from {
		p, _ := a.Prefix(48)
		prefixes[p] = part.Contains(a) && WidePrefix6.Contains(a)
	}
	if len(prefixes) != 4096 || slices.Contains(slices.Collect(maps.Values(prefixes)), false) {
		t.Errorf("%d prefixes, from %s to %s", len(prefixes), from[0], from[4095])
	}
	v, err := l.StartVisitors(t.Context(), VisitorOptions{Rate: 100, Timeout: patience, From: from})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a hundred were served", func() bool { return v.Total().Served() >= 100 })
	if s := v.Stop(); s.Failures != 0 || s.ByFamily["ipv4"].Requests != 0 {
		t.Errorf("%d of %d failed (%s), %d over IPv4", s.Failures, s.Requests, s.LastError, s.ByFamily["ipv4"].Requests)
	}
}

func TestCrawlerIsServed(t *testing.T) {
	origins(t, func(t *testing.T, l *Lab, _ Origin) {
		c, err := l.StartCrawler(t.Context(), CrawlerOptions{Rate: 100, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the crawler made 40 requests", func() bool { return c.Total().Requests >= 40 })
		s := c.Stop()
		if s.Failures != 0 {
			t.Errorf("%d of %d requests failed: %v, last: %s", s.Failures, s.Requests, s.Errors, s.LastError)
		}
		if s.ByFamily["ipv4"].Requests < 10 || s.ByFamily["ipv6"].Requests < 10 {
			t.Errorf("families are %v, want both", s.ByFamily)
		}
	})
}

func TestScannerIsAnswered(t *testing.T) {
	origins(t, func(t *testing.T, l *Lab, _ Origin) {
		captured, err := l.CaptureEdge(func(f []byte) bool { return len(f) >= ethLen+ip4Len+tcpLen && f[12] == 0x08 })
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.StartScanner(t.Context(), ScannerOptions{Rate: 200})
		if err != nil {
			t.Fatal(err)
		}
		frame := nextSYN(t, captured)
		if w, opts := frame[ethLen+ip4Len+14:][:2], frame[ethLen+ip4Len+tcpLen:]; string(w) != "\x04\x00" ||
			string(opts) != "\x02\x04\x05\xb4" {
			t.Errorf("window % x and options % x, want 1024 and MSS 1460 alone", w, opts)
		}
		// Every SYN gets its answer: of the first 100, none may be missing.
		eventually(t, "100 SYNs were answered", func() bool { return s.Total().Answered >= 100 })
		st := s.Stop()
		if st.Answered > st.Sent || st.LastError != "" {
			t.Errorf("%d answers to %d SYNs, error %q", st.Answered, st.Sent, st.LastError)
		}
	})
}

func nextSYN(t *testing.T, c *Capture) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		f, err := c.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if f[ethLen+ip4Len+13] == flagSYN {
			return f
		}
	}
}

func TestScannerGetsNoAnswerFromClosedPort(t *testing.T) {
	l := newLab(t)
	s, err := l.StartScanner(t.Context(), ScannerOptions{Rate: 500})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "100 SYNs were sent", func() bool { return s.Total().Sent >= 100 })
	if st := s.Stop(); st.Answered != 0 {
		t.Errorf("%d SYN-ACKs from a closed port, want 0", st.Answered)
	}
}

func TestOriginDownIsExplained(t *testing.T) {
	origins(t, func(t *testing.T, l *Lab, o Origin) {
		v, err := l.StartVisitors(t.Context(), VisitorOptions{Rate: 50, Timeout: patience, UseCurl: true, UseWget: true})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "somebody was served", func() bool { return v.Total().Served() > 0 })
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		const cause = "dial: connection refused"
		eventually(t, "20 dials were refused", func() bool { return v.Total().Errors[cause] >= 20 })
		for _, c := range v.Clients()[1:] {
			name := strings.Fields(c)[0]
			eventually(t, name+" failed", func() bool { return v.Total().ByClient[name].Failures > 0 })
		}
		s := v.Stop()
		var sum uint64
		for _, n := range s.Errors {
			sum += n
		}
		if sum != s.Failures || s.LastError == "" {
			t.Errorf("%d failures, %d explained: %v, last %q", s.Failures, sum, s.Errors, s.LastError)
		}
		t.Log(s.Errors)
	})
}

func TestSilentOriginTimesOut(t *testing.T) {
	l := newLab(t)
	// Who listens and never accepts answers SYNs and then says nothing.
	ln, err := l.Edge.Listen("tcp", ":443")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	v, err := l.StartVisitors(t.Context(), VisitorOptions{Rate: 100, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "handshakes timed out", func() bool { return v.Total().Errors["tls: timeout"] >= 10 })
	if s := v.Stop(); s.Served() != 0 {
		t.Errorf("%d requests were served by nobody", s.Served())
	}
}

func TestCrowdEndsWithContextAndLab(t *testing.T) {
	requireRoot(t)
	before := runtime.NumGoroutine()
	l := newLab(t)
	if _, err := l.StartOrigin(t.Context(), OriginOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	v, err := l.StartVisitors(ctx, VisitorOptions{Rate: 100})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.StartScanner(t.Context(), ScannerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	v.wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.send.Wait()
	s.listen.Wait()
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	if _, err := l.StartVisitors(t.Context(), VisitorOptions{}); err == nil {
		t.Error("visitors were let into a closed lab")
	}
}

func TestOptionsOutOfRange(t *testing.T) {
	l := newLab(t)
	for _, o := range []VisitorOptions{{Rate: -1}, {Rate: 1e9}, {Timeout: time.Hour}, {Timeout: -1}} {
		if v, err := l.StartVisitors(t.Context(), o); err == nil {
			v.Stop()
			t.Errorf("visitors with %+v: no error", o)
		}
	}
	if s, err := l.StartScanner(t.Context(), ScannerOptions{Rate: 1e9}); err == nil {
		s.Stop()
		t.Error("scanner with 1e9 SYNs a second: no error")
	}
}

func TestSendFrame(t *testing.T) {
	l := newLab(t)
	c, err := l.CaptureEdge(nil)
	if err != nil {
		t.Fatal(err)
	}
	// A protocol for local experiments: nobody else sends that.
	frame := append(append([]byte{}, l.EdgeMAC...), l.OutMAC...)
	frame = append(frame, 0x88, 0xb5)
	frame = append(frame, "sixty bytes or more, so that nothing has to be padded on its way"...)
	if err := l.SendFrame(frame); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		got, err := c.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) == string(frame) {
			break
		}
	}
	if err := l.SendFrame(make([]byte, maxFrame+1)); err == nil {
		t.Error("an oversized frame was sent")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
