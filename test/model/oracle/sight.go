// SPDX-License-Identifier: Apache-2.0

package oracle

import "maps"

// Places where packets are counted that passed unread: one for those whose addresses cannot be read either, and one for
// each pair of addresses, which it may share.
const (
	unreadEverywhere = 0
	unreadPlaces     = 4096
)

// noteUnread counts a packet that ends the sight of its addresses: it passes, and nobody knows which bytes of which TCP
// connection it has. What is dropped ends none, else a bot would send it to be left alone; a fragment with its ports
// counts before it is judged, unless the policy in force cuts fragments.
func (m *Model) noteUnread(p *packet, r Result, isCut bool) {
	isUnread := p.fragment || p.depth == byAddresses && p.flaw == tooDeep
	isJudged := p.depth == byAddresses || isCut
	if p.protocol == protocolUDP || !isUnread || isJudged && r.Drops() {
		return
	}
	m.unread[m.World.unreadPlace(p)]++
}

// unreadPlace is a keyed hash of both addresses.
func (w *World) unreadPlace(p *packet) uint32 {
	return 1 + uint32(sipHash(w.SynKey[1], w.SynKey[0], p.wire[:]))%(unreadPlaces-1)
}

// Unread returns how many packets each place has counted, those that have counted none left out.
func (m *Model) Unread() map[uint32]uint32 { return maps.Clone(m.unread) }
