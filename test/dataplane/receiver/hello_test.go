// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"math/rand/v2"
	"slices"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
)

// shapes are how many kinds of client there are. Few, so that no budget for new shapes decides anything.
const shapes = 6

// helloMost is how much of a stream the dataplane reads.
const helloMost = 16384

// A client's hello and its twins: they have the same length and differ in one value, so that whichever bytes of them a
// receiver puts together, it has a hello, and its JA4 says whose bytes it took.
const (
	original = iota
	otherCipher
	otherExtension
	otherAlgorithm
	twins
)

const (
	paddingType    = 0x0015
	algorithmsType = 0x000d
	markerCipher   = 0xc0a0
	markerType     = 0x3300
	markerValue    = 0x0a00
)

// hello makes a client's hello. size is of its padding, which no JA4 knows.
func hello(shape, twin, size int, random uint64) clienthello.Hello {
	r := rand.New(rand.NewPCG(uint64(shape), 1))
	h := clienthello.Hello{Version: 0x0303, SessionID: make([]byte, 32), Compression: []byte{0}}
	for i := range h.Random {
		h.Random[i] = byte(random >> (i % 8 * 8))
	}
	mark := func(kind int, value uint16) uint16 {
		if twin == kind {
			return value + 1
		}
		return value
	}
	h.Ciphers = []uint16{0x1301, 0x1302, 0x1303, 0xc02b, mark(otherCipher, markerCipher), uint16(0xc100 + shape)}
	algorithms := []byte{0, 6, 4, 3, byte(markerValue >> 8), byte(mark(otherAlgorithm, markerValue)), 8, 4}
	h.Extensions = []clienthello.Extension{
		{Type: 0x0000, Data: []byte("\x00\x12\x00\x00\x0fwww.example.com")},
		{Type: 0x000a, Data: []byte{0, 4, 0, 0x1d, 0, 0x17}},
		{Type: algorithmsType, Data: algorithms},
		{Type: 0x0010, Data: []byte("\x00\x0c\x02h2\x08http/1.1")},
		{Type: 0x002b, Data: []byte{4, 3, 4, 3, 3}},
		{Type: mark(otherExtension, markerType)},
		{Type: 0x0033, Data: slices.Concat([]byte{0, 36, 0, 0x1d, 0, 32}, make([]byte, 32))},
		{Type: paddingType, Data: make([]byte, size)},
	}
	r.Shuffle(len(h.Extensions), func(i, j int) { h.Extensions[i], h.Extensions[j] = h.Extensions[j], h.Extensions[i] })
	return h
}

// denied is what the bundle lists: every shape's original.
func denied() (all []string) {
	for shape := range shapes {
		h, err := reference.ParseMessage(hello(shape, original, 10, 0).Bytes())
		if err != nil {
			panic(err)
		}
		all = append(all, h.JA4())
	}
	return all
}

// helloOf returns the fingerprint of the hello that a stream begins with and where it ends; "" where there is no whole
// one.
func helloOf(stream []byte) (ja4 string, end int) {
	h, err := reference.ParseStream(stream)
	if err != nil {
		return "", 0
	}
	return h.JA4(), h.End
}

func ja4Of(stream []byte) string {
	ja4, _ := helloOf(stream)
	return ja4
}
