// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/spillway/spillway/test/support/clienthello"
)

// trick is a way to send a hello. The visitor's is like the bot's, but for its fingerprint, which nobody lists.
type trick struct{ bot, visitor []byte }

func tricks(t *testing.T) map[string]trick {
	t.Helper()
	all := map[string]trick{}
	visitors, old := recordTricks(goHello(t, "http/1.1")), oldTricks(0x003c)
	for name, stream := range recordTricks(goHello(t)) {
		all[name] = trick{stream, visitors[name]}
	}
	for name, stream := range oldTricks() {
		all[name] = trick{stream, old[name]}
	}
	full := fullLists(goHello(t, "http/1.1"))
	for name, stream := range fullLists(goHello(t)) {
		all[name] = trick{stream, full[name]}
	}
	for name, config := range oddHellos() {
		fewer := config.Clone()
		fewer.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		all[name] = trick{clienthello.Records(helloOf(t, config)), clienthello.Records(helloOf(t, fewer))}
	}
	return all
}

// oddHellos are those of clients that ask for odd things.
func oddHellos() map[string]*tls.Config {
	long := func(bytes int) (names []string) {
		for i := range bytes / 200 {
			names = append(names, fmt.Sprintf("%0199d", i))
		}
		return append(names, "http/1.1")
	}
	return map[string]*tls.Config{
		"GREASE first in ALPN":   {NextProtos: []string{"\x2a\x2a", "ok", "http/1.1"}},
		"no letter in ALPN":      {NextProtos: []string{"\xff\x00", "http/1.1"}},
		"7,000 bytes of ALPN":    {NextProtos: long(7000)},
		"14,000 bytes of ALPN":   {NextProtos: long(14000)},
		"TLS 1.2 alone":          {MaxVersion: tls.VersionTLS12},
		"one group, a small one": {CurvePreferences: []tls.CurveID{tls.CurveP256}},
	}
}

// What a server serves was read, a listed client is not served, and a visitor is: every server, every trick, IPv4 and
// IPv6, local and behind DNAT. The whole table is live, through the attached dataplane; what a server serves it is
// asked directly.
func TestServedMeansRead(t *testing.T) {
	s := newSite(t, len(servers))
	s.serve(servers...)
	all := tricks(t)
	var listed [][]byte
	lists, visits := map[string]bool{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if ja4 := ja4Of(all[name].bot); ja4 != "" {
			listed = append(listed, all[name].bot)
			lists[ja4], visits[name] = true, ja4Of(all[name].visitor)
		}
	}
	for name, ja4 := range visits {
		if lists[ja4] {
			t.Fatalf("%s: the visitor's JA4 is a bot's", name)
		}
	}
	s.publish(deny(t, listed...))
	var cells atomic.Int64
	var wg sync.WaitGroup
	for _, p := range places {
		for _, v := range servers { // each takes one client after the other: s_server can do no more
			wg.Go(func() {
				n := 0
				for _, name := range slices.Sorted(maps.Keys(all)) {
					ok, err := s.serves(p, v, all[name].visitor)
					if err != nil {
						t.Errorf("%s, asked for %s: %v", v.name, name, err)
						return
					}
					if !ok {
						continue
					}
					n++
					for _, f := range families {
						cells.Add(1)
						if err := s.cell(p, v, f, all[name]); err != nil {
							t.Errorf("%s serves %s; %s, %s: %v", v.name, name, p.name, f.name, err)
						}
					}
				}
				t.Logf("%s, %s: serves %d of %d", v.name, p.name, n, len(all))
				if n < 20 || n == len(all) {
					t.Errorf("%s, %s: it judges nothing", v.name, p.name)
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d cells", cells.Load())
	t.Run("beyond the limits", s.overlong)
}

// cell says what is wrong with a visitor and a bot of one server.
func (s *site) cell(p place, v server, f family, k trick) error {
	return errors.Join(s.visitor(p, v, f, k.visitor), s.bot(p, v, f, k.bot))
}
