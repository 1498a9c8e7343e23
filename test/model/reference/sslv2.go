// SPDX-License-Identifier: Apache-2.0

package reference

import "encoding/binary"

// A ClientHello in the format of SSL 2.0 (RFC 5246 appendix E.2), which GnuTLS serves: a length with the highest bit
// set, the kind of the message, the version, three lengths, and behind them specs of three bytes, a session and a
// challenge.
const (
	sslv2Mark       = 0x80
	sslv2LengthSize = 2
	sslv2Fixed      = sslv2LengthSize + 1 + 2 + 3*2
	sslv2Spec       = 3
)

// parseSSLv2 reads such a hello at a place of a stream: its version, and of its specs those of TLS, which begin with 0.
func parseSSLv2(stream []byte, at int) (*Hello, error) {
	b := stream[at:]
	incomplete := &Error{ErrIncomplete, InHandshake, len(stream)}
	if len(b) > sslv2LengthSize && b[sslv2LengthSize] != clientHello {
		return nil, &Error{ErrNotHello, InHandshake, at + sslv2LengthSize}
	}
	if len(b) < sslv2Fixed {
		return nil, incomplete
	}
	word := func(at int) int { return int(binary.BigEndian.Uint16(b[at:])) }
	end, specs := sslv2LengthSize+word(0)&^(sslv2Mark<<8), word(5)
	switch {
	case specs%sslv2Spec != 0:
		return nil, &Error{ErrMalformed, InCiphers, at + 5}
	case sslv2Fixed+specs+word(7)+word(9) > end: // GnuTLS overlooks what follows them
		return nil, &Error{ErrMalformed, InRecordLength, at}
	case end > len(b):
		return nil, incomplete
	}
	h := &Hello{Version: uint16(word(3)), End: at + end}
	for spec := b[sslv2Fixed : sslv2Fixed+specs]; len(spec) > 0; spec = spec[sslv2Spec:] {
		if spec[0] == 0 {
			h.Ciphers = append(h.Ciphers, binary.BigEndian.Uint16(spec[1:]))
		}
	}
	return h, nil
}
