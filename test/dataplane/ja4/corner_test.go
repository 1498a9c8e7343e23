// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"testing"
)

// names is the content of an ALPN extension.
func names(all ...string) []byte {
	var b []byte
	for _, name := range all {
		b = append(append(b, byte(len(name))), name...)
	}
	return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
}

func times(n int, name string, then ...string) (all []string) {
	for range n {
		all = append(all, name)
	}
	return append(all, then...)
}

// Where the first part of a JA4 is not what it seems at first.
func TestFirstPartCorners(t *testing.T) {
	p := open(t)
	p.spendFreely()
	p.swap(telling())
	const grease = "\xba\xba"
	for i, c := range []struct {
		kind uint16
		data []byte
		want string
	}{
		{0x002b, []byte{2, 0, 0}, "t00i010100"},
		{0x002b, []byte{4, 0, 0, 0x0a, 0x0a}, "t00i010100"},
		{0x002b, []byte{4, 0, 0, 3, 2}, "t11i010100"},
		{0x002b, []byte{2, 0x0a, 0x0a}, "t12i010100"},
		{0x002b, []byte{0}, "t12i010100"},
		{0x002b, []byte{4, 0xff, 0xff, 3, 3}, "t00i010100"},
		{0x0010, names(grease, "h2"), "t12i0101h2"},
		{0x0010, names("zz", "h2"), "t12i0101h2"},
		{0x0010, names(grease), "t12i010100"},
		{0x0010, names(grease, "", "h2"), "t12i010100"},
		{0x0010, names("\x0a\x1a", "h2"), "t12i01010a"},
		{0x0010, names("zzz"), "t12i0101zz"},
		{0x0010, names(times(16, grease, "h2")...), "t12i0101h2"},
		{0x0010, names(times(17, grease, "h2")...), "t12i0101ba"},
		{0x0010, names(times(16, grease)...), "t12i010100"},
	} {
		stream := withExtension(c.kind, c.data)
		want := expect(stream)
		what := fmt.Sprintf("extension %04x with %x", c.kind, c.data)
		if want.hello == nil || want.hello.JA4()[:len(c.want)] != c.want {
			t.Errorf("%s: the reference says %+v, the test %s", what, want, c.want)
			continue
		}
		v := p.visits(visitorIP, uint16(1+i), stream)
		p.wants(what, "XDP_PASS", v.all())
		v.wantClass(what, want, whole)
	}
	for i, data := range [][]byte{{0, 4, 2, 0xba, 0xba, 1}, {0, 2, 2, 0xba}, {0, 5, 2, 0xba, 0xba, 2, 'h'},
		{0, 7, 2, 0xba, 0xba, 2, 0xba, 0xba, 9}} {
		stream := withExtension(0x0010, data)
		v := p.visits(visitorIP, uint16(100+i), stream)
		v.all()
		want := expect(stream)
		v.wantClass(fmt.Sprintf("ALPN of %x", data), want, "hello_malformed")
	}
}
