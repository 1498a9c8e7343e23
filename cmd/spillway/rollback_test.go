// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/state"
)

func TestA27RollbackWithoutAgent(t *testing.T) {
	s, d := pinnedShell(t)
	before := d.Control()
	s.want(exitOK, "rollback", "--reason", "drill")
	s.wantOut("generation #1")
	if after := d.Control(); after.Stable != before.Previous || after.Previous != 0 {
		t.Errorf("control word was %+v, is %+v", before, after)
	}
	s.want(exitError, "rollback")
	s.wantErr("spillway bypass on")
	entries, _, err := state.ReadHistory(s.dir+"/state", 0)
	if err != nil || len(entries) != 1 || entries[0].Verb != "rollback" || entries[0].Reason != "drill" ||
		entries[0].Number != 1 {
		t.Errorf("history is %+v, %v", entries, err)
	}
}

// A candidate that waits is what a rollback ends, with an agent and without one.
func TestRollbackOfACandidateWithoutAgent(t *testing.T) {
	for _, lease := range []loader.Deadline{loader.In(time.Hour), 0} {
		t.Run(fmt.Sprintf("lease_%v", lease.Active()), func(t *testing.T) {
			s, d := pinnedShell(t)
			candidate(t, s, d, "third")
			d.SetLease(lease)
			store, err := state.Open(s.dir+"/state", state.Options{})
			if err != nil {
				t.Fatal(err)
			}
			all, err := d.Generations()
			if err != nil {
				t.Fatal(err)
			}
			digests := map[string]config.Digest{}
			for _, g := range all {
				digests[g.Role] = g.Digest
			}
			stable := state.Generation{Digest: digests["stable"], Number: 2}
			confirm := &state.Confirm{Generation: state.Generation{Digest: digests["candidate"], Number: 3}}
			if err := store.Save(&state.Record{Applied: &stable, LastKnownGood: &stable, Confirm: confirm}); err != nil {
				t.Fatal(err)
			}
			store.Close()
			before := d.Control()
			s.want(exitOK, "rollback", "--reason", "drill")
			s.wantOut("the candidate, generation 3, is ended")
			if after := d.Control(); after.Stable != before.Stable || after.Previous != before.Previous ||
				after.Candidate != 0 || d.Lease() != 0 {
				t.Errorf("control word was %+v, is %+v, lease %v", before, after, d.Lease())
			}
			if store, err = state.Open(s.dir+"/state", state.Options{}); err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			r, err := store.Load()
			if err != nil {
				t.Fatal(err)
			}
			if r.Applied.Number != 2 || r.LastKnownGood.Number != 2 || r.Confirm != nil ||
				len(r.Quarantine) != 1 || r.Quarantine[0].Digest != digests["candidate"] {
				t.Errorf("record %+v, quarantine %+v", r, r.Quarantine)
			}
		})
	}
}

// A candidate in shadow decides for nobody: a rollback goes back from what decides, and condemns that alone. Where
// there is nothing to go back to it says so, and the candidate stays.
func TestRollbackBesideAShadowWithoutAgent(t *testing.T) {
	s, d := pinnedShell(t)
	candidate(t, s, d, "third")
	if _, err := d.Publish(loader.Change{Canary: new(uint16)}); err != nil {
		t.Fatal(err)
	}
	before := d.Control()
	s.want(exitOK, "rollback", "--reason", "drill")
	s.wantOut("generation #1")
	if after := d.Control(); after.Stable != before.Previous || after.Candidate != 0 {
		t.Errorf("control word was %+v, is %+v", before, after)
	}
	candidate(t, s, d, "third")
	if _, err := d.Publish(loader.Change{Canary: new(uint16)}); err != nil {
		t.Fatal(err)
	}
	s.want(exitError, "rollback")
	if after := d.Control(); after.Candidate == 0 || after.Stable != before.Previous {
		t.Errorf("with nothing to go back to the control word is %+v", after)
	}
}

// candidate publishes a third bundle for all sources.
func candidate(t *testing.T, s *shell, d *loader.Dataplane, name string) {
	t.Helper()
	host, err := config.LoadHost(s.hostFile)
	if err != nil {
		t.Fatal(err)
	}
	info, err := d.Host()
	if err != nil {
		t.Fatal(err)
	}
	image, err := compile.HostFile(host, info, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := config.LoadBundle(s.write("bundle.yaml", strings.Replace(soundBundle, "name: edge", "name: "+name, 1)),
		host, config.BundleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	generation, err := compile.Bundle(b, image, 3, loader.Now())
	if err != nil {
		t.Fatal(err)
	}
	slot, err := d.Build(generation)
	if err != nil {
		t.Fatal(err)
	}
	all := uint16(1000)
	if _, err := d.Publish(loader.Change{Candidate: &slot, Canary: &all}); err != nil {
		t.Fatal(err)
	}
}

// What is done without an agent is in the record: a reboot must not bring back what was left, nor end a bypass.
func TestRecordFollowsWithoutAgent(t *testing.T) {
	s, d := pinnedShell(t)
	all, err := d.Generations()
	if err != nil {
		t.Fatal(err)
	}
	digests := map[uint32]config.Digest{}
	for _, g := range all {
		digests[g.Number] = g.Digest
	}
	load := func(edit func(*state.Record)) *state.Record {
		t.Helper()
		store, err := state.Open(s.dir+"/state", state.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		r, err := store.Load()
		if err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			edit(r)
			if err := store.Save(r); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	load(func(r *state.Record) {
		bad := state.Generation{Digest: digests[2], Number: 2}
		r.Applied, r.LastKnownGood, r.Confirm = &bad, &bad, &state.Confirm{Generation: bad}
	})
	s.want(exitOK, "rollback", "--reason", "drill")
	r := load(nil)
	if r.Applied.Digest != digests[1] || r.LastKnownGood != nil || r.Confirm != nil || r.BakeUntil.IsZero() {
		t.Errorf("this host observes, and a reboot would bring back %+v (applied %+v, candidate %+v)", r.LastKnownGood,
			r.Applied, r.Confirm)
	}
	if len(r.Quarantine) != 1 || r.Quarantine[0].Digest != digests[2] || r.Quarantine[0].Reason != "drill" {
		t.Errorf("quarantine is %+v", r.Quarantine)
	}
	s.want(exitOK, "bypass", "on", "--for", "30m", "--reason", "drill")
	s.want(exitOK, "bypass", "on", "--service", "shop")
	r = load(nil)
	if b, ok := r.Bypass[""]; !ok || b.Until.IsZero() || b.Reason != "drill" {
		t.Errorf("bypasses are %+v", r.Bypass)
	}
	if b, ok := r.Bypass["shop"]; !ok || !b.Until.IsZero() {
		t.Errorf("bypasses are %+v", r.Bypass)
	}
	s.want(exitOK, "bypass", "off")
	if _, ok := load(nil).Bypass[""]; ok {
		t.Error("a reboot would turn the bypass on again")
	}
}
