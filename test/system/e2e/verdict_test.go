// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// denyButFriends denies the crawler's prefixes, and allows two addresses of them.
const denyButFriends = `rules:
  - {id: net, label: denied-network, score: 100}
  - {id: friend, label: partner, verdict: allow}
features:
  prefixes:
    - {list: own, rule: net, entries: [198.18.66.0/24, "2001:db8:66::/64"]}
    - {list: friends, rule: friend, entries: [198.18.66.3/32, "2001:db8:66::3/128"]}
policy:
  default: {drop: 80}
`

// An allow rule stands above a deny list, and a ban above it.
func TestAllowBeforeDenyAndBanBeforeAllow(t *testing.T) {
	e := world.NewEdge(t)
	serve(t, e)
	e.Start()
	friends, others := addrs("198.18.66.3", "2001:db8:66::3"), addrs("198.18.66.4", "2001:db8:66::4")
	mustServe(t, e, "without a bundle", append(friends, others...)...)
	e.MustCLI("apply", e.WriteBundle("friends", denyButFriends), "--yes")
	mustBlock(t, e, "in the deny list", others...)
	mustServe(t, e, "allowed", friends...)
	if n := connections(t, e, "pass", "allowed"); n != uint64(len(friends)) {
		t.Errorf("%d connections are counted as allowed, want %d: %s", n, len(friends), packetsOf(t, e))
	}
	for _, f := range friends {
		e.MustCLI("ban", f.String(), "--for", "10m", "--reason", "test")
	}
	mustBlock(t, e, "allowed and banned", friends...)
	for _, f := range friends {
		e.MustCLI("unban", f.String(), "--reason", "test")
	}
	mustServe(t, e, "allowed and banned no longer", friends...)
	mustBlock(t, e, "in the deny list", others...)
}

// What the host file lets bundles do counts at once when it is reloaded: less always, and more where its guards say
// rollout: direct.
func TestMaxVerdictCountsAtOnce(t *testing.T) {
	e := world.NewEdge(t)
	serve(t, e)
	e.Start()
	clients := addrs("198.18.66.1", "2001:db8:66::1")
	e.MustCLI("apply", e.WriteBundle("deny", world.DenyBots()), "--yes")
	mustBlock(t, e, "denied", clients...)
	tagged := connections(t, e, "tag", "prefix")
	for _, step := range []struct {
		most   string
		served bool
	}{{"tag", true}, {"reset", false}, {"pass", true}, {"drop", false}} {
		cap443(t, e, step.most)
		e.MustCLI("reload")
		why := "max_verdict: " + step.most
		if !step.served {
			mustBlock(t, e, why, clients...)
			continue
		}
		mustServe(t, e, why, clients...)
		if n := connections(t, e, "tag", "prefix") - tagged; step.most == "tag" && n != uint64(len(clients)) {
			t.Errorf("%s: %d connections are counted as tagged, want %d: %s", why, n, len(clients), packetsOf(t, e))
		}
	}
}

// limitAll has of a policy what some services cannot have.
const limitAll = `policy:
  default: {limit: 50, drop: 80, reset: 95, fragments: drop, rate: {connections: 30/m, over: reset}}
`

// What a service cannot have of a policy is no drift: not where a child compiled it, not after a restart, and not where
// the host file has other services than when it was compiled.
func TestVerifyKnowsWhatServicesCanHave(t *testing.T) {
	e := world.NewEdge(t)
	serve(t, e)
	others := "kind: tls}\n  - {name: dns, port: 53, kind: udp}\n  - {name: http3, port: 443, kind: quic}"
	alter443(t, e, others+"\n  - {name: far, port: 8443, kind: tls, local: false}")
	e.Start()
	e.MustCLI("apply", e.WriteBundle("all", limitAll), "--yes")
	e.MustCLI("verify")
	e.Kill()
	e.Start()
	e.MustCLI("verify")
	alter443(t, e, others+"\n  - {name: far, port: 8443, kind: http}")
	e.MustCLI("reload")
	e.MustCLI("verify")
}

// cap443 writes the host file with a max_verdict of the tls service.
func cap443(t *testing.T, e *world.Edge, most string) {
	t.Helper()
	alter443(t, e, "kind: tls, max_verdict: "+most+"}")
}

// alter443 writes the host file with something else in place of the end of the tls service's line.
func alter443(t *testing.T, e *world.Edge, by string) {
	t.Helper()
	e.WriteHost("enforce", world.Direct)
	text, err := os.ReadFile(e.HostFile())
	world.Must(t, err)
	altered := strings.Replace(string(text), "kind: tls}", by, 1)
	if altered == string(text) {
		t.Fatalf("the host file has no tls service:\n%s", text)
	}
	world.Must(t, os.WriteFile(e.HostFile(), []byte(altered), 0o644))
}

// pairGo tags Go over a SYN of Linux, which many of these are: nobody is blocked for it.
const pairGo = `rules:
  - {id: go-linux, label: scripted, verdict: tag}
features:
  pairs:
    - {rule: go-linux, tcp: linux, tls: go}
policy:
  default: {drop: 80}
`

// pythonVisit asks for a page with Debian's http.client.
const pythonVisit = `import http.client, ssl, sys
c = http.client.HTTPSConnection(sys.argv[1], 443, timeout=7)
c._context.check_hostname = False
c._context.verify_mode = ssl.CERT_NONE
c.request("GET", "/")
print(c.getresponse().status)
`

// A pair is about the program that speaks and the system that it runs on: of real clients on this Linux it finds Go's,
// and not those with OpenSSL.
func TestPairTagsGoAndNotOpenSSL(t *testing.T) {
	e := world.NewEdge(t)
	serve(t, e)
	e.Start()
	e.MustCLI("apply", e.WriteBundle("pair", pairGo), "--yes")
	clients := addrs("198.18.10.1", "2001:db8:10::1")
	mustServe(t, e, "tagged", clients...)
	want := uint64(len(clients))
	if n := connections(t, e, "tag", "pair"); n != want {
		t.Errorf("%d connections of Go are tagged, want %d: %s", n, want, packetsOf(t, e))
	}
	for i, host := range []string{lab.EdgeAddr4.String(), lab.EdgeAddr6.String()} {
		url := []string{"https://" + host + "/", "https://[" + host + "]/"}[i]
		if out := outside(t, e, "curl", "-q", "-sSk", "-o", os.DevNull, "-w", "%{http_code}", url); out != "200" {
			t.Errorf("curl %s: %s", url, out)
		}
		if out := outside(t, e, "/usr/bin/python3", "-I", "-c", pythonVisit, host); strings.TrimSpace(out) != "200" {
			t.Errorf("python %s: %s", host, out)
		}
	}
	if n := connections(t, e, "tag", ""); n != want {
		t.Errorf("%d connections are tagged with those of OpenSSL, want %d: %s", n, want, packetsOf(t, e))
	}
	if n := connections(t, e, "pass", "no_match"); n != 2*want {
		t.Errorf("%d connections of OpenSSL match nothing, want %d: %s", n, 2*want, packetsOf(t, e))
	}
	mustServe(t, e, "tagged", clients...)
	if n, want := connections(t, e, "tag", "pair"), 2*want; n != want {
		t.Error(fmt.Sprintf("%d connections of Go are tagged, want %d: ", n, want) + packetsOf(t, e))
	}
}
