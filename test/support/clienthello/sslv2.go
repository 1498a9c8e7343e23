// SPDX-License-Identifier: Apache-2.0

package clienthello

import (
	"encoding/binary"
	"slices"
)

// SSLv2 is a ClientHello in the format of SSL 2.0, with what no other format has.
type SSLv2 struct {
	Version   uint16
	Ciphers   []uint16 // of TLS
	Kinds     []uint32 // of SSL 2.0, three bytes each, in front of them
	Session   []byte
	Challenge int    // bytes
	More      []byte // within the length, behind the challenge
}

// Bytes returns the stream of the hello.
func (h SSLv2) Bytes() []byte {
	var specs []byte
	for _, kind := range h.Kinds {
		specs = append(specs, byte(kind>>16), byte(kind>>8), byte(kind))
	}
	for _, c := range h.Ciphers {
		specs = append(specs, 0, byte(c>>8), byte(c))
	}
	b := []byte{0, 0, 1}
	for _, n := range []int{int(h.Version), len(specs), len(h.Session), h.Challenge} {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	b = slices.Concat(b, specs, h.Session, make([]byte, h.Challenge), h.More)
	binary.BigEndian.PutUint16(b, uint16(len(b)-2)|1<<15)
	return b
}
