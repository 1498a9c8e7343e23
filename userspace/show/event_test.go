// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

// A line says what was seen and who is known to send it; who is not known gets no name.
func TestEvent(t *testing.T) {
	e := api.Event{Time: time.Date(2026, 11, 21, 8, 0, 0, 0, time.Local), Source: "192.0.2.1", SourcePort: 40000,
		Service: "web", Reason: "ja4", Verdict: "drop", Score: new(int), Rule: "go-http",
		JA4: "t13d1312h2_f57a46bbacb6_ab7e3b40a677", StableJA4: "t13d1312h2_f57a46bbacb6_ab7e3b40a677"}
	*e.Score = 90
	for _, c := range []struct{ ja4, want string }{
		{e.JA4, "go-http score 90  ja4 t13d1312h2_f57a46bbacb6_ab7e3b40a677 (Go net/http 1.26)"},
		{"t13d0101h2_000000000001_000000000002", "go-http score 90  ja4 t13d0101h2_000000000001_000000000002"},
	} {
		e.JA4, e.StableJA4 = c.ja4, c.ja4
		var b strings.Builder
		Event(&b, e)
		want := "08:00:00.000 drop       ja4             192.0.2.1:40000        web          " + c.want + "\n"
		if got := b.String(); got != want {
			t.Errorf("got  %qwant %q", got, want)
		}
	}
}
