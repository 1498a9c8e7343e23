// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files again")

// asked are the orders of the table: one for each verb that a person gives.
var asked = map[Verb]Command{
	VerbPause:   {Verb: VerbPause, ID: ownTry, Reason: "lunch"},
	VerbResume:  {Verb: VerbResume, ID: ownTry, Reason: "back"},
	VerbAbort:   {Verb: VerbAbort, ID: ownTry, Reason: "not tonight"},
	VerbPromote: {Verb: VerbPromote, ID: ownTry, Reason: "quiet site"},
	VerbAccept:  {Verb: VerbAccept, ID: ownTry, Reason: "a farm", Share: 0.02},
	VerbConfirm: {Verb: VerbConfirm, ID: ownTry},
	VerbFreeze:  {Verb: VerbFreeze, Reason: "sale"},
	VerbThaw:    {Verb: VerbThaw, Reason: "over"},
	VerbBack:    {Verb: VerbBack, Reason: "it smells"},
}

// whereabouts are the places at which an order finds a rollout, by name.
func whereabouts(t *testing.T) map[string]*host {
	t.Helper()
	out := map[string]*host{}
	at := func(name string, stage Stage, edit func(*host)) {
		h := newHost(plain(bundle(0)), firstSeed)
		if stage != StageNone {
			h.until(t, stage)
		}
		if stage == StageShadow || stage == StageCanary {
			h.looks(t, 12)
		}
		if edit != nil {
			edit(h)
		}
		out[name] = h
	}
	other := func(h *host) { h.s.Main.Change.ID = "other" }
	at("taste", StageNone, func(h *host) { h.looks(t, 1) })
	for _, stage := range []Stage{StageShadow, StageCanary, StageBake} {
		at(stage.String(), stage, nil)
	}
	at("bake, unconfirmed", StageBake, func(h *host) { h.s.Main.Change.Confirm = time.Hour })
	at("bake, confirmed", StageBake, func(h *host) { h.s.Main.Change.Confirm, h.s.Main.Confirmed = time.Hour, true })
	at("canary, paused", StageCanary, func(h *host) { h.ask(t, Command{Verb: VerbPause, ID: ownTry, Reason: "lunch"}) })
	at("queued", StageShadow, func(h *host) { h.s.Queue = []Change{h.change}; other(h) })
	at("held", StageCanary, func(h *host) { h.now += time.Hour; h.looks(t, 3) })
	at("done", StageBake, func(h *host) {
		h.ask(t, Command{Verb: VerbPromote, ID: ownTry, Reason: "now"})
		h.looks(t, 1)
	})
	at("quarantined", StageCanary, func(h *host) { h.k.Tripped = h.s.Main.Number; h.looks(t, 3) })
	at("frozen", StageShadow, func(h *host) { h.ask(t, Command{Verb: VerbFreeze, Reason: "sale"}) })
	return out
}

func says(all []Action, sentence string) bool {
	return slices.ContainsFunc(all, func(a Action) bool { return a.Decision != nil && a.Decision.Sentence == sentence })
}

// TestOrdersSayWhatTheyDid gives each order at each place. A sentence says that nothing changed if and only if nothing
// did; all of them are golden. A verb without an order fails, and so does a stage at which nothing is ordered.
func TestOrdersSayWhatTheyDid(t *testing.T) {
	source, err := os.ReadFile("evidence.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\tVerb\w+ +Verb = "(\w+)"`).FindAllSubmatch(source, -1) {
		if _, there := asked[Verb(m[1])]; !there && Verb(m[1]) != VerbApply { // it asks for a rollout
			t.Errorf("%s has no order in this table", m[1])
		}
	}
	places := whereabouts(t)
	for _, stage := range stages {
		is := map[string]string{"refused": "quarantined", "taken_back": "quarantined", "withdrawn": "done"}[stage]
		if places[stage] == nil && places[is] == nil {
			t.Errorf("nothing is ordered of what is %s", stage)
		}
	}
	var all strings.Builder
	for _, place := range slices.Sorted(maps.Keys(places)) {
		fmt.Fprintf(&all, "======== %s\n", place)
		for _, verb := range slices.Sorted(maps.Keys(asked)) {
			h := places[place]
			c, e := asked[verb], h.e
			c.By = "ann"
			e.Commands, e.Kernel = []Command{c}, h.k
			with, actions := Step(h.s, e, h.now)
			e.Commands = nil
			without, quiet := Step(h.s, e, h.now)
			said := "(nothing)"
			for _, a := range actions {
				if d := a.Decision; d != nil && said == "(nothing)" && !says(quiet, d.Sentence) {
					said = d.Sentence
				}
			}
			fmt.Fprintf(&all, "%-9s %s\n", verb, said)
			changed := !reflect.DeepEqual(with, without)
			if quiet := strings.HasPrefix(said, NothingChanged) || said == "(nothing)"; quiet == changed {
				t.Errorf("%s, %s: the state changed: %t, and it says: %s", place, verb, changed, said)
			}
		}
	}
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/orders.golden", []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/orders.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Errorf("(-want +got), -update writes it:\n%s", diff)
	}
}
