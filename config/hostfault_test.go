// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/yaml"
)

// Each row is a host file and all of its faults: code, line and column.
func TestHostFaults(t *testing.T) {
	const head = "version: 1\ninterfaces: [{name: eth0}]\n"
	const web = "services: [{name: web, port: 443, kind: tls}]\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty file", "", []string{"blank h:1:1"}},
		{"only a comment", "# nothing\n", []string{"blank h:1:1"}},
		{"a list", "- a\n", []string{"type h:1:1"}},
		{"a text", "hello\n", []string{"type h:1:1"}},
		{"other version alone", "version: 2\nmode: x\n", []string{"version h:1:10"}},
		{"version is a text", "version: '1'\n" + head[11:] + web, []string{"type h:1:10"}},
		{"nothing but version", "version: 1\n", []string{"missing h:1:1", "missing h:1:1"}},
		{"no version", head[11:] + web, []string{"missing h:1:1"}},
		{"unknown field", head + web + "max_mod: enforce\n", []string{"unknown_field h:4:1"}},
		{"duplicate key", head + web + "max_mode: observe\nmax_mode: enforce\n", []string{"duplicate h:5:1"}},
		{"null", head + web + "max_mode:\n", []string{"null h:4:10"}},
		{"tilde", head + web + "max_mode: ~\n", []string{"null h:4:11"}},
		{"null mapping", head + web + "guards: null\n", []string{"null h:4:9"}},
		{"blank", head + web + "max_mode: ''\n", []string{"blank h:4:11"}},
		{"only blanks", head + web + "max_mode: '  '\n", []string{"blank h:4:11"}},
		{"no such mode", head + web + "max_mode: block\n", []string{"range h:4:11"}},
		{"mode is a number", head + web + "max_mode: 1\n", []string{"range h:4:11"}},
		{"no interfaces", "version: 1\ninterfaces: []\n" + web, []string{"range h:2:13"}},
		{"no services", head + "services: []\n", []string{"range h:3:11"}},
		{"interface is a text", "version: 1\ninterfaces: [eth0]\n" + web, []string{"type h:2:14"}},
		{"interfaces is a mapping", "version: 1\ninterfaces: {name: eth0}\n" + web, []string{"type h:2:13"}},
		{"interface twice", "version: 1\ninterfaces: [{name: eth0}, {name: eth0}]\n" + web, []string{"duplicate h:2:35"}},
		{"interface name", "version: 1\ninterfaces: [{name: 'eth 0'}, {name: abcdefghijklmnop}]\n" + web,
			[]string{"syntax h:2:21", "range h:2:38"}},
		{"attach", "version: 1\ninterfaces: [{name: eth0, attach: tcx}]\n" + web, []string{"range h:2:35"}},
		{"port zero", head + "services: [{name: web, port: 0, kind: tls}]\n", []string{"range h:3:30"}},
		{"port too high", head + "services: [{name: web, port: 65536, kind: tls}]\n", []string{"range h:3:30"}},
		{"port negative", head + "services: [{name: web, port: -1, kind: tls}]\n", []string{"range h:3:30"}},
		{"port huge", head + "services: [{name: web, port: 99999999999999999999, kind: tls}]\n", []string{"range h:3:30"}},
		{"port is a float", head + "services: [{name: web, port: 443.0, kind: tls}]\n", []string{"type h:3:30"}},
		{"port in hex", head + "services: [{name: web, port: 0x1bb, kind: tls}]\n", []string{"type h:3:30"}},
		{"port in octal", head + "services: [{name: web, port: 0443, kind: tls}]\n", []string{"type h:3:30"}},
		{"port in quotes", head + "services: [{name: web, port: '443', kind: tls}]\n", []string{"type h:3:30"}},
		{"port with underscore", head + "services: [{name: web, port: 4_43, kind: tls}]\n", []string{"type h:3:30"}},
		{"port is NaN", head + "services: [{name: web, port: .nan, kind: tls}]\n", []string{"type h:3:30"}},
		{"port is infinite", head + "services: [{name: web, port: .inf, kind: tls}]\n", []string{"type h:3:30"}},
		{"port is a text", head + "services: [{name: web, port: https, kind: tls}]\n", []string{"type h:3:30"}},
		{"port missing", head + "services: [{name: web, kind: tls}]\n", []string{"missing h:3:12"}},
		{"kind", head + "services: [{name: web, port: 1, kind: dns}]\n", []string{"range h:3:39"}},
		{"service name", head + "services: [{name: Web!, port: 1, kind: tls}]\n", []string{"syntax h:3:19"}},
		{"service name is a number", head + "services: [{name: 12, port: 1, kind: tls}]\n", []string{"type h:3:19"}},
		{"service named default", head + "services: [{name: default, port: 1, kind: tls}]\n", []string{"reserved h:3:19"}},
		{"service twice", head + "services:\n- {name: web, port: 1, kind: tls}\n- {name: web, port: 2, kind: tls}\n",
			[]string{"duplicate h:5:10"}},
		{"same port twice", head + "services:\n- {name: a, port: 1, kind: tls}\n- {name: b, port: 1, kind: http}\n",
			[]string{"duplicate h:5:19"}},
		{"local", head + "services: [{name: web, port: 1, kind: tls, local: yes}]\n", []string{"type h:3:51"}},
		{"proxy_protocol",
			head + "services: [{name: web, port: 1, kind: tls, proxy_protocol: true}, {name: api, port: 2, kind: http, proxy_protocol: true}]\n",
			[]string{"range h:3:116"}},
		{"address", head + "services: [{name: web, port: 1, kind: tls, addresses: [localhost, 0.0.0.0, 'fe80::1%eth0']}]\n",
			[]string{"syntax h:3:56", "reserved h:3:67", "syntax h:3:76"}},
		{"address twice", head + "services: [{name: web, port: 1, kind: tls, addresses: [192.0.2.1, '::ffff:192.0.2.1']}]\n",
			[]string{"duplicate h:3:67"}},
		{"any and another", head + "services: [{name: web, port: 1, kind: tls, addresses: [any, 192.0.2.1]}]\n",
			[]string{"duplicate h:3:56"}},
		{"allowlist row", head + web + "allowlist: [192.0.2.256, 192.0.2.0/33, {note: x}, {prefix: '', note: y}]\n",
			[]string{"syntax h:4:13", "syntax h:4:26", "missing h:4:40", "blank h:4:60"}},
		{"allowlist twice", head + web + "allowlist:\n- 192.0.2.1\n- {prefix: 192.0.2.1/32}\n", []string{"duplicate h:6:3"}},
		{"note with a line break", head + web + "allowlist:\n- prefix: 192.0.2.1\n  note: |\n    a\n    b\n",
			[]string{"syntax h:6:9"}},
		{"accept_reasons", head + web + "accept_reasons: [not_hello, fragment, not_hello, hello_hidden]\n",
			[]string{"range h:4:29", "duplicate h:4:39", "range h:4:50"}},
		{"hellos", head + web + "capacity: {hellos: 2047}\n", []string{"range h:4:20"}},
		{"syns", head + web + "capacity: {syns: 1000}\n", []string{"range h:4:18"}},
		{"capacity", head + web + "capacity: {prefixes_v4: 2000001, rules: 65536, flows: 0, services: 33}\n",
			[]string{"range h:4:25", "range h:4:41", "range h:4:55", "range h:4:68"}},
		{"too many services",
			head + "capacity: {services: 1}\nservices:\n- {name: a, port: 1, kind: tls}\n- {name: b, port: 2, kind: tls}\n",
			[]string{"capacity h:5:1"}},
		{"too many allowlist rows", head + web + "capacity: {allowlist: 1}\nallowlist: [192.0.2.1, 192.0.2.2]\n",
			[]string{"capacity h:5:12"}},
		{"duration without unit", head + web + "guards: {bake: 10}\n", []string{"time h:4:16"}},
		{"no duration", head + web + "guards: {bake: soon}\n", []string{"time h:4:16"}},
		{"duration out of range", head + web + "guards: {bake: 0s, lease: -5s, max_ban_ttl: 999h}\n",
			[]string{"range h:4:16", "range h:4:27", "range h:4:45"}},
		{"bake is never", head + web + "guards: {bake: never}\n", []string{"time h:4:16"}},
		{"timeout below lease", head + web + "guards: {lease: 30s, agent_timeout: 20s}\n", []string{"range h:4:37"}},
		{"share without sign", head + web + "guards: {max_change: 30}\n", []string{"type h:4:22"}},
		{"shares", head + web + "guards: {max_change: NaN%, max_coverage: 101%}\n", []string{"type h:4:22", "range h:4:42"}},
		{"share is infinite", head + web + "guards: {max_change: Inf%, max_coverage: 1e3%}\n",
			[]string{"type h:4:22", "type h:4:42"}},
		{"rollout", head + web + "guards: {rollout: both, evidence: huge, max_new_blocks: 101%}\n",
			[]string{"range h:4:19", "range h:4:35", "range h:4:57"}},
		{"max_delta", head + web + "guards: {max_delta: {rows: 2, conns: 1%}, time_only_below: -1}\n",
			[]string{"type h:4:28", "unknown_field h:4:31", "range h:4:60"}},
		{"no canary", head + web + "guards: {canary: []}\n", []string{"range h:4:18"}},
		{"no such verdict", head + "services: [{name: web, port: 443, kind: tls, max_verdict: ban}]\n",
			[]string{"range h:3:59"}},
		{"canary that shrinks", head + web + "guards: {canary: [{share: 5%, for: 1m}, {share: 5%, for: 1m}]}\n",
			[]string{"range h:4:49"}},
		{"canary of few", head + web + "guards: {canary: [{share: 5%, for: 1m}]}\n", []string{"range h:4:27"}},
		{"canary too fine", head + web + "guards: {canary: [{share: 1.25%, for: 1m}, {share: 100%, for: 1s}]}\n",
			[]string{"range h:4:27", "range h:4:63"}},
		{"golden client that says nothing", head + web + "golden: [{name: a, service: web}]\n",
			[]string{"missing h:4:10"}},
		{"golden client of no service", head + web + "golden: [{name: a, service: wbe, address: 192.0.2.1}]\n",
			[]string{"reference h:4:29"}},
		{"golden client twice",
			head + web + "golden: [{name: a, service: web, address: 192.0.2.1}, {name: a, service: web, address: 192.0.2.1}]\n",
			[]string{"duplicate h:4:62"}},
		{"golden client with two hellos", head + web +
			"golden: [{name: a, service: web, ja4: t13d1516h2_8daaf6152771_02713d6af862, client: Chrome}]\n",
			[]string{"duplicate h:4:85"}},
		{"golden client with an open JA4", head + web + "golden: [{name: a, service: web, ja4: t13d1516h2_*_*}]\n",
			[]string{"range h:4:39"}},
		{"golden client with bad looks", head + web + "golden: [{name: a, service: web, ja4: x, tcp: 'y', p0f: z}]\n",
			[]string{"syntax h:4:39", "syntax h:4:47", "syntax h:4:57"}},
		{"golden client of a udp service", head +
			"services: [{name: dns, port: 53, kind: udp}]\ngolden: [{name: a, service: dns, tcp: '1024:2:1460:'}]\n",
			[]string{"reference h:4:39"}},
		{"golden client of an http service", head +
			"services: [{name: web, port: 80, kind: http}]\ngolden: [{name: a, service: web, client: curl}]\n",
			[]string{"reference h:4:42"}},
		{"health check without prefixes", head + web + "health_checks: [{name: up}, {name: up, prefixes: []}]\n",
			[]string{"missing h:4:17", "duplicate h:4:36", "range h:4:50"}},
		{"a prefix of two classes", head + web + "allowlist: [192.0.2.1]\ncrawlers: [{name: bot, prefixes: [192.0.2.1/32]}]\n",
			[]string{"duplicate h:5:35"}},
		{"more protected than fit", head + web +
			"capacity: {allowlist: 1}\nallowlist: [192.0.2.1]\ncrawlers: [{name: bot, prefixes: [192.0.2.2]}]\n",
			[]string{"capacity h:6:35"}},
		{"health without a server", head + web + "health: {queries: [{name: a, query: up, below: 1}]}\n",
			[]string{"missing h:4:9"}},
		{"health without a question", head + web + "health: {prometheus: 'http://127.0.0.1:9090'}\n",
			[]string{"missing h:4:9"}},
		{"health elsewhere", head + web + "health: {prometheus: 'ftp://a', queries: [{name: a, query: up, below: 1}]}\n",
			[]string{"syntax h:4:22"}},
		{"health with a password", head + web + "health: {prometheus: 'http://a:b@c', queries: [{name: a, query: up, below: 1}]}\n",
			[]string{"syntax h:4:22"}},
		{"health without a limit", head + web +
			"health: {prometheus: 'http://a', queries: [{name: a, query: up}, {name: a, query: up, above: 1, below: NaN}]}\n",
			[]string{"missing h:4:44", "missing h:4:66", "duplicate h:4:73", "type h:4:104"}},
		{"health that is stale at once", head + web +
			"health: {prometheus: 'http://a', every: 1m, stale: 30s, queries: [{name: a, query: up, above: 1.e3}]}\n",
			[]string{"range h:4:52", "type h:4:95"}},
		{"canary secret", head + web + "paths: {canary_secret: secret}\n", []string{"syntax h:4:24"}},
		{"metrics", head + web + "listen: {metrics: 'localhost:9717'}\n", []string{"syntax h:4:19"}},
		{"metrics port", head + web + "listen: {metrics: '127.0.0.1:0'}\n", []string{"syntax h:4:19"}},
		{"one socket for two roles", head + web + "listen: {socket: /run/a.sock, read: {socket: /run/a.sock}}\n",
			[]string{"duplicate h:4:46"}},
		{"read socket", head + web + "listen: {read: {socket: a.sock, group: 'a b'}}\n",
			[]string{"syntax h:4:25", "syntax h:4:40"}},
		{"paths", head + web + "paths: {state: var/lib, pins: /sys/../etc}\n", []string{"syntax h:4:16", "syntax h:4:31"}},
		{"privacy", head + web + "privacy: {addresses: none}\n", []string{"range h:4:22"}},
		{"anchor and alias", head + web + "listen: &a {metrics: ''}\npaths: *a\n",
			[]string{"unsupported h:4:9", "unsupported h:5:8"}},
		{"merge key", head + web + "listen:\n  <<: {metrics: ''}\n", []string{"unsupported h:5:3"}},
		{"tag", head + web + "max_mode: !!str observe\n", []string{"unsupported h:4:11"}},
		{"second document", head + web + "---\nversion: 1\n", []string{"unsupported h:5:1"}},
		{"syntax", head + web + "guards: [\n", []string{"syntax h:4:9"}},
		{"NUL", head + web + "max_mode: ob\x00serve\n", []string{"syntax h:4:13"}},
		{"not UTF-8", head + web + "max_mode: \xffobserve\n", []string{"syntax h:4:11"}},
		{"deep", head + web + "guards: " + strings.Repeat("[", 5000) + "\n", []string{"unsupported h:4:41"}},
		{"deep block", strings.Repeat("- ", 5000) + "a\n", []string{"unsupported h:1:65"}},
		{"many fields without a value", "a:\n" + strings.Repeat("-\n", 5000), []string{"unsupported h:1002:1"}},
		{"many in flow", "a: [" + strings.Repeat("{b: },", 5000) + "]\n", []string{"unsupported h:1:6007"}},
		{"many documents", strings.Repeat("---\na\n", 5000), []string{"unsupported h:2001:1"}},
		{"too many marks", strings.Repeat("#\n", yaml.MaxMarks+1), []string{"file h:0:0"}},
		{"carriage return", "version: 1\rx", []string{"syntax h:1:11"}},
		{"many keys", strings.Repeat("a: 1\n", 5000), []string{"unsupported h:1001:2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			host, err := ParseHost("h", []byte(c.text))
			if host != nil {
				t.Errorf("a refused file gave a host")
			}
			if diff := cmp.Diff(c.want, briefs(mustFaults(t, err).List)); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}

func TestHostAccepts(t *testing.T) {
	const head = "version: 1\ninterfaces: [{name: eth0}]\n"
	for name, text := range map[string]string{
		"minimal":          minimalHost,
		"carriage returns": strings.ReplaceAll(minimalHost, "\n", "\r\n"),
		"byte order mark":  "\ufeff" + minimalHost,
		"document mark":    "---\n" + minimalHost,
		"metrics off":      minimalHost + "listen: {metrics: ''}\n",
		"no read socket":   minimalHost + "listen: {read: {socket: ''}}\n",
		"groups":           minimalHost + "listen: {group: '990', read: {group: _web-data}}\n",
		"never":            minimalHost + "guards: {agent_timeout: never}\n",
		"empty sections":   minimalHost + "guards: {}\nallowlist: []\n",
		"tcp and udp":      head + "services: [{name: a, port: 443, kind: tls}, {name: b, port: 443, kind: quic}]\n",
		"port by address":  head + "services: [{name: a, port: 1, kind: tls, addresses: [192.0.2.1]}, {name: b, port: 1, kind: tls, addresses: [192.0.2.2]}]\n",
		"IPv6 metrics":     minimalHost + "listen: {metrics: '[::1]:9717'}\n",
		"share with blank": minimalHost + "guards: {max_change: 12.5 %}\n",
		"staged":           minimalHost + "guards: {rollout: staged, canary: [{share: 0.1%, for: 10s}, {share: 100%, for: 10s}]}\n",
		"golden":           minimalHost + "golden: [{name: a, service: web, client: Chrome, address: 192.0.2.7, tcp: '1024:2:1460:'}]\n",
		"limits":           minimalHost + "health: {prometheus: 'https://a/b', queries: [{name: a, query: up, below: -1.5}, {name: b, query: up, above: 2%}, {name: c, query: up, above: 300ms}]}\n",
		"no end of line":   strings.TrimSuffix(minimalHost, "\n"),
		"allowlist of both": minimalHost +
			"allowlist:\n- 192.0.2.1\n- 2001:db8::/32\n- {prefix: '::ffff:192.0.2.9', note: mapped}\n",
	} {
		if _, err := ParseHost("h", []byte(text)); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
	}
}

func TestHostValues(t *testing.T) {
	host, err := ParseHost("h",
		[]byte(minimalHost+"guards: {agent_timeout: never, bake: 90m, max_change: 12.5%}\n"+
			"allowlist: ['::ffff:192.0.2.9', 192.0.2.77/24]\nmax_mode: enforce\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !host.Guards.AgentTimeout.Never() || host.Guards.Bake.Minutes() != 90 || host.Guards.MaxChange != 12.5 ||
		host.MaxMode != ModeEnforce {
		t.Errorf("values were read as %+v, %s", host.Guards, host.MaxMode)
	}
	if a, b := host.Allowlist[0].Prefix.String(), host.Allowlist[1].Prefix.String(); a != "192.0.2.9/32" ||
		b != "192.0.2.0/24" {
		t.Errorf("allowlist is %s and %s, want 192.0.2.9/32 and 192.0.2.0/24", a, b)
	}
	if s := host.Services[0]; s.Protocol() != 6 || (Service{Kind: KindQUIC}).Protocol() != 17 ||
		(Service{Kind: KindUDP}).Protocol() != 17 {
		t.Errorf("protocol of %s is %d", s.Kind, s.Protocol())
	}
}

// The classes of the protected, and what a refusal calls them.
func TestProtectedSourcesOfAHostFile(t *testing.T) {
	host, err := ParseHost("h", []byte(minimalHost+`allowlist: [{prefix: 192.0.2.0/28, note: office}, 192.0.2.77]
golden:
  - {name: chrome, service: web, address: 192.0.2.20, ja4: t13d1516h2_8daaf6152771_02713d6af862}
  - {name: far, service: web, client: curl}
health_checks: [{name: uptime, prefixes: [192.0.2.33, "2001:db8::/48"]}]
crawlers: [{name: search, prefixes: [198.51.100.0/24]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range host.Sources() {
		got = append(got, fmt.Sprintf("%d %s: %s", s.Class, s.Path, s))
	}
	want := []string{
		"1 allowlist[0]: the allowlist's 192.0.2.0/28 (office)",
		"1 allowlist[1]: the allowlist's 192.0.2.77/32",
		"2 golden[0].address: the golden client chrome, 192.0.2.20/32",
		"3 health_checks[0].prefixes[0]: the health check uptime, 192.0.2.33/32",
		"3 health_checks[0].prefixes[1]: the health check uptime, 2001:db8::/48",
		"4 crawlers[0].prefixes[0]: the crawler search, 198.51.100.0/24",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("protected sources (-want +got):\n%s", diff)
	}
	if g := host.Golden[0]; !g.HasJA4() || g.HasTCP() || g.HasP0F() || host.Golden[1].HasJA4() {
		t.Errorf("looks of the golden clients are read as %+v", host.Golden)
	}
}

func TestLimitsOfHealthHaveUnits(t *testing.T) {
	for text, want := range map[string]Limit{"2%": 0.02, "0.9": 0.9, "-1": -1, "300ms": 0.3, "2m": 120, "0": 0} {
		host, err := ParseHost("h", []byte(minimalHost+
			"health: {prometheus: 'http://a', queries: [{name: a, query: up, above: "+text+"}]}\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := *host.Health.Queries[0].Above; got != want {
			t.Errorf("%s is read as %v, want %v", text, got, want)
		}
	}
}

// A line of many faults: only as many are kept as somebody might read, and all are counted.
func TestFloodOfFaultsIsCounted(t *testing.T) {
	_, err := ParseHost("h", []byte(strings.Repeat("&a ", 100_000)+"\n"))
	f := mustFaults(t, err)
	if f.Total != 100_000 || len(f.List) != yaml.KeptPerCode ||
		!strings.Contains(err.Error(), "and 99980 more: 99980 unsupported") {
		t.Errorf("%d faults, %d kept; want 100000 and %d:\n%v", f.Total, len(f.List), yaml.KeptPerCode, err)
	}
}

// A host file of before, with a socket of its own, gets the read socket beside it.
func TestReadSocketLiesBesideTheOther(t *testing.T) {
	for listen, want := range map[string]string{
		"": "/run/spillway/read.sock", "listen: {socket: /run/edge/sock}\n": "/run/edge/read.sock",
		"listen: {socket: /run/edge/sock, read: {group: web}}\n": "/run/edge/read.sock",
		"listen: {read: {socket: ''}}\n":                         "", "listen: {read: {socket: /run/r}}\n": "/run/r",
		"listen: {socket: /" + strings.Repeat("a", 97) + "/s}\n": "",
	} {
		h, err := ParseHost("h", []byte(minimalHost+listen))
		if err != nil {
			t.Errorf("%s: %v", listen, err)
			continue
		}
		if h.Listen.Read.Socket != want {
			t.Errorf("%q: read socket %q, want %q", listen, h.Listen.Read.Socket, want)
		}
	}
}
