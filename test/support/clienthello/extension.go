// SPDX-License-Identifier: Apache-2.0

package clienthello

import (
	"bytes"
	"math/rand/v2"
)

// generator makes extensions within a budget of bytes.
type generator struct {
	r    *rand.Rand
	room int // bytes of data that the next extensions may have, besides a few for small ones
}

// extension returns one with content by its kind. What a fingerprint reads is well-formed.
func (g *generator) extension(kind uint16) Extension {
	data := g.data(kind)
	if len(data) > g.room {
		data = g.least(kind)
	}
	g.room -= len(data)
	return Extension{Type: kind, Data: data}
}

// least is the smallest content that has a list.
func (g *generator) least(kind uint16) []byte {
	return make([]byte, listWidth[kind])
}

func (g *generator) data(kind uint16) []byte {
	r := g.r
	if chance(r, 25) {
		return nil
	}
	switch kind {
	case typeServerName:
		if chance(r, 10) {
			return noise(r, r.IntN(20))
		}
		return counted(2, append([]byte{0}, counted(2, []byte("www.example.com"))...))
	case typeGroups:
		return counted(2, numbers(values(r, r.IntN(8), knownGroups)))
	case typePointFormats:
		return counted(1, noise(r, r.IntN(4)))
	case typeAlgorithms:
		return counted(2, numbers(values(r, count(r, maxAlgorithms), knownAlgorithms)))
	case typeVersions:
		if chance(r, 3) {
			return counted(1, numbers(values(r, r.IntN(8), knownVersions)))
		}
		usual := append([]uint16{grease(r)}, 0x0304, 0x0303, 0x0302, 0x0301)
		return counted(1, numbers(usual[r.IntN(2):3+r.IntN(3)]))
	case typeALPN:
		return g.protocols()
	case typeKeyShare:
		size := pick(r, []int{36, 1216, 1263, 1327, r.IntN(maxKeyShare)})
		return counted(2, noise(r, size))
	case typePadding:
		return make([]byte, r.IntN(600))
	case typeSessionTicket, typePreSharedKey, typeCookie:
		return noise(r, pick(r, []int{0, 192, r.IntN(300)}))
	}
	return noise(r, pick(r, []int{0, 0, 1, 5, r.IntN(40), r.IntN(300)}))
}

// protocols returns the content of ALPN. The first name is what is odd about it, if not GREASE.
func (g *generator) protocols() []byte {
	r := g.r
	names := [][]byte{}
	for range r.IntN(4) {
		names = append(names, []byte(pick(r, []string{"h2", "http/1.1", "h3", "spdy/3", "dot", "acme-tls/1"})))
	}
	if chance(r, 2) {
		names = append([][]byte{g.oddName()}, names...)
	}
	if chance(r, 4) {
		for range pick(r, []int{1, 1, 2, 15, 16, 17, 18}) {
			names = append([][]byte{numbers([]uint16{grease(r)})}, names...)
		}
	}
	var list []byte
	for _, name := range names {
		list = append(list, counted(1, name)...)
	}
	return counted(2, list)
}

func (g *generator) oddName() []byte {
	r := g.r
	switch r.IntN(8) {
	case 0:
		return nil
	case 1:
		return []byte{pick(r, []byte("a0Zz9A"))}
	case 2:
		return noise(r, 1)
	case 3:
		return numbers([]uint16{grease(r)})
	case 4:
		return bytes.Repeat([]byte{'x'}, 1+r.IntN(255))
	case 5: // at the edges of what is alphanumeric
		edges := []byte{'/', '0', '9', ':', '@', 'A', 'Z', '[', '`', 'a', 'z', '{', 0x7f, 0x80, 0xff}
		return []byte{pick(r, edges), pick(r, edges)}
	case 6:
		return append(noise(r, 1), "2"...)
	}
	return noise(r, 2+r.IntN(6))
}
