// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/rollout"
)

func above(v float64) *config.Limit {
	l := config.Limit(v)
	return &l
}

func asks(server string, queries ...config.HealthQuery) config.Health {
	return config.Health{Prometheus: server, Every: time.Second, Stale: 2 * time.Minute, Queries: queries}
}

var errorsQuery = config.HealthQuery{Name: "errors", Query: "a / b", Above: above(0.02)}

// one makes an asker of one round.
func one(t *testing.T, h config.Health) Answer {
	t.Helper()
	a := New(Options{Host: func() config.Health { return h }})
	t.Cleanup(a.client.CloseIdleConnections)
	return a.round(t.Context(), h)
}

func vector(numbers ...string) string {
	var series []string
	for i, n := range numbers {
		series = append(series, fmt.Sprintf(`{"metric":{"i":"%d"},"value":[%d,"%s"]}`, i, time.Now().Unix(), n))
	}
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
}

// Each answer, and what it says: health, harm, or nothing.
func TestAnswers(t *testing.T) {
	old := time.Now().Add(-3 * time.Minute).Unix()
	for _, c := range []struct {
		name, body string
		status     int
		want       rollout.Health
		trouble    string
	}{
		{"well", vector("0.01"), 200, rollout.Health{Known: true, What: "errors", Value: 0.01, Limit: 0.02}, ""},
		{"at the limit", vector("0.02"), 200, rollout.Health{Known: true, What: "errors", Value: 0.02, Limit: 0.02}, ""},
		{"unwell", vector("0.03"), 200, rollout.Health{Known: true, Bad: true, What: "errors", Value: 0.03, Limit: 0.02}, ""},
		{"one of three is", vector("0.01", "0.5", "0"), 200,
			rollout.Health{Known: true, Bad: true, What: "errors", Value: 0.5, Limit: 0.02}, ""},
		{"infinite", vector("+Inf"), 200,
			rollout.Health{Known: true, Bad: true, What: "errors", Value: math.Inf(1), Limit: 0.02}, ""},
		{"a scalar", fmt.Sprintf(`{"status":"success","data":{"resultType":"scalar","result":[%d.5,"1"]}}`,
			time.Now().Unix()), 200, rollout.Health{Known: true, Bad: true, What: "errors", Value: 1, Limit: 0.02}, ""},
		{"empty", vector(), 200, rollout.Health{}, "errors: the answer has no series"},
		{"NaN", vector("NaN"), 200, rollout.Health{}, "errors: the answer is no number (NaN)"},
		{"NaN beside a number", vector("NaN", "0.5"), 200,
			rollout.Health{Known: true, Bad: true, What: "errors", Value: 0.5, Limit: 0.02}, ""},
		{"stale", fmt.Sprintf(`{"status":"success","data":{"resultType":"vector","result":[{"value":[%d,"1"]}]}}`, old), 200,
			rollout.Health{}, " apart"},
		{"of the future", fmt.Sprintf(`{"status":"success","data":{"resultType":"vector","result":[{"value":[%d,"1"]}]}}`,
			time.Now().Add(time.Hour).Unix()), 200, rollout.Health{}, "apart"},
		{"a matrix", `{"status":"success","data":{"resultType":"matrix","result":[]}}`, 200, rollout.Health{},
			"the answer is a matrix"},
		{"a histogram", fmt.Sprintf(`{"status":"success","data":{"resultType":"vector","result":[{"histogram":[%d,{}]}]}}`,
			time.Now().Unix()), 200, rollout.Health{}, "histogram"},
		{"bad PromQL", `{"status":"error","errorType":"bad_data","error":"parse error"}`, 400, rollout.Health{},
			"errors: 400 Bad Request: the server says error: parse error"},
		{"no JSON", "<html>", 200, rollout.Health{}, "no JSON of a Prometheus server"},
		{"JSON of somebody else", `{"ok":true}`, 200, rollout.Health{}, "the server says"},
		{"cut off", vector("1")[:40], 200, rollout.Health{}, "no JSON"},
		{"a number that is a number", `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,2]}]}}`, 200,
			rollout.Health{}, "read the series"},
		{"a moment that is none", `{"status":"success","data":{"resultType":"vector","result":[{"value":[1e300,"2"]}]}}`,
			200, rollout.Health{}, "a sample at"},
		{"nothing", "", 200, rollout.Health{}, "no JSON"},
		{"not found", "404", 404, rollout.Health{}, "404 Not Found"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/base/api/v1/query" || r.FormValue("query") != "a / b" {
				t.Errorf("%s: asked for %s", c.name, r.URL)
			}
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		}))
		got := one(t, asks(server.URL+"/base", errorsQuery))
		if diff := cmp.Diff(c.want, got.Health); diff != "" {
			t.Errorf("%s (-want +got):\n%s%v", c.name, diff, got.Trouble)
		}
		if text := fmt.Sprint(got.Trouble); !strings.Contains(text, c.trouble) || c.trouble == "" && len(got.Trouble) > 0 {
			t.Errorf("%s: trouble %s, want %q", c.name, text, c.trouble)
		}
		server.Close()
	}
}

// A limit below: too few is harm, and no data still is none.
func TestLimitBelow(t *testing.T) {
	up := config.HealthQuery{Name: "up", Query: "up", Below: above(1)}
	for body, want := range map[string]rollout.Health{
		vector("1", "1"): {Known: true, What: "up", Value: 1, Limit: 1},
		vector("1", "0"): {Known: true, Bad: true, What: "up", Value: 0, Limit: 1},
		vector():         {},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		if diff := cmp.Diff(want, one(t, asks(server.URL, up)).Health); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
		server.Close()
	}
}

// Several questions: harm wins, then want of data.
func TestSeveralQuestions(t *testing.T) {
	answers := map[string]string{"well": vector("0"), "bad": vector("1"), "none": vector()}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, answers[r.FormValue("query")])
	}))
	defer server.Close()
	for text, want := range map[string]rollout.Health{
		"well well":     {Known: true, What: "well-0", Limit: 0.02},
		"well none":     {},
		"none well":     {},
		"well none bad": {Known: true, Bad: true, What: "bad-2", Value: 1, Limit: 0.02},
		"bad none":      {Known: true, Bad: true, What: "bad-0", Value: 1, Limit: 0.02},
	} {
		var queries []config.HealthQuery
		for i, name := range strings.Fields(text) {
			queries = append(queries, config.HealthQuery{Name: fmt.Sprintf("%s-%d", name, i), Query: name, Above: above(0.02)})
		}
		if diff := cmp.Diff(want, one(t, asks(server.URL, queries...)).Health); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// A server that hangs, that never ends, or that sends elsewhere is no data, within seconds and without much memory.
func TestServersThatHarmWhoAsks(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("another host was asked")
		fmt.Fprint(w, vector("0"))
	}))
	defer elsewhere.Close()
	for _, c := range []struct {
		name, trouble string
		answer        http.HandlerFunc
	}{
		{"hangs", "", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"drips", "", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Millisecond) // the pace of a server that drips
			}
		}},
		{"never ends", "more than 1048576 bytes", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := fmt.Fprint(w, strings.Repeat(" ", 64<<10)); err != nil {
					return
				}
			}
		}},
		{"endless headers", "header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		}},
		{"sends elsewhere", "sends to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		}},
		{"sends to itself", "without end", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
		}},
		{"hangs up", "EOF", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.answer)
			defer server.Close()
			defer server.CloseClientConnections()
			begun := time.Now()
			got := one(t, asks(server.URL, errorsQuery))
			if took := time.Since(begun); got.Health != (rollout.Health{}) || took > 4*patience {
				t.Errorf("%+v after %s", got, took)
			}
			if text := fmt.Sprint(got.Trouble); len(got.Trouble) != 1 || !strings.Contains(text, c.trouble) {
				t.Errorf("trouble %s, want %q", text, c.trouble)
			}
		})
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	if got := one(t, asks(closed.URL, errorsQuery)); got.Health.Known || len(got.Trouble) != 1 {
		t.Errorf("nobody there: %+v", got)
	}
}

// Latest never waits for a server, and forgets what is too old.
func TestLatestForgets(t *testing.T) {
	h := asks("http://192.0.2.1", errorsQuery)
	h.Every, h.Stale = time.Millisecond, time.Millisecond
	a := New(Options{Host: func() config.Health { return h }})
	good := Answer{Health: rollout.Health{Known: true, What: "errors"}, At: time.Now()}
	a.keep(good)
	for end := time.Now().Add(10 * time.Second); a.Latest().Health.Known; {
		if time.Now().After(end) {
			t.Fatal("an answer of long ago is known")
		}
	}
	h.Every, h.Stale = time.Hour, time.Hour
	if got := a.Latest(); got.Health != good.Health {
		t.Errorf("a new answer is %+v", got)
	}
}

// Without questions nobody is asked, and nothing is known.
func TestNobodyIsAskedWithoutQuestions(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	a := New(Options{Host: func() config.Health { return config.DefaultHost().Health }})
	done := make(chan struct{})
	go func() { a.Run(ctx); close(done) }()
	stop()
	<-done
	if got := a.Latest(); got.Health.Known || len(got.Trouble) > 0 {
		t.Errorf("%+v", got)
	}
}
