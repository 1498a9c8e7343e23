// SPDX-License-Identifier: Apache-2.0

package clienthello

import (
	"encoding/hex"
	"strings"
)

// OfLists returns the stream of a ClientHello of TLS 1.3 with a server name, whose lists are those of a JA4_r, and
// whose first protocol is h2 where the JA4_r says so. It panics on a text that is none.
func OfLists(raw string) []byte {
	parts := strings.Split(raw, "_")
	h := Hello{Version: 0x0303, Ciphers: listOf(parts[1]), Compression: []byte{0}}
	add := func(kind uint16, data []byte) { h.Extensions = append(h.Extensions, Extension{Type: kind, Data: data}) }
	add(typeServerName, counted(2, append([]byte{0}, counted(2, []byte("a.example"))...)))
	if strings.HasSuffix(parts[0], "h2") {
		add(typeALPN, counted(2, counted(1, []byte("h2"))))
	}
	for _, kind := range listOf(parts[2]) {
		switch kind {
		case typeVersions:
			add(kind, counted(1, []byte{3, 4}))
		case typeAlgorithms:
			add(kind, counted(2, numbers(listOf(parts[3]))))
		default:
			add(kind, nil)
		}
	}
	return Records(h.Bytes())
}

func listOf(text string) (values []uint16) {
	for _, v := range strings.Split(text, ",") {
		b, err := hex.DecodeString(v)
		if err != nil || len(b) != 2 {
			panic("no list of a JA4_r: " + text)
		}
		values = append(values, uint16(b[0])<<8|uint16(b[1]))
	}
	return values
}
