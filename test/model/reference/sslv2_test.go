// SPDX-License-Identifier: Apache-2.0

package reference_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
)

// The JA4 of a hello in the format of SSL 2.0 is that of the same hello in today's.
func TestSSLv2(t *testing.T) {
	ccs, empty := []byte{20, 3, 1, 0, 1, 1}, []byte{22, 3, 1, 0, 0}
	suites := []uint16{0x009c, 0x002f, 0x00ff, 0x0a0a}
	plain := clienthello.SSLv2{Version: 0x0303, Ciphers: suites, Challenge: 32}
	with := func(change func(*clienthello.SSLv2)) []byte {
		h := plain
		change(&h)
		return h.Bytes()
	}
	for name, c := range map[string]struct {
		stream []byte
		raw    string
	}{
		"plain":      {plain.Bytes(), "t12i030000_002f,009c,00ff_"},
		"of TLS 1.0": {with(func(h *clienthello.SSLv2) { h.Version = 0x0301 }), "t10i030000_002f,009c,00ff_"},
		"of SSL 2.0": {with(func(h *clienthello.SSLv2) { h.Version = 2 }), "ts2i030000_002f,009c,00ff_"},
		"kinds of SSL 2.0 too": {with(func(h *clienthello.SSLv2) { h.Kinds = []uint32{0x010080, 0x0700c0} }),
			"t12i030000_002f,009c,00ff_"},
		"with a session": {with(func(h *clienthello.SSLv2) { h.Session = make([]byte, 16) }),
			"t12i030000_002f,009c,00ff_"},
		"with more behind it": {with(func(h *clienthello.SSLv2) { h.More = []byte("more") }), "t12i030000_002f,009c,00ff_"},
		"no specs":            {with(func(h *clienthello.SSLv2) { h.Ciphers = nil }), "t12i000000__"},
		"behind CCS":          {slices.Concat(ccs, ccs, plain.Bytes()), "t12i030000_002f,009c,00ff_"},
		"behind nothing":      {slices.Concat(empty, plain.Bytes()), "t12i030000_002f,009c,00ff_"},
	} {
		h, err := reference.ParseStream(append(slices.Clone(c.stream), "tail"...))
		if err != nil || h.JA4Raw() != c.raw || h.StableJA4Raw() != c.raw || h.End != len(c.stream) {
			t.Errorf("%s: %+v, %v, want %s", name, h, err, c.raw)
		}
		for n := range c.stream {
			if _, err := reference.ParseStream(c.stream[:n]); !errors.Is(err, reference.ErrIncomplete) {
				t.Errorf("%s, %d of %d bytes: %v", name, n, len(c.stream), err)
			}
		}
	}
	odd, long, answer := plain.Bytes(), plain.Bytes(), plain.Bytes()
	odd[6]--
	long[8] = 200
	answer[2] = 4
	for name, c := range map[string]struct {
		stream []byte
		kind   error
	}{
		"an odd list": {odd, reference.ErrMalformed}, "lengths over the end": {long, reference.ErrMalformed},
		"a ServerHello": {answer, reference.ErrNotHello},
		"behind a part": {slices.Concat([]byte{22, 3, 1, 0, 2, 1, 0}, plain.Bytes()), reference.ErrMalformed},
	} {
		if _, err := reference.ParseStream(c.stream); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
}
