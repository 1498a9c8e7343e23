// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"net/netip"

	"github.com/spillway/spillway/config"
)

// limit is what a limit counts together and admits. Two generations with the same one share it.
type limit struct {
	service  string
	by       config.LimitKey
	shared   uint8
	interval uint64
	burst    uint64
}

// account is who is charged.
type account struct {
	limit
	source      netip.Prefix
	fingerprint string
	alone       uint32 // number of the generation whose account it is, 0: of all that have this limit
}

// unit is the dataplane's, of a nanosecond: an interval is rounded up, a moment down.
const unit = 1024

func (g *Generation) limit(s *config.Service) limit {
	r := g.policy(s).Rate
	interval := uint64(r.Connections.Interval())
	return limit{s.Name, r.By, r.Shared, max((interval+unit-1)/unit, 1), uint64(r.Burst)}
}

// chargeOnce returns what charges the limits of generations with one connection: those that have the same limit charge
// it once. A generation that does not decide spends nothing of the one that does, and did not charge it.
func (m *Model) chargeOnce(f facts, s *config.Service) func(*Generation) bool {
	said := map[limit]bool{}
	decides := m.World.generationFor(f.packet)
	return func(g *Generation) bool {
		l := g.limit(s)
		if _, known := said[l]; !known {
			a := l.account(f)
			if g != decides && decides != nil && decides.limit(s) == l {
				a.alone = g.Number
			}
			said[l] = m.charge(a)
		}
		return said[l]
	}
}

// account says whom a connection is charged to. IPv6 sources are their /64. No address here shows kinds of clients, so
// none is one that many people share.
func (l limit) account(f facts) account {
	a := account{limit: l}
	four, six := 32, 64
	if l.by == config.LimitByPrefix {
		four, six = 24, 48
	}
	if f.packet.source.Is6() {
		four = six
	}
	a.source, _ = f.packet.source.Prefix(four)
	if l.by == config.LimitByFingerprint && f.hasFingerprint {
		a.fingerprint = f.fingerprint
	}
	return a
}

// charge is the virtual scheduling of ITU-T I.371: a connection that comes before its time by more than the burst
// tolerates is beyond, and changes nothing.
func (m *Model) charge(a account) (over bool) {
	now := m.World.Clock / unit
	next := max(m.limits[a], now)
	if next-now > (a.burst-1)*a.interval {
		return true
	}
	m.limits[a] = next + a.interval
	return false
}
