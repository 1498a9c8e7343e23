// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"net/url"
	"strings"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// checkSources counts the protected and finds a prefix that stands twice: which class it has would depend on the order.
func (d *reader) checkSources(h *Host) {
	all := h.Sources()
	if n := len(all); n > h.Capacity.Allowlist {
		path, what := "allowlist", "allowlist rows"
		if n > len(h.Allowlist) {
			path, what = all[n-1].Path, "protected sources (allowlist, golden, health_checks, crawlers)"
		}
		d.capacity(path, n, what, h.Capacity.Allowlist, "allowlist")
	}
	first := map[string]string{}
	for _, s := range all {
		if s.Prefix.IsValid() {
			d.unique(first, s.Prefix.String(), s.Path, "the prefix")
		}
	}
	names := map[string]string{}
	for i, k := range h.HealthChecks {
		d.unique(names, k.Name, fmt.Sprintf("health_checks[%d].name", i), "the health check")
	}
	names = map[string]string{}
	for i, k := range h.Crawlers {
		d.unique(names, k.Name, fmt.Sprintf("crawlers[%d].name", i), "the crawler")
	}
}

func (d *reader) checkGolden(h *Host) {
	services := map[string]Service{}
	var known []string
	for _, s := range h.Services {
		services[s.Name], known = s, append(known, s.Name)
	}
	first := map[string]string{}
	for i, g := range h.Golden {
		path := fmt.Sprintf("golden[%d]", i)
		d.unique(first, g.Name, path+".name", "the golden client")
		s, ok := services[g.Service]
		if !ok && g.Service != "" && !d.Bad[path+".service"] {
			d.unknownName(path+".service", g.Service, "the host has no service", "a service of the host file", known)
		}
		d.checkLooks(g, s, path)
	}
}

// checkLooks refuses a golden client that nobody could send, or that says nothing.
func (d *reader) checkLooks(g GoldenClient, s Service, path string) {
	set := func(field string) bool { return d.IsSet(path + "." + field) }
	if !set("address") && !set("tcp") && !set("p0f") && !set("ja4") && !set("client") {
		d.FaultAt(yaml.CodeMissing, path, "", path+" says neither where the client comes from nor how it looks",
			"at least one of address, tcp, p0f, ja4 and client")
	}
	if set("ja4") && set("client") {
		d.FaultAt(yaml.CodeDuplicate, path+".client", fmt.Sprintf("%q", words.Shorten(g.Client)),
			path+" has a ja4 and a client of the catalogue, which has its own", "one of both")
	}
	if set("ja4") && !d.Bad[path+".ja4"] && strings.Contains(g.JA4.String(), "*") {
		d.FaultAt(yaml.CodeRange, path+".ja4", g.JA4.String(), path+".ja4 has an open part, and a client has none",
			"all three parts of the JA4")
	}
	if s.Kind == "" {
		return // the service has its own fault
	}
	for _, field := range []string{"tcp", "p0f", "ja4", "client"} {
		hello := field == "ja4" || field == "client"
		if set(field) && (s.Protocol() != protocolTCP || hello && s.Kind != KindTLS) {
			d.FaultAt(yaml.CodeReference, path+"."+field, "", fmt.Sprintf("the service %s is %s, and %s is not looked at there",
				s.Name, s.Kind, field), "tcp and p0f for tls, http and tcp services; ja4 and client for tls services")
		}
	}
}

func (d *reader) checkCanary(h *Host) {
	steps := h.Guards.Canary
	for i, s := range steps {
		path := fmt.Sprintf("guards.canary[%d].share", i)
		if d.Bad[path] {
			return
		}
		switch {
		case math.Abs(float64(s.Share)*10-math.Round(float64(s.Share)*10)) > 1e-9:
			d.FaultAt(yaml.CodeRange, path, s.Share.String(), path+" is finer than a tenth of a percent", "0.1%, 2.5%, 5%")
		case i > 0 && s.Share <= steps[i-1].Share:
			d.FaultAt(yaml.CodeRange, path, s.Share.String(), path+" is not more than the step before it ("+
				steps[i-1].Share.String()+")", "shares that grow: 1%, 5%, 25%, 100%")
		case i == len(steps)-1 && s.Share != 100:
			d.FaultAt(yaml.CodeRange, path, s.Share.String(), "the last step of guards.canary is not everybody",
				"a last step with share: 100%")
		}
	}
}

func (d *reader) checkHealth(h *Host) {
	if !d.IsSet("health") {
		return
	}
	const at = "health.prometheus"
	u, err := url.Parse(h.Health.Prometheus)
	bad := err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == ""
	switch {
	case d.Bad[at] || !d.IsSet(at):
	case bad:
		d.FaultAt(yaml.CodeSyntax, at, fmt.Sprintf("%q", words.Shorten(h.Health.Prometheus)), at+" is no URL of a server",
			"http://127.0.0.1:9090, or https://prometheus.example/base")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		d.FaultAt(yaml.CodeSyntax, at, "", at+" has a user, a query or a fragment",
			"the address alone: who may read this file would read a password in it")
	}
	first := map[string]string{}
	for i, q := range h.Health.Queries {
		path := fmt.Sprintf("health.queries[%d]", i)
		d.unique(first, q.Name, path+".name", "the query")
		if above, below := d.IsSet(path+".above"), d.IsSet(path+".below"); above == below {
			problem := path + " has no limit, and nothing would be unwell"
			if above {
				problem = path + " has two limits"
			}
			d.FaultAt(yaml.CodeMissing, path, "", problem, "above: 2%, or below: 0.9")
		}
	}
	if h.Health.Stale < h.Health.Every && !d.Bad["health.stale"] && !d.Bad["health.every"] {
		d.FaultAt(yaml.CodeRange, "health.stale", shortDuration(h.Health.Stale),
			"health.stale is less than health.every ("+shortDuration(h.Health.Every)+")", "several times health.every")
	}
}
