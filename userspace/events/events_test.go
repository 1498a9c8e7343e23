// SPDX-License-Identifier: Apache-2.0

package events

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
)

func addressWords(text string) [4]uint32 {
	b := netip.MustParseAddr(text).As16()
	var w [4]uint32
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

func TestTruncatedAddresses(t *testing.T) {
	for in, want := range map[string]string{"::ffff:198.51.100.7": "198.51.100.0/24",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1::/48"} {
		if got := addressText(addressWords(in), false); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestA38SlowReadersLoseEventsAndSeeIt(t *testing.T) {
	h := newHub()
	_, next, stop := h.read(0, true)
	for range kept + 10 {
		h.add(api.Event{})
	}
	if h.lost() != kept+10-readerQueue {
		t.Errorf("lost %d", h.lost())
	}
	if e := <-next; e.Sequence != 1 {
		t.Errorf("first is %d", e.Sequence)
	}
	stop()
	past, _, _ := h.read(5000, false)
	if len(past) != kept || past[0].Sequence != 11 || past[kept-1].Sequence != kept+10 {
		t.Errorf("%d events, from %d", len(past), past[0].Sequence)
	}
	if past, _, _ = h.read(2, false); len(past) != 2 || past[1].Sequence != kept+10 {
		t.Errorf("the last two: %+v", past)
	}
	h.add(api.Event{})
	if len(h.readers) != 0 {
		t.Error("a reader that left is still fed")
	}
}

// names has one rule.
type names struct{}

func (names) SetProblem(string, string, string) {}
func (names) RuleOf(_ config.Digest, index uint16) (config.Rule, bool) {
	return config.Rule{ID: "ours", Label: "own"}, index == 7
}

// idle is a ring that nothing is in.
type idle struct{ Ring }

func (idle) Host() (*compile.HostInfo, error)              { return nil, nil }
func (idle) Generations() ([]loader.GenerationInfo, error) { return nil, nil }

// A rule that allows has a name and no score; who is tagged passes, and is no block in the log.
func TestEventsOfVerdicts(t *testing.T) {
	var log bytes.Buffer
	o := Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: time.Now,
		Ledger: names{}, Full: func() bool { return true }}
	v := &reading{events: New(o), kernel: idle{}}
	for _, row := range []struct {
		reason        bpf.DataplaneReason
		outcome       bpf.DataplaneOutcome
		score         uint8
		verdict, rule string
		logged        bool
	}{
		{bpf.ReasonAllowed, bpf.OutcomePass, bpf.ScoreNone, "pass", "ours", false},
		{bpf.ReasonPair, bpf.OutcomeTag, 30, "tag", "ours", false},
		{bpf.ReasonJA4, bpf.OutcomeLimit, 60, "limit", "ours", true},
		{bpf.ReasonJA4, bpf.OutcomeWouldLimit, 60, "would_limit", "ours", true},
		{bpf.ReasonNoMatch, bpf.OutcomePass, bpf.ScoreNone, "pass", "", false},
		{bpf.ReasonBan, bpf.OutcomeDrop, bpf.ScoreNone, "drop", "", true},
	} {
		log.Reset()
		e := bpf.Event{Reason: uint8(row.reason), Outcome: uint8(row.outcome), Score: row.score, Rule: 7}
		v.visit(e)
		past, _, stop := v.events.Follow(1, false, false)
		stop()
		got := past[0]
		if got.Verdict != row.verdict || got.Rule != row.rule || (got.Score == nil) != (row.score == bpf.ScoreNone) {
			t.Errorf("%s: %+v", row.verdict, got)
		}
		if got := strings.Contains(log.String(), "blocked, or would be"); got != row.logged {
			t.Errorf("%s: logged %t: %s", row.verdict, got, log.String())
		}
	}
}
