// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/test/support/clienthello"
)

func (d *draft) pair(rule, tcp, tls string) *draft {
	d.b.Pairs = append(d.b.Pairs, config.PairFeature{Rule: rule, TCP: tcp, TLS: tls})
	return d
}

// knownHellos are ClientHellos of n kinds of clients that the catalogue knows by their lists.
func knownHellos(t *testing.T, n int) (all [][]byte, families []string) {
	t.Helper()
	c, err := catalogue.Load()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, client := range c.Clients {
		h := client.Hellos[0]
		usable := strings.HasPrefix(h.Raw, "t13d") && slices.Contains([]string{"h2", "00"}, h.JA4.A[8:])
		if client.Kind == "imitation" || !usable || seen[h.JA4.String()] || len(all) == n {
			continue
		}
		seen[h.JA4.String()] = true
		all, families = append(all, clienthello.OfLists(h.Raw)), append(families, client.Family)
	}
	if len(all) < n {
		t.Fatalf("the catalogue has the lists of %d clients, %d are needed", len(all), n)
	}
	return all, families
}

// A SYN of Linux with the ClientHello of one family meets the pair of both, and no other pair.
func TestAPairMeetsItsFamilies(t *testing.T) {
	hellos, families := knownHellos(t, 1)
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l, android := r.listen(), tags("pair")
		if f.visitor.Is6() {
			android = passes("no_match") // the catalogue has no IPv6 SYN of Android
		}
		for _, c := range []struct {
			draft *draft
			want  result
		}{
			{rules().ruleSays("odd", config.RuleTag).pair("odd", "linux", families[0]), tags("pair")},
			{rules().ruleSays("odd", config.RuleTag).pair("odd", "android", families[0]), android},
			{rules().rule("lie", 80).pair("lie", "linux", families[0]), drops("pair")},
			{rules().rule("lie", 80).pair("lie", "windows", families[0]), passes("no_match")},
			{rules().rule("lie", 80).pair("lie", "linux", "nss"), passes("no_match")},
			{rules().rule("lie", 80).ruleSays("good", config.RuleAllow).pair("lie", "linux", families[0]).
				tcp("good", browserFP).list("own", "good", host(f.visitor)), passes("allowed")},
		} {
			p.swap(c.draft.bundle())
			k := r.connect(l, f.visitor, true)
			p.send(k.syn)
			p.wantBytes("the hello", k.write(hellos[0]), c.want)
			k.pending = nil
			k.reset()
			p.renew(f, false)
		}
	})
}

// An address that shows six kinds of clients has a multiple of the rate: still a limit, and only there.
func TestASharedAddressHasMore(t *testing.T) {
	hellos, _ := knownHellos(t, 6)
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		time0 := p.stopClock()
		shared := rate(time.Minute, 1, config.LimitBySource)
		shared.Shared = 3
		l := r.listen()
		visit := func(hello []byte) string {
			k := r.connect(l, f.bot, true)
			defer func() {
				k.pending = nil
				k.reset()
			}()
			p.send(k.syn)
			return p.send(k.write(hello)).Outcome
		}
		p.swap(limited(shared, host(f.other)).bundle())
		for _, h := range hellos[:5] {
			if got := visit(h); got != "pass" {
				t.Errorf("not limited: %s", got)
			}
		}
		p.swap(limited(shared, host(f.bot)).bundle())
		if got := []string{visit(hellos[0]), visit(hellos[1])}; !slices.Equal(got, []string{"tag", "limit"}) {
			t.Errorf("with five kinds: %v", got)
		}
		time0.pass(61 * time.Second)
		if got := []string{visit(hellos[5]), visit(hellos[0]), visit(hellos[0]), visit(hellos[0])}; !slices.Equal(got,
			[]string{"tag", "tag", "tag", "limit"}) {
			t.Errorf("with six kinds: %v", got)
		}
	})
}
