// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"encoding/binary"
	"encoding/hex"
)

// Extensions that a ClientHello of a JA4 needs content in, and those that JA4_r leaves out (IANA).
const (
	extServerName = 0x0000
	extAlgorithms = 0x000d
	extALPN       = 0x0010
	extVersions   = 0x002b
)

var helloVersions = map[string]uint16{"13": 0x0304, "12": 0x0303, "11": 0x0302, "10": 0x0301, "s3": 0x0300}

// ClientHello returns a record with a ClientHello that has this JA4. What JA4 does not tell is made up: a client of
// that JA4 sends other bytes. ok is false where none can be made.
func (r RawJA4) ClientHello() (record []byte, ok bool) {
	version, ok := helloVersions[r.a[1:3]]
	if !ok {
		return nil, false
	}
	legacy := min(version, 0x0303)
	body := binary.BigEndian.AppendUint16(nil, legacy)
	body = append(body, make([]byte, 32)...) // random
	body = append(body, 0)                   // session
	body = vector16(body, hexes(r.ciphers))
	body = append(body, 1, 0) // no compression
	var extensions []byte
	add := func(kind uint16, content []byte) {
		extensions = vector16(binary.BigEndian.AppendUint16(extensions, kind), content)
	}
	if r.a[3] == 'd' {
		name := []byte("golden.example")
		add(extServerName, vector16(nil, vector16([]byte{0}, name)))
	}
	if r.a[8:] != "00" {
		protocol := r.a[8:]
		if protocol == "h1" {
			protocol = "http/1.1"
		}
		add(extALPN, vector16(nil, append([]byte{byte(len(protocol))}, protocol...)))
	}
	names := false
	for _, text := range r.extensions {
		content := []byte(nil)
		kind := binary.BigEndian.Uint16(hexes([]string{text}))
		switch kind {
		case extVersions:
			content, names = binary.BigEndian.AppendUint16([]byte{2}, version), true
		case extAlgorithms:
			content = vector16(nil, hexes(r.algorithms))
		}
		add(kind, content)
	}
	if version > legacy && !names {
		return nil, false
	}
	body = vector16(body, extensions)
	message := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return vector16([]byte{22, 3, 1}, message), true
}

func vector16(to, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16(to, uint16(len(content))), content...)
}

func hexes(values []string) (b []byte) {
	for _, v := range values {
		part, _ := hex.DecodeString(v) // four digits each: it was parsed
		b = append(b, part...)
	}
	return b
}
