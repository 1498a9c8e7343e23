// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"net/netip"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
)

// draft is a bundle in the making.
type draft struct{ b config.Bundle }

// rules starts a bundle that drops from a score of 80 on.
func rules() *draft {
	d := &draft{
		config.Bundle{Version: 1, Name: "test", Policy: map[string]config.Policy{config.DefaultPolicy: {Drop: 80}}}}
	d.b.Digest[0] = 1 // the canary's salt: the same in every run
	return d
}

// nothing is a bundle without features.
func nothing() *config.Bundle { return rules().bundle() }

func (d *draft) bundle() *config.Bundle { return &d.b }

func (d *draft) rule(id string, score int) *draft { return d.ruleUntil(id, score, time.Time{}) }

func (d *draft) ruleUntil(id string, score int, expires time.Time) *draft {
	d.b.Rules = append(d.b.Rules, config.Rule{ID: id, Label: id, Score: score, Expires: expires})
	return d
}

func (d *draft) list(name, rule string, entries ...netip.Prefix) *draft {
	d.b.Prefixes = append(d.b.Prefixes, config.PrefixList{List: name, Rule: rule, Entries: entries})
	return d
}

func (d *draft) tcp(rule, fingerprint string) *draft {
	fp, err := signature.ParseMuonFP(fingerprint)
	if err != nil {
		panic(err)
	}
	d.b.TCP = append(d.b.TCP, config.TCPFeature{Rule: rule, Fingerprint: fp})
	return d
}

func (d *draft) reason(rule, reason string) *draft {
	d.b.Reasons = append(d.b.Reasons, config.ReasonFeature{Rule: rule, Reason: reason})
	return d
}

func (d *draft) drop(service string, from config.Threshold) *draft {
	d.b.Policy[service] = config.Policy{Drop: from}
	return d
}

// usual denies the family's bots and scanners, and is wary of its suspects.
func (f family) usual() *draft {
	return rules().rule("bad", 100).rule("scanner", 90).rule("suspect", 40).
		list("own", "bad", f.denied).list("own", "suspect", f.suspect).tcp("scanner", scannerFP)
}

// site is the host file of the tests. web answers on all addresses, api on one address of the same port, far has its
// sockets elsewhere.
func (f family) site() *config.Host {
	h := config.DefaultHost()
	h.MaxMode = config.ModeEnforce
	h.Services = []config.Service{
		{Name: "web", Addresses: []config.Address{{}}, Port: webPort, Kind: config.KindTLS, Local: true},
		{Name: "api", Addresses: []config.Address{{IP: f.exact}}, Port: webPort, Kind: config.KindHTTP, Local: true},
		{Name: "far", Addresses: []config.Address{{}}, Port: remotePort, Kind: config.KindTCP, Local: false},
		{Name: "dns", Addresses: []config.Address{{}}, Port: dnsPort, Kind: config.KindUDP, Local: true},
	}
	h.Allowlist = []config.AllowEntry{{Prefix: host(f.protected)}}
	return h
}

// site publishes the family's site with a bundle.
func (p *plane) site(f family, b *config.Bundle) *plane {
	p.t.Helper()
	p.publish(f.site(), b)
	return p
}

// denyScanners is a bundle against one fingerprint and nothing else.
func denyScanners() *config.Bundle {
	return rules().rule("scanner", 100).tcp("scanner", scannerFP).bundle()
}

// deny is a bundle against sources.
func deny(sources ...netip.Addr) *config.Bundle {
	d := rules().rule("bad", 100)
	for _, a := range sources {
		d.list("own", "bad", host(a))
	}
	return d.bundle()
}

// everyone is a bundle against all sources of a family and every fingerprint of the tests: the worst mistake.
func (f family) everyone() *config.Bundle {
	d := rules().rule("all", 100).tcp("all", scannerFP).tcp("all", browserFP)
	for _, a := range []netip.Addr{f.visitor, f.other, f.bot, f.protected, f.mild} {
		d.list("own", "all", netip.PrefixFrom(a, a.BitLen()/2).Masked())
	}
	return d.bundle()
}
