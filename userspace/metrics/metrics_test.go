// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type fixed struct {
	s   *Snapshot
	err error
}

func (f fixed) Metrics() (*Snapshot, error) { return f.s, f.err }

func pointer[T any](v T) *T { return &v }

// full has something of everything.
func full() *Snapshot {
	return &Snapshot{
		Now: noon, Build: Build{"v1.2.3", "go1.26"}, Applies: map[string]uint64{"applied": 3, "refused": 1},
		Repairs: map[string]uint64{"link": 2}, Rollbacks: 1, EventsDropped: 4,
		Decisions: map[string]uint64{"intent": 3, "taste": 4, "of a later release": 2}, TakenBack: 1,
		Counts: []Count{{Reason: "not_service", Verdict: "pass", Packets: 1000}, {"web", "prefix", "drop", 7, 3, 2}},
		Rules:  []Rule{{"bad-net", "denied", 7}, {"other", "", 2}},
		Lives:  []Life{{"feed", noon.Add(-time.Hour), noon.Add(time.Hour)}, {Bundle: "own", Since: noon}},
		Status: &api.Status{
			Agent: &api.Agent{Started: noon.Add(-time.Hour)}, Mode: "enforce", Control: &api.Control{Epoch: 4, Stable: 1},
			Problems: []api.Problem{{Code: "bypass"}, {Code: "attach"}, {Code: "attach"}},
			Interfaces: []api.Interface{{Name: "eth0", Protected: true, State: "attached", Mode: "native"},
				{Name: "eth1", State: "missing"}},
			Generations: []api.Generation{{Slot: 1, Role: "stable", Number: 9, Digest: config.Digest{0xab}}},
			Bypass:      api.Bypass{Active: true},
			Services: []api.Service{
				{ID: 1, Name: "web", Bypass: api.Bypass{Active: true, SecondsLeft: pointer(90.0)}}, {ID: 2, Name: "dns"}},
			HeartbeatAgeSeconds: pointer(0.5), LeaseSecondsLeft: pointer(4.5),
			Confirm: &api.Confirm{Deadline: noon.Add(time.Minute)}, Bake: &api.Bake{Until: noon.Add(2 * time.Minute)},
			LastKnownGood: &api.Known{Number: 8, Digest: config.Digest{0xcd}}, Bans: 2, EventsLost: 5,
			LimitsLost: 4, LimitsEvicted: 1,
			Stages: stages(),
			Drift:  &api.Drift{Checked: noon.Add(-10 * time.Second), Entries: []api.DriftEntry{{Where: "x"}}},
			Maps: []api.MapUse{{Name: "bans", Entries: pointer(2), Capacity: 1024, Bytes: 4096},
				{Name: "flows", Capacity: 9, Bytes: 8}},
		},
	}
}

func TestLint(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(New(fixed{s: full()}))
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestValues(t *testing.T) {
	want := `
# HELP spillway_applies_total Applies by outcome.
# TYPE spillway_applies_total counter
spillway_applies_total{outcome="applied"} 3
spillway_applies_total{outcome="candidate"} 0
spillway_applies_total{outcome="failed"} 0
spillway_applies_total{outcome="held"} 0
spillway_applies_total{outcome="refused"} 1
spillway_applies_total{outcome="unchanged"} 0
# HELP spillway_attached 1 while the root program is attached to the interface.
# TYPE spillway_attached gauge
spillway_attached{interface="eth0",mode="native"} 1
spillway_attached{interface="eth1",mode="none"} 0
# HELP spillway_bundle_end_time_seconds When the last rule of a bundle in force ends, as a Unix time; absent where one of them has no end.
# TYPE spillway_bundle_end_time_seconds gauge
spillway_bundle_end_time_seconds{bundle="feed"} 1795266000
# HELP spillway_bundle_start_time_seconds When this version of a bundle in force came to this host, as a Unix time.
# TYPE spillway_bundle_start_time_seconds gauge
spillway_bundle_start_time_seconds{bundle="feed"} 1795258800
spillway_bundle_start_time_seconds{bundle="own"} 1795262400
# HELP spillway_bypass 1 while everything (service "all"), or the service, passes by the kill switch.
# TYPE spillway_bypass gauge
spillway_bypass{service="all"} 1
spillway_bypass{service="dns"} 0
spillway_bypass{service="web"} 1
# HELP spillway_bypass_seconds_left Seconds until the bypass ends by itself; +Inf when it ends only by hand, 0 when it is off.
# TYPE spillway_bypass_seconds_left gauge
spillway_bypass_seconds_left{service="all"} +Inf
spillway_bypass_seconds_left{service="dns"} 0
spillway_bypass_seconds_left{service="web"} 90
# HELP spillway_confirm_deadline_seconds Seconds until an unconfirmed candidate goes back by itself; 0 when none waits.
# TYPE spillway_confirm_deadline_seconds gauge
spillway_confirm_deadline_seconds 60
# HELP spillway_generation_info Resident generations; digest12 is the start of the bundle's SHA-256.
# TYPE spillway_generation_info gauge
spillway_generation_info{digest12="ab0000000000",number="9",role="stable"} 1
# HELP spillway_generation_number Number of the generation in a role; 0 when there is none.
# TYPE spillway_generation_number gauge
spillway_generation_number{role="candidate"} 0
spillway_generation_number{role="previous"} 0
spillway_generation_number{role="stable"} 9
# HELP spillway_limits_evicted_total Keys of limits that were forgotten before their time, since their set was full: each has its whole burst again.
# TYPE spillway_limits_evicted_total counter
spillway_limits_evicted_total 1
# HELP spillway_limits_lost_total Connections that passed without being charged to their limit, since others charged keys of the same set at that moment.
# TYPE spillway_limits_lost_total counter
spillway_limits_lost_total 4
# HELP spillway_map_entries Entries of a kernel map, where counting them is cheap.
# TYPE spillway_map_entries gauge
spillway_map_entries{map="bans"} 2
# HELP spillway_packets_total Packets by service, reason and verdict.
# TYPE spillway_packets_total counter
spillway_packets_total{reason="not_service",service="none",verdict="pass"} 1000
spillway_packets_total{reason="prefix",service="web",verdict="drop"} 7
# HELP spillway_connections_total Connections by service, reason and verdict, each counted once: at its first payload, or at its SYN where that is blocked. tag passes; limit is beyond its rate, and waits or is reset.
# TYPE spillway_connections_total counter
spillway_connections_total{reason="prefix",service="web",verdict="drop"} 3
# HELP spillway_alone_packets_total Packets that were, or would have been, blocked by themselves and belong to no connection (UDP, fragments, data whose beginning nobody saw).
# TYPE spillway_alone_packets_total counter
spillway_alone_packets_total{reason="prefix",service="web",verdict="drop"} 2
# HELP spillway_protected 1 while what the rules find is blocked, or limited, on the interface; 0 in observe mode.
# TYPE spillway_protected gauge
spillway_protected{interface="eth0"} 1
spillway_protected{interface="eth1"} 0
# HELP spillway_problem 1 for each problem that status shows.
# TYPE spillway_problem gauge
spillway_problem{code="attach"} 1
spillway_problem{code="bypass"} 1
# HELP spillway_rule_matches_total Matches by rule, of at most 200 rules; the rest is rule "other". Of SYNs that prefixes alone condemn, other features are looked at for as many as become events.
# TYPE spillway_rule_matches_total counter
spillway_rule_matches_total{label="denied",rule="bad-net"} 7
spillway_rule_matches_total{label="",rule="other"} 2
# HELP spillway_watchdog_repairs_total Repairs by the watchdog: program (the dataplane was missing behind the root program), link (an interface had lost its link).
# TYPE spillway_watchdog_repairs_total counter
spillway_watchdog_repairs_total{what="link"} 2
spillway_watchdog_repairs_total{what="program"} 0
`
	names := []string{"spillway_applies_total", "spillway_attached", "spillway_bypass", "spillway_bypass_seconds_left",
		"spillway_confirm_deadline_seconds", "spillway_generation_info",
		"spillway_generation_number", "spillway_limits_evicted_total", "spillway_limits_lost_total",
		"spillway_map_entries", "spillway_packets_total", "spillway_connections_total",
		"spillway_alone_packets_total", "spillway_protected", "spillway_problem", "spillway_rule_matches_total",
		"spillway_watchdog_repairs_total"}
	if err := testutil.CollectAndCompare(New(fixed{s: full()}), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

// An agent without a kernel part must still say that nothing is protected.
func TestWithoutKernel(t *testing.T) {
	s := &Snapshot{Now: noon,
		Status: &api.Status{Interfaces: []api.Interface{{Name: "eth0", State: "missing"}},
			Problems: []api.Problem{{Code: "kernel"}}}}
	want := `
# HELP spillway_kernel_readable 1 while the agent could read the kernel part for this scrape.
# TYPE spillway_kernel_readable gauge
spillway_kernel_readable 0
# HELP spillway_protected 1 while what the rules find is blocked, or limited, on the interface; 0 in observe mode.
# TYPE spillway_protected gauge
spillway_protected{interface="eth0"} 0
`
	if err := testutil.CollectAndCompare(New(fixed{s: s}), strings.NewReader(want), "spillway_kernel_readable",
		"spillway_protected", "spillway_bypass"); err != nil {
		t.Error(err)
	}
	if err := testutil.CollectAndCompare(New(fixed{err: errors.New("kernel gone")}), strings.NewReader("")); err == nil {
		t.Error("a failed look at the kernel is no failed scrape")
	}
}

// No label may carry what a visitor sent.
func TestNoAddressIsALabel(t *testing.T) {
	for _, m := range slices.Concat(all, allOfRollouts) {
		text := m.desc.String()
		for _, word := range []string{"address", "source", "saddr", "client", "muonfp", "fingerprint", "prefix"} {
			labels := text[strings.LastIndex(text, "variableLabels"):]
			if strings.Contains(labels, word) {
				t.Errorf("%s", text)
			}
		}
	}
}

func scrape(t *testing.T) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(fixed{s: full()}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	data, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("scrape: status %d, %v", w.Code, err)
	}
	return data
}

// promtool finds the tool, or says what is left out; in CI it must be there.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is missing: apt-get install prometheus")
		}
		t.Skip("left out: promtool is not installed (Debian package prometheus)")
	}
	return path
}

func TestScrapePassesPromtool(t *testing.T) {
	cmd := exec.Command(promtool(t), "check", "metrics")
	var ours []byte
	for line := range bytes.Lines(scrape(t)) {
		// The Go runtime's and the process's own metrics are not ours to name.
		if bytes.Contains(line, []byte("spillway_")) {
			ours = append(ours, line...)
		}
	}
	cmd.Stdin = bytes.NewReader(ours)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

const (
	alerts    = "../../config/alerts"
	dashboard = "../../config/dashboards/spillway.json"
)

func TestAlertRules(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "spillway.rules.yml"},
		{"test", "rules", "spillway.rules.test.yml"}} {
		cmd := exec.Command(promtool(t), args...)
		cmd.Dir = alerts
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func dashboardExpressions(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels      []struct{ Targets []struct{ Expr string } }
		Annotations struct{ List []struct{ Expr string } }
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			out = append(out, target.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		out = append(out, a.Expr)
	}
	if len(out) < 20 {
		t.Fatalf("only %d expressions in the dashboard", len(out))
	}
	return out
}

// Every metric that a panel or an alert names is really exported: a panel without data looks like a quiet night.
func TestEveryNamedMetricIsExported(t *testing.T) {
	exported := map[string]bool{}
	for line := range bytes.Lines(scrape(t)) {
		if name, ok := strings.CutPrefix(string(line), "# TYPE "); ok {
			exported[strings.Fields(name)[0]] = true
		}
	}
	text, err := os.ReadFile(filepath.Join(alerts, "spillway.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(filepath.Join(alerts, "spillway.rules.test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(spillway|process|go)_[a-z0-9_]+`)
	used := map[string]bool{}
	for _, name := range named.FindAllString(string(text)+string(tests)+strings.Join(dashboardExpressions(t), "\n"), -1) {
		used[name] = true
		if !exported[name] {
			t.Errorf("%s is named, and not exported", name)
		}
	}
	if len(used) < 20 {
		t.Errorf("only %d metrics are used", len(used))
	}
}

// Grafana's variables, as something that PromQL parses.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*", "$service", ".*")

func TestDashboardExpressionsParse(t *testing.T) {
	tool := promtool(t)
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for i, expr := range dashboardExpressions(t) {
		expr = variables.Replace(expr)
		if strings.Contains(expr, "$") {
			t.Errorf("a variable that nobody sets: %s", expr)
		}
		rules = append(rules, rule{fmt.Sprintf("panel:%d", i), expr})
	}
	file := func(rules []rule) string {
		// JSON is YAML
		data, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "rules.yml")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if out, err := exec.Command(tool, "check", "rules", file(rules)).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	broken := append(slices.Clone(rules), rule{"panel:broken", "sum(rate(x[5m])"})
	if err := exec.Command(tool, "check", "rules", file(broken)).Run(); err == nil {
		t.Error("promtool takes an expression that is broken: this test tests nothing")
	}
}
