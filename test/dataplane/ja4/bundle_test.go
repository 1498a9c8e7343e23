// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"net/netip"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
)

// site is the host file of the tests: web has its sockets here, far elsewhere, plain speaks no TLS.
func site() *config.Host {
	h := config.DefaultHost()
	h.MaxMode = config.ModeEnforce
	h.Services = []config.Service{
		{Name: "web", Addresses: []config.Address{{}}, Port: webPort, Kind: config.KindTLS, Local: true},
		{Name: "far", Addresses: []config.Address{{}}, Port: farPort, Kind: config.KindTLS, Local: false},
		{Name: "plain", Addresses: []config.Address{{}}, Port: 8080, Kind: config.KindTCP, Local: false},
	}
	h.Allowlist = []config.AllowEntry{{Prefix: host(protected)}}
	return h
}

var protected = netip.MustParseAddr("203.0.113.7")

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// draft is a bundle in the making.
type draft struct{ b config.Bundle }

// bundle starts one that drops from a score of 80 on.
func bundle() *draft {
	d := &draft{
		config.Bundle{Version: 1, Name: "test", Policy: map[string]config.Policy{config.DefaultPolicy: {Drop: 80}}}}
	d.b.Digest[0] = 1 // the canary's salt: the same in every run
	return d
}

func (d *draft) bundle() *config.Bundle { return &d.b }

func (d *draft) rule(id string, score int) *draft { return d.ruleUntil(id, score, time.Time{}) }

func (d *draft) ruleUntil(id string, score int, expires time.Time) *draft {
	d.b.Rules = append(d.b.Rules, config.Rule{ID: id, Label: id, Score: score, Expires: expires})
	return d
}

func (d *draft) ja4(rule, match string) *draft    { return d.feature(rule, match, false) }
func (d *draft) stable(rule, match string) *draft { return d.feature(rule, match, true) }

func (d *draft) feature(rule, match string, stable bool) *draft {
	m, err := signature.ParseJA4(match)
	if err != nil {
		panic(err)
	}
	d.b.JA4 = append(d.b.JA4, config.JA4Feature{Rule: rule, Match: m, Stable: stable})
	return d
}

func (d *draft) prefix(rule string, p netip.Prefix) *draft {
	d.b.Prefixes = append(d.b.Prefixes, config.PrefixList{List: "own", Rule: rule, Entries: []netip.Prefix{p}})
	return d
}

func (d *draft) reason(rule, reason string) *draft {
	d.b.Reasons = append(d.b.Reasons, config.ReasonFeature{Rule: rule, Reason: reason})
	return d
}

// weak are the reasons why a ClientHello has no fingerprint, or an odd way of coming, each with a score of its own: a
// flow keeps its score, and with it the reason.
var weak = []string{"hello_order", "hello_overlap", "hello_too_long", "hello_malformed", "hello_busy",
	"not_hello", "hello_urgent"}

// telling is a bundle that blocks nothing and gives every weak reason its score.
func telling() *config.Bundle {
	d := bundle()
	for i, reason := range weak {
		d.rule(reason, i+1).reason(reason, reason)
	}
	return d.bundle()
}

// weakOf returns the reason of a score, "" for another one.
func weakOf(score uint8) string {
	if i := int(score) - 1; i >= 0 && i < len(weak) {
		return weak[i]
	}
	return ""
}
