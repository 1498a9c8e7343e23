// SPDX-License-Identifier: Apache-2.0

package clienthello

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Lie returns the message of a hello with one length in it changed, and says which.
func Lie(r *rand.Rand, h Hello) (message []byte, what string) {
	message = h.Bytes()
	f := pick(r, h.Fields())
	place := message[f.Offset : f.Offset+f.Width]
	right := number(place)
	most := 1<<(8*f.Width) - 1
	wrong := pick(r, []int{0, 1, 2, right - 1, right + 1, right - 2, right + 2, most, most - 1, r.IntN(most + 1)})
	putNumber(place, wrong)
	return message, fmt.Sprintf("length of %s at %d: %d instead of %d", f.Name, f.Offset, number(place), right)
}

func number(b []byte) int {
	n := 0
	for _, v := range b {
		n = n<<8 | int(v)
	}
	return n
}

// Break returns a stream that something is wrong with, or perhaps only odd, and says what. It may still be a hello:
// that is for a reader to find out.
func Break(r *rand.Rand, h Hello) (stream []byte, what string) {
	message := h.Bytes()
	cuts := Cuts(r, len(message))
	stream = Records(message, cuts...)
	at := r.IntN(len(stream))
	switch r.IntN(12) {
	case 0:
		return stream[:at], fmt.Sprintf("ends after %d of %d bytes", at, len(stream))
	case 1:
		stream[at] ^= byte(1 + r.IntN(255))
		return stream, fmt.Sprintf("byte %d is %#02x", at, stream[at])
	case 2:
		tail := noise(r, 1+r.IntN(300))
		return append(stream, tail...), fmt.Sprintf("%d bytes behind the hello", len(tail))
	case 3:
		tail := noise(r, 1+r.IntN(300))
		return Records(append(message, tail...), cuts...), fmt.Sprintf("%d more bytes in the last record", len(tail))
	case 4:
		return breakRecord(r, stream)
	case 5:
		return foreignRecord(r, message)
	case 6:
		return append(stream[:at], noise(r, 100)...), fmt.Sprintf("noise after byte %d", at)
	}
	lie, what := Lie(r, h)
	return Records(lie, cuts...), what
}

// breakRecord changes the header of the first record.
func breakRecord(r *rand.Rand, stream []byte) ([]byte, string) {
	length := number(stream[3:recordHeader])
	switch r.IntN(3) {
	case 0:
		stream[0] = byte(r.Uint32())
	case 1:
		stream[1] = byte(r.IntN(5))
	default:
		putNumber(stream[3:recordHeader], pick(r, []int{0, 1, length - 1, length + 1, recordMax, recordMax + 1, 0xffff}))
	}
	return stream, fmt.Sprintf("record header % x, length was %d", stream[:recordHeader], length)
}

// foreignRecord puts a record of another kind, or an empty one, into the middle of the message.
func foreignRecord(r *rand.Rand, message []byte) ([]byte, string) {
	at := r.IntN(len(message))
	kind := pick(r, []byte{20, 21, recordHandshake, 23, 24, 0})
	between := record(kind, noise(r, pick(r, []int{0, 1, 2})))
	if at == 0 {
		return slices.Concat(between, Records(message)), fmt.Sprintf("record % x before the hello", between)
	}
	return slices.Concat(Records(message[:at]), between, Records(message[at:])),
		fmt.Sprintf("record % x after byte %d of the message", between, at)
}
