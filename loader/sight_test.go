// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Whatever lets packets pass unseen, or ends that, ends the sight before and after its store.
func TestSightEnds(t *testing.T) {
	name, folder := testVeth(t), testPins(t)
	d := openTest(t, Options{Pins: folder})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	web, _ := mustHost(t, d).Service("web")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	attached := Attachment{}
	without, err := Adopt(folder)
	must(err)
	defer func() { _ = without.Close() }()
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"an attach", func() { attached, err = d.Attach(name, config.AttachNative); must(err) }},
		{"a bypass", func() { d.SetBypass(DeadlineForever) }},
		{"its end, without an agent", func() { without.SetBypass(0) }},
		{"a bypass of a service, without an agent", func() { without.SetServiceBypass(web.ID, DeadlineForever) }},
		{"its end", func() { d.SetServiceBypass(web.ID, 0) }},
		{"a refilled array", func() { must(d.RefillPrograms()) }},
		{"a bypass by the card", func() {
			c, err := OpenCard(attached.ProgramID)
			must(err)
			c.SetBypass(DeadlineForever)
			must(c.Close())
		}},
		{"a bypass off that nobody told of, at the next beat", func() { d.Beat(); d.Root.SetBypass(0); d.Beat() }},
		{"a detach", func() { must(d.DetachInterface(attached.Pin)) }},
		{"a start", func() {
			must(d.Close())
			d = openTest(t, Options{Pins: folder})
		}},
	} {
		before := without.Sight()
		step.do()
		if now := without.Sight(); now < before+2 {
			t.Errorf("%s: the sight is %d, was %d", step.what, now, before)
		}
	}
	d.Beat()
	before := d.Sight()
	d.Beat()
	if now := d.Sight(); now != before {
		t.Errorf("a heartbeat ended the sight: %d, was %d", now, before)
	}
}

// A bypass whose time is over is taken out of its word by the heartbeat: until then nobody is in sight.
func TestBeatClearsWhatEnded(t *testing.T) {
	d := openTest(t, Options{})
	publish(t, d, testHost(), testBundle())
	web, _ := mustHost(t, d).Service("web")
	for _, until := range []Deadline{1, In(time.Hour), DeadlineForever} {
		d.SetBypass(until)
		d.SetServiceBypass(web.ID, until)
		d.Beat()
		want := until
		if !until.Active() {
			want = 0
		}
		if got, service := d.Bypass(), d.ServiceBypass(web.ID); got != want || service != want {
			t.Errorf("bypass until %d: after a beat %d, of the service %d", until, got, service)
		}
	}
}

// The host file's reasons become bits, and decide with the others whether a generation may block at all.
func TestStrongReasons(t *testing.T) {
	d := openTest(t, Options{})
	host := testHost()
	for _, row := range []struct {
		reason   string
		accepted []string
		can      bool
	}{
		{"hello_hidden", nil, true}, {"hello_overlap", nil, true}, {"hello_malformed", nil, true},
		{"not_hello", nil, false}, {"not_hello", []string{"not_hello"}, true}, {"hello_urgent", []string{"not_hello"}, false},
		{"hello_too_long", []string{"not_hello", "hello_too_long"}, true}, {"fragment", []string{"not_hello"}, false},
		{"hello_unseen", nil, false},
	} {
		host.AcceptReasons = row.accepted
		b := testBundle()
		b.Rules = []config.Rule{{ID: "odd", Label: "odd", Score: 100}}
		b.Prefixes, b.TCP, b.JA4, b.P0F = nil, nil, nil, nil
		b.Reasons = []config.ReasonFeature{{Rule: "odd", Reason: row.reason}}
		publish(t, d, host, b)
		all, err := d.Generations()
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			if g.Role == RoleStable && g.Blocking.Strong != row.can {
				t.Errorf("%s, accepted %v: strong is %t", row.reason, row.accepted, g.Blocking.Strong)
			}
		}
	}
	if bpf.ReasonMax > 64 {
		t.Error("reasons do not fit into the bits of struct host")
	}
}
