// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"slices"

	"github.com/spillway/spillway/config"
)

// cuts says whether the generation in force drops the first fragment of a TCP segment to the service. One without ports
// may be for any TCP service of its address, so all of those that the bundle was compiled for must be of one mind.
// Later fragments are left: nothing comes of them.
func (w *World) cuts(p *packet, s *config.Service) bool {
	g := w.generationFor(p)
	if g == nil || p.protocol != protocolTCP || p.depth == byAddresses && !p.tiny {
		return false
	}
	if !g.cuts(s) || w.most(g, s) < config.MaxDrop.Rank() || w.isBehind(g) && w.isFresh(p, s.Name) {
		return false
	}
	for i := range w.Services {
		other := &w.Services[i]
		if p.tiny && slices.Contains(g.Services, other.Name) && other.Protocol() == s.Protocol() &&
			share(s, other) && !g.cuts(other) {
			return false
		}
	}
	return true
}

// cuts says so of one service.
func (g *Generation) cuts(s *config.Service) bool {
	return slices.Contains(g.Services, s.Name) && (s.Kind == config.KindTLS || s.Kind == config.KindTCP) &&
		g.Bundle.PolicyFor(s.Name).Fragments == config.FragmentsDrop
}

// share says whether two services answer on one address.
func share(a, b *config.Service) bool {
	for _, x := range a.Addresses {
		for _, y := range b.Addresses {
			if x.Any() || y.Any() || x.IP == y.IP {
				return true
			}
		}
	}
	return false
}
