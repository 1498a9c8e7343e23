// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// feedYAML is a bundle with a third-party list.
func feedYAML(name string, entries ...string) api.Files {
	text := "version: 1\nname: " + name + "\nrules: [{id: listed, label: reputation, score: 90}]\n" +
		"features:\n  prefixes:\n    - {list: feed, rule: listed, third_party: true, file: feed.netset}\npolicy: {default: {drop: 80}}\n"
	return api.Files{config.BundleFile: []byte(text), "feed.netset": []byte(strings.Join(entries, "\n") + "\n")}
}

// One line more in the allowlist made another bundle of the one that was rolled back, and it came through.
func TestF15QuarantineIsNotPassedByAnAllowlistLine(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	bad := feedYAML("one", "198.18.7.0/24", "198.18.8.9")
	if _, err := r.Apply(ctx, root, "", bad, api.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: "it blocked a partner"}); err != nil {
		t.Fatal(err)
	}
	r.writeHost(strings.Replace(hostYAML, "allowlist: [", "allowlist: [{prefix: 198.18.8.9}, ", 1))
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	_, err := r.Apply(ctx, root, "", bad, api.ApplyOptions{})
	if e := wantCode(t, err, api.CodeHeld); e.Holds[0].Code != "quarantined" {
		t.Errorf("held for %+v", e.Holds)
	}
}

// What a host leaves out is left out when the bundle is compiled, also by a reload, and the digest stays the author's.
func TestF15WhatWasCompiledHasADigestOfItsOwn(t *testing.T) {
	r := newRig(t)
	change, err := r.Apply(ctx, root, "", feedYAML("feed", "198.18.7.0/24", "198.18.8.9", "192.0.2.1", "203.0.113.4"),
		api.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stable := func() api.Generation {
		t.Helper()
		s, err := r.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range s.Generations {
			if g.Role == "stable" {
				return g
			}
		}
		t.Fatal("nothing is stable")
		return api.Generation{}
	}
	first := stable()
	if first.Digest != change.Digest || first.Compiled.IsZero() || first.Compiled == first.Digest || first.LeftOut != 2 {
		t.Errorf("two of four rows are own or allowlisted: %+v", first)
	}
	r.writeHost(strings.Replace(hostYAML, "allowlist: [", "allowlist: [{prefix: 198.18.8.9}, ", 1))
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	second := stable()
	if second.Digest != first.Digest || second.Compiled == first.Compiled || second.LeftOut != 3 {
		t.Errorf("after a reload with one line more: %+v", second)
	}
	r.restart() // nobody remembers the image: it is compiled again, for the protected of then
	v, err := r.plane.Rows.Verify(ctx)
	if err != nil || !v.OK || len(v.Generations) != 1 || v.Generations[0].Compiled != second.Compiled {
		t.Errorf("verify after a restart: %+v, %v", v, err)
	}
}
