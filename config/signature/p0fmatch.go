// SPDX-License-Identifier: Apache-2.0

package signature

import "slices"

// maxHops is how far a SYN may have come, as p0f has it.
const maxHops = 35

// Fits reports whether a signature describes a SYN of which p0f printed seen. What p0f calls a fuzzy match is none
// here.
func (s P0F) Fits(seen P0F) bool {
	quirks := s.Quirks
	if s.Version == 0 { // the other family's quirks do not count
		quirks &^= QuirksOf(10 - seen.Version)
	}
	return (s.Version == 0 || s.Version == seen.Version) &&
		s.fitsTTL(seen.TTL) &&
		s.IPOptions == seen.IPOptions &&
		(s.MSS == nil || seen.MSS != nil && *s.MSS == *seen.MSS) &&
		(s.Scale == nil || seen.Scale != nil && *s.Scale == *seen.Scale) &&
		s.Window.fits(seen) &&
		slices.Equal(s.Layout, seen.Layout) && s.EOLPad == seen.EOLPad &&
		quirks == seen.Quirks &&
		(s.Payload == PayloadAny || s.Payload == seen.Payload)
}

// fitsTTL compares with p0f's guess of what was sent.
func (s P0F) fitsTTL(sent uint8) bool {
	if s.RandomTTL {
		return sent <= s.TTL
	}
	return sent <= s.TTL && s.TTL-sent <= maxHops
}

// fits compares a window with the one that p0f printed, which may be a multiple of the MSS.
func (w Window) fits(seen P0F) bool {
	if w.Kind == WindowAny || w == seen.Window {
		return true
	}
	value := uint32(seen.Window.N)
	if seen.MSS != nil {
		switch seen.Window.Kind {
		case WindowMSS:
			value *= uint32(*seen.MSS)
		case WindowMTU:
			value *= uint32(*seen.MSS) + 40
		}
	}
	switch w.Kind {
	case WindowValue:
		return value == uint32(w.N)
	case WindowModulo:
		return value%uint32(w.N) == 0
	}
	return false
}
