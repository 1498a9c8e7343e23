// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
)

// Every order arrives whole, with who gave it.
func TestOrdersArrive(t *testing.T) {
	b := &backend{}
	c, _, _ := serve(t, b)
	for _, row := range []struct {
		order Order
		want  string
	}{
		{Order{Verb: OrderPause, ID: "7", Reason: "lunch"}, "pause 7 0 000000000000 lunch"},
		{Order{Verb: OrderResume, ID: "7", Reason: "back"}, "resume 7 0 000000000000 back"},
		{Order{Verb: OrderAbort, ID: "a/b", Reason: "no"}, "abort a/b 0 000000000000 no"},
		{Order{Verb: OrderPromote, ID: "7", Reason: "seen"}, "promote 7 0 000000000000 seen"},
		{Order{Verb: OrderAccept, ID: "7", Share: 0.02, Reason: "a farm"}, "accept 7 0.02 000000000000 a farm"},
		{Order{Verb: OrderConfirm, ID: "7"}, "confirm 7 0 000000000000 "},
		{Order{Verb: OrderFreeze, Reason: "sale"}, "freeze  0 000000000000 sale"},
		{Order{Verb: OrderThaw, Digest: config.Digest{1}, Reason: "over"}, "thaw  0 010000000000 over"},
		{Order{Verb: OrderThaw, Reason: "over"}, "thaw  0 000000000000 over"},
	} {
		got, err := c.Order(context.Background(), row.order)
		if err != nil || got.Message != row.want || b.by.User == "" {
			t.Errorf("got %+v, %v; want %q", got, err, row.want)
		}
	}
	if _, err := c.EndRollout(context.Background(), "7", ""); err != nil || b.call != "abort 7 0 000000000000 cancelled" {
		t.Errorf("cancel: %v, %q", err, b.call)
	}
}

// An order that cannot be understood is refused before anybody is asked.
func TestOrdersThatCannotBe(t *testing.T) {
	b := &backend{}
	c, _, _ := serve(t, b)
	for _, row := range [][2]string{
		{"rollouts/7/pause", ""}, {"rollouts/7/pause", `{}`}, {"rollouts/7/abort", `{"reason":""}`},
		{"rollouts/7/promote", `{"reason":"r","newBlocks":0.1}`}, {"rollouts/7/resume", `{"reason":7}`},
		{"rollouts/7/accept", `{"reason":"r"}`}, {"rollouts/7/accept", `{"reason":"r","newBlocks":0}`},
		{"rollouts/7/accept", `{"reason":"r","newBlocks":1.01}`}, {"rollouts/7/accept", `{"reason":"r","newBlocks":-0.1}`},
		{"rollouts/7/accept", `{"newBlocks":0.1}`}, {"rollouts/7/accept", `{"reason":"r","newBlocks":1e999}`},
		{"freeze", ""}, {"freeze", `{"why":"x"}`}, {"thaw", `{}`}, {"thaw", `{"reason":"r","digest":"12"}`},
		{"rollouts", `{"remove":"x","stage":"canary"}`}, {"rollouts", `{"remove":"x","acceptBlocks":2}`},
		{"rollouts", `{"remove":"x","acceptBlocks":-1}`}, {"rollouts", `{"remove":"x","emergency":true}`},
		{"rollouts", `{"remove":"x","emergency":true,"reason":"r","stage":"shadow"}`},
		{"rollouts", `{"remove":"x","acceptBlocks":0.1}`}, {"rollouts", `{"remove":"x","replace":1}`},
		{"rollouts/7/pause?reason=x", `{"reason":"r"}`},
	} {
		b.call = ""
		status, refusal := ask(t, c, "POST", "/v1/"+row[0], row[1])
		if status != http.StatusBadRequest || refusal == nil || refusal.Code != CodeInvalid || b.call != "" {
			t.Errorf("%s %s: status %d, %+v, backend %q", row[0], row[1], status, refusal, b.call)
		}
	}
	for _, text := range []string{`{"remove":"x","stage":"shadow"}`, `{"remove":"x","acceptBlocks":0.1,"replace":true,"reason":"r"}`,
		`{"remove":"x","emergency":true,"reason":"r"}`} {
		if status, refusal := ask(t, c, "POST", "/v1/rollouts", text); status != http.StatusOK {
			t.Errorf("%s: status %d, %+v", text, status, refusal)
		}
	}
}

// A host without stages says so, to every order and every option of stages, and does what it did before.
func TestHostWithoutStagesSaysSo(t *testing.T) {
	b := &backend{direct: true}
	c, s, _ := serve(t, b)
	for _, nobody := range []bool{false, true} {
		if nobody {
			s.backend.Stages = nil
		}
		for _, verb := range []string{OrderPause, OrderResume, OrderAbort, OrderPromote, OrderAccept, OrderFreeze,
			OrderThaw} {
			b.call = ""
			_, err := c.Order(context.Background(), Order{Verb: verb, ID: "7", Share: 0.1, Reason: "r"})
			var refusal *Error
			if !errors.As(err, &refusal) || refusal.Code != CodeDirect || refusal.Status != http.StatusConflict ||
				!strings.Contains(refusal.Message, "guards.rollout: direct") || b.call != "" {
				t.Errorf("%s: %v, backend %q", verb, err, b.call)
			}
		}
		for _, text := range []string{`"stage":"shadow"`, `"acceptBlocks":0.1`, `"replace":true`, `"emergency":true`} {
			b.call = ""
			body := `{"remove":"edge","reason":"r",` + text + `}`
			status, refusal := ask(t, c, "POST", "/v1/rollouts", body)
			if status != http.StatusConflict || refusal.Code != CodeDirect || b.call != "" {
				t.Errorf("%s: status %d, %+v, backend %q", text, status, refusal, b.call)
			}
			status, _ = ask(t, c, "DELETE", "/v1/bundles/edge", body)
			if status != http.StatusConflict || b.call != "" {
				t.Errorf("%s of a removal: status %d, backend %q", text, status, b.call)
			}
		}
		if _, err := c.ConfirmRollout(context.Background(), "7", ""); err != nil || b.call != "confirm 7 " {
			t.Errorf("confirm: %v, %q", err, b.call)
		}
		if _, err := c.EndRollout(context.Background(), "7", ""); err != nil || b.call != "end 7 " {
			t.Errorf("cancel: %v, %q", err, b.call)
		}
	}
}

// changing is a backend whose rollout goes on when a test says so.
type changing struct {
	*backend
	mu sync.Mutex
	ro Rollout
}

func (c *changing) Rollouts(context.Context) (*RolloutList, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &RolloutList{Rollouts: []Rollout{c.ro}}, nil
}

func (c *changing) set(stage, state string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ro.State, c.ro.Staged = state, &Staged{Stage: stage}
}

// Who follows a rollout is told each thing once, until it is over.
func TestFollowRollout(t *testing.T) {
	b := &changing{backend: &backend{}, ro: Rollout{ID: "7"}}
	b.set(StageTaste, RolloutRunning)
	c, s, _ := serve(t, b.backend)
	s.backend.Release, s.follow = b, 10*time.Millisecond
	next := map[string][2]string{StageTaste: {StageShadow, RolloutRunning}, StageShadow: {StageHeld, RolloutHeld}}
	var told []string
	err := c.FollowRollout(context.Background(), "7", func(ro *Rollout) error {
		told = append(told, ro.Staged.Stage)
		if n, more := next[ro.Staged.Stage]; more {
			b.set(n[0], n[1])
		}
		return nil
	})
	if got := strings.Join(told, " "); err != nil || got != "taste shadow held" {
		t.Errorf("told %q, %v", got, err)
	}
	var none *Error
	if err := c.FollowRollout(context.Background(), "8", nil); !errors.As(err, &none) || none.Code != CodeNotFound {
		t.Errorf("a rollout that is not there: %v", err)
	}
	if status, _ := ask(t, c, "GET", "/v1/rollouts/7?follow=true&all=true", ""); status != http.StatusBadRequest {
		t.Errorf("a query that nobody knows: %d", status)
	}
}

// Readers of rollouts take the places of streams, and an agent that stops ends them.
func TestFollowersAreBounded(t *testing.T) {
	b := &changing{backend: &backend{}, ro: Rollout{ID: "7"}}
	b.set(StageShadow, RolloutRunning)
	c, s, _ := serve(t, b.backend)
	s.backend.Release = b
	most := cap(s.streams)
	told, ended := make(chan bool, most), make(chan error, most)
	for range most {
		go func() {
			ended <- c.FollowRollout(context.Background(), "7", func(*Rollout) error { told <- true; return nil })
		}()
	}
	for range most {
		<-told
	}
	var busy *Error
	if err := c.FollowRollout(context.Background(), "7", nil); !errors.As(err, &busy) || busy.Code != CodeBusy {
		t.Errorf("one more: %v", err)
	}
	if _, err := c.Rollout(context.Background(), "7"); err != nil {
		t.Errorf("one look beside them: %v", err)
	}
	s.stop()
	for range most {
		if err := <-ended; err != nil {
			t.Errorf("the stream ends with %v", err)
		}
	}
}

// Words of a stage are one short phrase, whatever the numbers.
func TestWhereARolloutStands(t *testing.T) {
	for want, s := range map[string]Staged{
		"canary 2 of 4, 5% of the sources":   {Stage: StageCanary, Step: 2, Steps: 4, SharePermille: 50},
		"canary 1 of 4, 0.5% of the sources": {Stage: StageCanary, Step: 1, Steps: 4, SharePermille: 5},
		"canary, 100% of the sources":        {Stage: StageCanary, SharePermille: 1000},
		"taken back":                         {Stage: StageTakenBack},
		"shadow":                             {Stage: StageShadow},
	} {
		if got := fmt.Sprint(s.Where()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
