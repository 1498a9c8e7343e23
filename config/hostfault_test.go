// SPDX-License-Identifier: Apache-2.0

package config

import (
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
