// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
)

func setBundle(t *testing.T, name, policy string) *config.Bundle {
	t.Helper()
	b, err := config.ParseBundle("b.yaml",
		fmt.Appendf(nil, "version: 1\nname: %s\nrules: [{id: a, label: a, score: 9}]\n%s", name, policy), nil, nil,
		config.BundleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A set is found by its digest, and what keeps it keeps its bundles.
func TestSetOnDisk(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	edge, feed := setBundle(t, "edge", "policy: {default: {drop: 80}}\n"), setBundle(t, "feed", "")
	both := config.NewSet(edge, feed)
	if err := s.SaveSet(both); err != nil {
		t.Fatal(err)
	}
	for i := range keptBundles + 5 {
		if err := s.SaveBundle(setBundle(t, fmt.Sprintf("other%d", i), "")); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-time.Hour)
	for _, d := range []config.Digest{both.Digest, edge.Digest, feed.Digest} {
		if err := os.Chtimes(s.bundlePath(d), long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Prune([]config.Digest{both.Digest}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Set(both.Digest)
	if err != nil || got.Digest != both.Digest || len(got.Bundles) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	merged, err := s.Bundle(both.Digest)
	if err != nil || merged.Digest != both.Digest || len(merged.Rules) != 2 || merged.Rules[1].ID != "feed/a" {
		t.Errorf("merged: %+v, %v", merged, err)
	}
	if n, err := s.Names(both.Digest); err != nil || n.Name != "edge, feed" || n.Rules[0].ID != "edge/a" {
		t.Errorf("names: %+v, %v", n, err)
	}
	if one, err := s.Set(feed.Digest); err != nil || one.Digest != feed.Digest {
		t.Errorf("a set of one: %v", err)
	}
	if err := s.Whole(both.Digest); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(s.bundlePath(feed.Digest), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Whole(both.Digest); !errors.Is(err, ErrNoBundle) {
		t.Errorf("a bundle of the set is damaged: %v", err)
	}
	_, err = s.Set(both.Digest)
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Members[0].Name != "feed" || missing.Rest.Named("edge") == nil ||
		!errors.Is(err, ErrNoBundle) {
		t.Errorf("a bundle of the set is missing: %v", err)
	}
}

// Quarantine binds name and digest of what was left, and never what is in force still.
func TestQuarantineOfASet(t *testing.T) {
	edge, feed := Member{Name: "edge", Digest: config.Digest{1}}, Member{Name: "feed", Digest: config.Digest{2}}
	one := Generation{Digest: edge.Digest, Members: []Member{edge}, Number: 1}
	both := Generation{Digest: config.Digest{3}, Members: []Member{edge, feed}, Number: 2}
	r := &Record{}
	r.Apply(one, time.Time{})
	r.Apply(both, time.Time{})
	r.RollBack(one, Quarantined{Name: both.Name(), Digest: both.Digest}, time.Hour)
	if len(r.Quarantine) != 1 || !r.Quarantine[0].Holds("feed", feed.Digest) || r.Quarantine[0].Name != "feed" {
		t.Errorf("after a rollback of what added feed: %+v", r.Quarantine)
	}
	r = &Record{}
	r.Apply(both, time.Time{})
	r.Apply(one, time.Time{})
	r.RollBack(both, Quarantined{Name: one.Name(), Digest: one.Digest}, time.Hour)
	if len(r.Quarantine) != 0 {
		t.Errorf("after a rollback of what took feed out: %+v", r.Quarantine)
	}
}

// A record of before does not know the names of its bundles: what it says is in force is not quarantined for that.
func TestQuarantineOfANamelessBundle(t *testing.T) {
	edge, feed := config.Digest{1}, Member{Name: "feed", Digest: config.Digest{2}}
	r := &Record{}
	r.Apply(Generation{Digest: edge, Members: []Member{{Digest: edge}}, Number: 1}, time.Time{})
	r.AddQuarantine(Quarantined{Name: "edge", Digest: edge})
	if len(r.Quarantine) != 0 {
		t.Errorf("what is in force: %+v", r.Quarantine)
	}
	r.AddQuarantine(Quarantined{Name: feed.Name, Digest: feed.Digest})
	if len(r.Quarantine) != 1 {
		t.Errorf("what was left: %+v", r.Quarantine)
	}
}
