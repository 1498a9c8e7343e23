// SPDX-License-Identifier: Apache-2.0

package reference_test

import (
	"crypto/md5"
	"errors"
	"fmt"
	"testing"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
)

func TestJA3(t *testing.T) {
	groups, formats := ext(0x000a, "0006 2a2a 001d 0017"), ext(0x000b, "02 00 01")
	greased := []uint16{0x1a1a, 0x1301, 0xc02f, 0x0a1a}
	for name, c := range map[string]struct {
		hello clienthello.Hello
		want  string
	}{
		"all parts": {hello(greased, ext(0xdada, ""), formats, ext(0, ""), groups),
			"771,4865-49199-2586,11-0-10,29-23,0-1"},
		"no extensions":              {hello(one), "771,47,,,"},
		"no cipher suites":           {hello(nil, ext(5, "")), "771,,5,,"},
		"empty lists":                {hello(one, ext(0x0a, "0000"), ext(0x0b, "00")), "771,47,10-11,,"},
		"no data":                    {hello(one, ext(0x0a, ""), ext(0x0b, "")), "771,47,10-11,,"},
		"of two, the first":          {hello(one, groups, ext(0x0a, "0002 0018")), "771,47,10-10,29-23,"},
		"supported versions ignored": {hello(one, ext(0x2b, "02 0304")), "771,47,43,,"},
	} {
		h, err := reference.ParseMessage(c.hello.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, hash, err := h.JA3()
		if err != nil || text != c.want || hash != fmt.Sprintf("%x", md5.Sum([]byte(c.want))) {
			t.Errorf("%s: %s %s, %v, want %s", name, text, hash, err, c.want)
		}
	}
}

// The lists that only JA3 reads fail JA3, not the hello.
func TestMalformedJA3(t *testing.T) {
	for where, data := range map[reference.Where]clienthello.Extension{
		reference.InGroups: ext(0x0a, "0004 001d"), reference.InPointFormats: ext(0x0b, "00 00"),
	} {
		h, err := reference.ParseMessage(hello(one, data).Bytes())
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		_, _, err = h.JA3()
		var got *reference.Error
		if !errors.As(err, &got) || got.Where != where || !errors.Is(err, reference.ErrMalformed) {
			t.Errorf("%s: %v", where, err)
		}
	}
}
