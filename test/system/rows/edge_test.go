// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/lab"
)

// Who comes from where. The bundle in force denies 2001:db8:b000::/36, and the host protects a part of it.
var (
	guestsFrom    = netip.MustParsePrefix("2001:db8:8000::/36")
	protectedFrom = netip.MustParsePrefix("2001:db8:b000::/40")
)

// room is for how many IPv4 prefixes the host has room.
const room = 600

// ahead is how long the agent may take to answer on a machine that does other work.
const ahead = 2 * time.Minute

const hostFile = `capacity:
  {prefixes_v4: %d, prefixes_v6: 600, tcp_fingerprints: 64, flows: 8192, syns: 4096, rules: 128, allowlist: 64}
allowlist: [{prefix: "2001:db8:b000::/40", note: insiders}]
golden: [{name: shop, service: web, ja4: t13d1516h2_8daaf6152771_02713d6af862}]
guards:
  {rollout: %s, evidence: small, bake: 5s, shadow: 10s, canary: [{share: 50%%, for: 10s}, {share: 100%%, for: 10s}]}
`

// edge is an edge of this tree with a bundle in force that became last-known-good, and who comes to it.
type edge struct {
	*world.Edge
	tr        *world.Traffic
	guests    *lab.Visitors // from thousands of networks
	insiders  *lab.Visitors // from networks that are denied and protected
	client    *api.Client
	base      string        // the file of the bundle in force
	inForce   config.Digest // the set's
	pid       int
	bundles   int // written so far
	mayChange bool
}

// on begins a row: it returns the edge, in the state in which every row finds it, and looks at the end of the test
// whether anybody noticed.
func on(t *testing.T) *edge {
	t.Helper()
	house.TB = t
	if house.edge == nil {
		house.edge = newEdge()
	}
	e := house.edge
	e.mayChange = false
	before := e.served()
	t.Cleanup(func() { e.nobodyNoticed(t, before) })
	if word := e.word(t); word != e.inForce {
		t.Fatalf("a row before left %s in force, want %s", word.Short(), e.inForce.Short())
	}
	return e
}

func newEdge() *edge {
	e := &edge{Edge: world.NewEdge(house)}
	world.Must(house, e.Widen())
	e.writeHost("direct")
	e.base = e.WriteBundle("base", world.DenyBots(`"2001:db8:b000::/36"`))
	e.Start()
	e.pid = e.Pid()
	e.client = api.NewClient(e.Socket())
	house.Cleanup(e.client.Close)
	world.Eventually(house, "the kernel part is loaded", func() bool {
		st, err := e.client.Status(house.Context())
		return err == nil && st.Control != nil
	})
	e.tr = world.StartTrafficOf(house, e.Edge, 20)
	e.guests = e.crowd(guestsFrom, 4096, 24)
	e.MustCLI("apply", e.base, "--yes")
	e.inForce = e.word(house)
	e.insiders = e.crowd(protectedFrom, 256, 16)
	e.tr.BotsAreStopped(house)
	world.Eventually(house, "the bundle is last-known-good", func() bool {
		data, err := os.ReadFile(filepath.Join(e.State(), "record.json"))
		return err == nil && strings.Contains(string(data), "last_known_good") &&
			!strings.Contains(string(data), "bake_until")
	})
	e.tr.Count()
	return e
}

// writeHost writes the host file with this guards.rollout, and the shortest stages that a host file may have.
func (e *edge) writeHost(rollout string) {
	e.WriteHost("enforce", fmt.Sprintf(hostFile, room, rollout))
}

func (e *edge) crowd(from netip.Prefix, count int, rate float64) *lab.Visitors {
	v, err := e.StartVisitors(house.Context(), lab.VisitorOptions{Rate: rate, Timeout: 30 * time.Second,
		From: lab.WideSources(from, count)})
	world.Must(house, err)
	house.Cleanup(func() { _ = v.Close() })
	return v
}

// served is how often each crowd was served so far.
func (e *edge) served() (n [3]uint64) {
	for i, v := range []*lab.Visitors{e.tr.Visitors, e.guests, e.insiders} {
		total := v.Total()
		n[i] = total.Requests - total.Failures
	}
	return n
}

// word is the set that the kernel decides by, read beside the agent.
func (e *edge) word(t testing.TB) (digest config.Digest) {
	t.Helper()
	d, err := loader.Adopt(e.Pins)
	world.Must(t, err)
	defer d.Close()
	all, err := d.Generations()
	world.Must(t, err)
	for _, g := range all {
		if g.Role == loader.RoleStable {
			digest = g.Digest
		}
	}
	return digest
}

// nobodyNoticed is what holds for every row (G0): each crowd was served meanwhile and nobody of it was not, bots were
// not, the agent is the one that it was, its record and the kernel agree, and what was in force is.
func (e *edge) nobodyNoticed(t *testing.T, before [3]uint64) {
	t.Helper()
	world.Eventually(t, "all are served", func() bool {
		now := e.served()
		return now[0] > before[0]+10 && now[1] > before[1]+10 && now[2] > before[2]+10
	})
	for who, v := range map[string]*lab.Visitors{"visitors": e.tr.Visitors, "guests": e.guests,
		"who is protected": e.insiders} {
		if total := v.Total(); total.Failures != 0 {
			t.Errorf("%s: %d of %d requests failed: %v", who, total.Failures, total.Requests, total.Errors)
		}
	}
	if leak := e.tr.Leaked(); leak != "" && !e.mayChange {
		t.Error(leak)
	}
	if now := e.word(t); now != e.inForce {
		t.Errorf("%s is in force, was %s", now.Short(), e.inForce.Short())
	}
	if e.Ended() || e.Pid() != e.pid {
		t.Error("the agent is another one")
	}
	ctx, cancel := context.WithTimeout(context.Background(), ahead)
	defer cancel()
	v, err := e.client.Verify(ctx)
	if err == nil && len(v.Entries)+len(v.Left) > 0 {
		err = fmt.Errorf("%+v, left out %v", v.Entries, v.Left)
	}
	if err != nil {
		t.Errorf("verify: %v", err)
	}
	if t.Failed() {
		t.Logf("the agent's log so far:\n%s", e.Log())
	}
}

// bundle writes a bundle and returns its upload; body follows version and name.
func (e *edge) bundle(t *testing.T, name, body string) *api.Upload {
	t.Helper()
	return e.file(t, "version: 1\nname: "+name+"\n"+body)
}

// file is a bundle whose file says just this.
func (e *edge) file(t *testing.T, text string) *api.Upload {
	t.Helper()
	return e.folder(t, map[string]string{"bundle.yaml": text})
}

// listFile is feed with its rows in a file.
func (e *edge) listFile(t *testing.T, rows string) *api.Upload {
	t.Helper()
	return e.folder(t, map[string]string{"rows": rows, "bundle.yaml": "version: 1\nname: feed\n" +
		"rules: [{id: listed, label: listed, score: 100}]\n" +
		"features: {prefixes: [{list: feed, rule: listed, file: rows}]}\n"})
}

// folder is a bundle of these files.
func (e *edge) folder(t *testing.T, files map[string]string) *api.Upload {
	t.Helper()
	e.bundles++
	folder := filepath.Join(e.Folder, fmt.Sprintf("bundle-%d", e.bundles))
	world.Must(t, os.MkdirAll(folder, 0o755))
	for name, text := range files {
		world.Must(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644))
	}
	u, err := api.Pack(folder)
	world.Must(t, err)
	return u
}

// feed is a bundle of one list, whose rows nobody here comes from.
func (e *edge) feed(t *testing.T, rows []string, more string) *api.Upload {
	t.Helper()
	return e.bundle(t, "feed", fmt.Sprintf(`rules: [{id: listed, label: listed, score: 100}]
features:
  prefixes:
    - {list: feed, rule: listed, %sentries: [%s]}
`, more, strings.Join(rows, ", ")))
}

// rowsOf returns n different IPv4 prefixes.
func rowsOf(n int) (rows []string) {
	for i := range n {
		rows = append(rows, fmt.Sprintf("198.19.%d.%d/32", i/250, i%250))
	}
	return rows
}

// plan asks what an apply would do.
func (e *edge) plan(t *testing.T, u *api.Upload) (*api.Plan, *api.Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ahead)
	defer cancel()
	p, err := e.client.Plan(ctx, u, "")
	return p, reason(t, err)
}

// refused applies what must not come into force, and returns the agent's reason.
func (e *edge) refused(t *testing.T, u *api.Upload) *api.Error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ahead)
	defer cancel()
	ro, err := e.client.Apply(ctx, u, api.ApplyOptions{})
	if err == nil {
		t.Fatalf("it was not refused: %+v", ro)
	}
	return reason(t, err)
}

// reason is an error as the agent's answer; anything else fails the test.
func reason(t *testing.T, err error) (answer *api.Error) {
	t.Helper()
	if err == nil {
		return nil
	}
	if !errors.As(err, &answer) || answer.Code == "" || answer.Code == api.CodeInternal {
		t.Fatalf("no reason that a program can read: %v", err)
	}
	return answer
}

// faults asks for a refusal with a fault of this kind in each of its places, and returns how many there are.
func faults(t *testing.T, what string, answer *api.Error, code string) int {
	t.Helper()
	if answer == nil || answer.Code != api.CodeRefused || answer.Faults == nil || answer.Faults.Counts[code] == 0 {
		t.Errorf("%s: %s, want faults of %s", what, tell(answer), code)
		return 0
	}
	for _, f := range answer.Faults.List {
		if f.File == "" || f.Problem == "" {
			t.Errorf("%s: a fault without a place: %+v", what, f)
		}
	}
	return answer.Faults.Counts[code]
}

// tell is all that an answer says.
func tell(answer *api.Error) string {
	text, err := json.Marshal(answer)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// held asks for a change that waits for a person, with each of these codes.
func held(t *testing.T, what string, answer *api.Error, codes ...string) {
	t.Helper()
	var got []string
	if answer != nil && answer.Code == api.CodeHeld {
		for _, h := range answer.Holds {
			got = append(got, h.Code)
		}
	}
	if !slices.Equal(got, codes) {
		t.Errorf("%s: %s, want holds %v", what, tell(answer), codes)
	}
}

// inForceWith puts a bundle into force beside the base, for as long as the test runs.
func (e *edge) inForceWith(t *testing.T, u *api.Upload) {
	t.Helper()
	e.applies(t, u, api.ApplyOptions{Accept: "a row of the table"})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), ahead)
		defer cancel()
		_, err := e.client.Remove(ctx, api.RolloutRequest{Remove: "feed"})
		world.Must(t, err)
		world.Eventually(t, "the base is in force again", func() bool { return e.word(t) == e.inForce })
	})
}

// applies puts a bundle into force.
func (e *edge) applies(t *testing.T, u *api.Upload, o api.ApplyOptions) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ahead)
	defer cancel()
	before := e.word(t)
	_, err := e.client.Apply(ctx, u, o)
	world.Must(t, err)
	world.Eventually(t, "it is in force", func() bool { return e.word(t) != before })
}
