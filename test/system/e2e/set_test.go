// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/support/world"
)

// Two bundles over real traffic: one has the policy, the other says who a bot is. The other goes back to its version
// before, comes again and is taken out, and the policy stays.
func TestSetOfTwoBundles(t *testing.T) {
	e := world.NewEdge(t)
	tr := world.StartTraffic(t, e)
	feed := func(name, features string) string {
		path := filepath.Join(e.Folder, name+".yaml")
		text := "version: 1\nname: feed\nrules:\n  - {id: net, label: denied-network, score: 100}\n" +
			"  - {id: scan, label: scanner, score: 90}\nfeatures:\n" + features
		world.Must(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	harmless := feed("feed1", "  prefixes:\n    - {list: own, rule: net, entries: [198.18.99.0/24]}\n")
	bots := feed("feed2", "  prefixes:\n"+
		"    - {list: own, rule: net, entries: [198.18.66.0/24, \"2001:db8:66::/64\"]}\n  tcp:\n"+
		"    - {rule: scan, muonfp: \"1024:2:1460:\"}\n")
	e.Start()
	e.MustCLI("apply", e.WriteBundle("policy", "policy:\n  default: {drop: 80}\n"), "--yes")
	e.MustCLI("apply", harmless, "--yes")
	tr.BotsAreServed(t)
	e.MustCLI("apply", bots, "--yes", "--accept", "test")
	tr.BotsAreStopped(t)
	if out := e.MustCLI("status"); !strings.Contains(out, "edge, feed") {
		t.Errorf("status does not name the set:\n%s", out)
	}
	e.Kill()
	tr.BotsAreStopped(t)
	e.Start()
	e.MustCLI("verify")
	e.MustCLI("rollback", "--bundle", "feed", "--reason", "test")
	tr.BotsAreServed(t)
	e.MustCLI("apply", bots, "--yes", "--accept", "test")
	tr.BotsAreStopped(t)
	if out, code := e.CLI("apply", "--remove", "edge", "--yes"); code == 0 || !strings.Contains(out, "has the policy") {
		t.Errorf("the policy was taken out from beside the feed: exit %d\n%s", code, out)
	}
	e.MustCLI("apply", "--remove", "feed", "--yes")
	tr.BotsAreServed(t)
	e.MustCLI("rollback")
	tr.BotsAreStopped(t)
	tr.VisitorsNeverNoticed(t)
}
