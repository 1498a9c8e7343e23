// SPDX-License-Identifier: Apache-2.0

package ja4

import "testing"

// A hello of three segments behind a SYN cookie whose ACK was lost: the second comes when there is a socket, and no
// flow.
func TestThreeSegmentsBehindACookie(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, map[string]string{"tcp_syncookies": "2"})
		stream := one(browser(1))
		want := p.ja4Of(stream)
		for i, cuts := range [][]int{{6, 60}, {60, 900}, {700, 1460}} {
			p.swap(bundle().bundle())
			v := r.dial(visitor, uint16(1000+i), stream)
			p.wants("a visitor", "XDP_PASS", v.all(cuts...))
			v.accept()
			v.hasRead("a visitor", len(stream))
			v.wantJA4("a visitor", want)
			p.swap(against(want).bundle())
			b := r.dial(bot, uint16(1000+i), stream)
			p.wants("a bot", "XDP_DROP", b.all(cuts...))
			p.wants("data behind a bot's hello", "XDP_DROP", b.data(len(stream), []byte("data")))
		}
	})
}
