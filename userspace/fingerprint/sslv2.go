// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"encoding/binary"
	"fmt"
)

// A ClientHello in the format of SSL 2.0, see bpf/sslv2.h: a length with the highest bit set, the kind of the message,
// the version, and the lengths of specs, session and challenge.
const (
	sslv2Mark       = 0x80
	sslv2LengthSize = 2
	sslv2Fixed      = 11
	sslv2Spec       = 3
)

// readSSLv2 reads the hello that a stream begins with: its version, and the specs that are cipher suites of TLS.
func readSSLv2(b []byte) (*hello, error) {
	switch {
	case !beginsHello(b):
		return nil, errNotHello
	case len(b) < sslv2Fixed:
		return nil, errPartial
	}
	word := func(at int) int { return int(binary.BigEndian.Uint16(b[at:])) }
	end, specs := sslv2LengthSize+word(0)&^(sslv2Mark<<8), word(5)
	switch {
	case specs%sslv2Spec != 0 || sslv2Fixed+specs+word(7)+word(9) > end:
		return nil, fmt.Errorf("%w: lengths of SSL 2.0", errMalformed)
	case end > helloMax:
		return nil, errTooLong
	case end > len(b):
		return nil, errPartial
	}
	h := &hello{version: uint16(word(3))}
	for spec := b[sslv2Fixed : sslv2Fixed+specs]; len(spec) > 0; spec = spec[sslv2Spec:] {
		if spec[0] == 0 {
			h.ciphers = append(h.ciphers, binary.BigEndian.Uint16(spec[1:]))
		}
	}
	return h, nil
}
