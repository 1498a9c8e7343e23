// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"net/netip"
	"slices"
	"time"

	"github.com/spillway/spillway/config"
)

// World is everything beside the frame that a decision rests on, in the words of the two files that a person writes.
// Moments are meant to be far from now, before or after: the model has no clock of its own.
type World struct {
	// Now is the moment of the decision.
	Now time.Time `json:"-"`
	// Clock is what limits go by, in nanoseconds: it moves on with Now.
	Clock uint64 `json:",omitempty"`
	// Mode of the control word.
	Mode config.Mode
	// Services in the order of the host file.
	Services []config.Service
	// Allowlist of protected sources.
	Allowlist []netip.Prefix
	// AcceptReasons of the host file: those that may block alone where a connection is proven.
	AcceptReasons []string `json:",omitempty"`
	// Before is the host file that generations stand on which are behind; nil: none is.
	Before *Before `json:",omitempty"`
	// Bypass lets everything pass; nothing is counted.
	Bypass bool
	// BypassServices by name.
	BypassServices []string
	// AgentTimeout and Heartbeat: how long the agent may be gone (0: for ever), and when it last lived.
	AgentTimeout time.Duration
	Heartbeat    time.Time

	// Stable and Candidate generation; nil: none.
	Stable, Candidate *Generation
	// Canary is the candidate's share of sources, in permille.
	Canary int
	// Lease is the candidate's deadline.
	Lease time.Time
	// Tripped says that the candidate's breaker did.
	Tripped bool
	// Previous is what was stable before; nil: none.
	Previous *Generation
	// Pair has generations compared: the candidate with stable, and stable with previous.
	Pair bool
	// Budget holds stable to its budget, and Spent says that it is used up.
	Budget, Spent bool

	// Bans in force or ended.
	Bans []Ban
	// Vouched are sources that somebody vouches for, or did.
	Vouched []Vouch

	// SynPlaces is the number of SYNs that can be remembered, a power of two; SynKey spreads them.
	SynPlaces int `json:"-"`
	SynKey    [2]uint64
}

// Generation is a compiled bundle.
type Generation struct {
	Bundle *config.Bundle
	// Services that it was compiled for, by name. Any other has no policy.
	Services []string
	// Slot where it lives and Number of its compilation: the kernel's names for it.
	Slot   uint8  `json:"-"`
	Number uint32 `json:"-"`
	// Current says that it was compiled for the host file in force, where there is one before.
	Current bool `json:",omitempty"`
}

// Before is what a host file said that lets less be blocked.
type Before struct {
	Services      []config.Service
	Allowlist     []netip.Prefix
	AcceptReasons []string
}

// Ban is a short block outside bundles.
type Ban struct {
	Prefix  netip.Prefix
	Expires time.Time
}

// Vouch spares a source from bundles: an address, over IPv6 with its /64.
type Vouch struct {
	Source  netip.Addr
	Expires time.Time
}

// service returns the service that a packet is for: of those of its protocol and port the one that names its address,
// then the one that answers on any; the host file's first where several do. Where the ports cannot be read, any port
// fits; where even the protocol cannot, TCP goes before UDP.
func (w *World) service(p *packet) *config.Service {
	if p.protocol == 0 {
		tcp, udp := *p, *p
		tcp.protocol, udp.protocol = protocolTCP, protocolUDP
		if s := w.service(&tcp); s != nil {
			return s
		}
		return w.service(&udp)
	}
	var anyAddress *config.Service
	for i := range w.Services {
		s := &w.Services[i]
		if s.Protocol() != p.protocol || p.depth != byAddresses && s.Port != p.destPort {
			continue
		}
		for _, a := range s.Addresses {
			if a.IP == p.dest {
				return s
			}
			if a.Any() && anyAddress == nil {
				anyAddress = s
			}
		}
	}
	return anyAddress
}

func (w *World) isBanned(p *packet) bool {
	for _, b := range w.Bans {
		if b.Prefix.Contains(p.source) && w.Now.Before(b.Expires) {
			return true
		}
	}
	return false
}

func (w *World) isProtected(p *packet) bool { return covers(w.Allowlist, p) }

func covers(allowlist []netip.Prefix, p *packet) bool {
	for _, a := range allowlist {
		if a.Contains(p.source) {
			return true
		}
	}
	return false
}

// isBehind says whether a generation decides as with the host file before.
func (w *World) isBehind(g *Generation) bool { return w.Before != nil && g != nil && !g.Current }

// wasProtected says whether the source was on the allowlist before, and is not any more.
func (w *World) wasProtected(p *packet) bool {
	return w.Before != nil && covers(w.Before.Allowlist, p) && !w.isProtected(p)
}

// isFresh says whether the packet was for no service before, or for one that was read in another way. Of a packet
// without ports the address of the host file decides that it fits.
func (w *World) isFresh(p *packet, service string) bool {
	if w.Before == nil {
		return false
	}
	at := p.dest
	for _, s := range w.Services {
		if s.Name != service || p.depth != byAddresses {
			continue
		}
		if !slices.ContainsFunc(s.Addresses, func(a config.Address) bool { return a.IP == p.dest }) {
			at = netip.Addr{} // any fits
		}
	}
	return !slices.ContainsFunc(w.Before.Services, func(o config.Service) bool {
		i := slices.IndexFunc(w.Services, func(s config.Service) bool { return s.Name == service })
		s := w.Services[i]
		return o.Name == s.Name && o.Port == s.Port && o.Kind == s.Kind && o.Local == s.Local && o.Confirm == s.Confirm &&
			slices.ContainsFunc(o.Addresses, func(a config.Address) bool { return a.Any() || a.IP == at })
	})
}

// accepts says whether a reason may block alone, for a generation.
func (w *World) accepts(g *Generation, reason string) bool {
	return slices.Contains(w.AcceptReasons, reason) &&
		(!w.isBehind(g) || slices.Contains(w.Before.AcceptReasons, reason))
}

// isVouched lets the last vouch of a source count.
func (w *World) isVouched(p *packet) bool {
	vouched := false
	for _, v := range w.Vouched {
		if vouchedPrefix(v.Source).Contains(p.source) {
			vouched = w.Now.Before(v.Expires)
		}
	}
	return vouched
}

func vouchedPrefix(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(a, bits)
}

func (w *World) isAgentLost() bool {
	return w.AgentTimeout != 0 && w.Now.Sub(w.Heartbeat) > w.AgentTimeout
}

// mayEnforce says whether the candidate has authority: under a live lease, until its breaker trips.
func (w *World) mayEnforce() bool {
	return w.Candidate != nil && w.Now.Before(w.Lease) && !w.Tripped
}

// hasSpent says whether stable used up its budget.
func (w *World) hasSpent() bool { return w.Budget && w.Spent && w.Stable != nil }

// generationFor returns who decides on a source: previous where stable used up its budget, else the candidate for its
// share, else stable. What nobody vouches for, and nothing is vouched for here, is no share's: it is everybody's or
// stable's.
func (w *World) generationFor(*packet) *Generation {
	if w.hasSpent() {
		return w.Previous
	}
	if w.Canary >= 1000 && w.mayEnforce() {
		return w.Candidate
	}
	return w.Stable
}
