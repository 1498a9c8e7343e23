// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// fakeAgent answers on a Unix socket with what a test puts there, and keeps what it was asked.
type fakeAgent struct {
	mu      sync.Mutex
	replies map[string]any // "GET /v1/status" → reply, or *api.Error
	asked   []string
	queries map[string]url.Values
	bodies  map[string]map[string]any
}

// anything is the key of the reply to what nobody prepared.
const anything = "*"

// inTurn are the replies to one request after another; the last one stays.
type inTurn []any

// killed is the reply of an agent that ends before it answers.
const killed = "killed"

func startAgent(s *shell) *fakeAgent {
	s.t.Helper()
	a := &fakeAgent{replies: map[string]any{}, queries: map[string]url.Values{}, bodies: map[string]map[string]any{}}
	listener, err := net.Listen("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: a}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	s.t.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			s.t.Error(err)
		}
	})
	return a
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := r.Method + " " + r.URL.Path
	a.asked = append(a.asked, key)
	a.queries[key] = r.URL.Query()
	body := map[string]any{}
	if parts, err := r.MultipartReader(); err == nil { // a bundle, with its options before it
		options, err := parts.NextPart()
		if err == nil {
			_ = json.NewDecoder(options).Decode(&body)
		}
		_, _ = io.Copy(io.Discard, r.Body)
	} else {
		_ = json.NewDecoder(r.Body).Decode(&body)
	}
	a.bodies[key] = body
	reply, ok := a.replies[key]
	if !ok {
		reply, ok = a.replies[anything]
	}
	if !ok {
		reply = &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: "nobody prepared " + key}
	}
	if all, is := reply.(inTurn); is {
		if reply = all[0]; len(all) > 1 {
			a.replies[key] = all[1:]
		}
	}
	if made, is := reply.(func() any); is {
		reply = made()
	}
	if reply == killed {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if refusal, is := reply.(*api.Error); is {
		w.WriteHeader(refusal.Status)
		reply = map[string]any{"schemaVersion": 1, "error": refusal}
	}
	if lines, is := reply.([]api.Event); is {
		for _, e := range lines {
			_ = json.NewEncoder(w).Encode(e)
		}
		return
	}
	_ = json.NewEncoder(w).Encode(reply)
}

func (a *fakeAgent) answer(key string, reply any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.replies[key] = reply
}

// last is the body of the last request, for replies that are made of it.
func (a *fakeAgent) last(key string) (url.Values, map[string]any) {
	return a.queries[key], a.bodies[key]
}

func (a *fakeAgent) wasAsked(t *testing.T, key string) (url.Values, map[string]any) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.asked {
		if k == key {
			return a.queries[key], a.bodies[key]
		}
	}
	t.Errorf("the agent was not asked %s, but %v", key, a.asked)
	return nil, map[string]any{}
}

func digest(first byte) config.Digest {
	var d config.Digest
	for i := range d {
		d[i] = first + byte(i)
	}
	return d
}

// serving is the reading of a host that enforces, with two services.
func serving() *view.Reading {
	blocks := compile.Blocking{From: map[uint32]uint8{loader.TagOf("web"): 80, loader.TagOf("shop"): 80},
		Reach: 100, Strong: true}
	return &view.Reading{
		Control: loader.Control{Mode: bpf.ModeEnforce, Epoch: 9, Stable: 2, Previous: 1, Host: 1},
		Generations: []loader.GenerationInfo{
			{Slot: 1, Role: "previous", Number: 11, Digest: digest(0x11), Built: now.Add(-50 * time.Hour),
				Rows: config.Counts{"rules": 3}, Blocking: blocks},
			{Slot: 2, Role: "stable", Number: 12, Digest: digest(0xa0), Built: now.Add(-3*time.Hour - 20*time.Minute),
				Rows: config.Counts{"rules": 4, "prefixes_v4": 1200}, Blocking: blocks},
		},
		Host: &compile.HostInfo{Number: 1, AgentTimeout: 15 * time.Minute, Services: []compile.ServiceInfo{
			{ID: 1, Name: "web", Kind: "tls", Tag: loader.TagOf("web")},
			{ID: 2, Name: "shop", Kind: "tls", Tag: loader.TagOf("shop")}}},
		Services: map[uint8]loader.Deadline{}, Heartbeat: 400 * time.Millisecond, Root: 71, Unread: map[view.Part]error{},
		Links: []loader.Attachment{
			{Interface: "eth0", Index: 2, ProgramID: 71, LinkID: 4, State: loader.StateAttached, Here: true}},
		Interfaces: []view.Interface{{Name: "eth0", Device: loader.Device{
			Name: "eth0", Index: 2, Programs: []loader.DeviceProgram{{ID: 71, Mode: "native"}},
		}}},
		Attach: map[string]api.Problem{},
	}
}

// told is what an agent tells of a reading, with a week of traffic behind it.
func told(r *view.Reading) *api.Status {
	st, _ := view.Status(*r)
	st.Source, st.MaxMode, st.Bans, st.BanCapacity = api.SourceAgent, st.Mode, 3, 1024
	st.Agent = &api.Agent{Version: "0.1.0", PID: 812, Started: now.Add(-76 * time.Hour),
		HostFile: "/etc/spillway/spillway.yaml", State: api.StateRunning}
	for i := range st.Generations {
		st.Generations[i].Name = "edge-starter"
	}
	st.LastKnownGood = &api.Known{Digest: digest(0xa0), Name: "edge-starter", Number: 12, Since: now.Add(-3 * time.Hour)}
	st.Packets = []api.Packets{
		{Service: "web", Slot: 2, Reason: "known_flow", Verdict: "pass", Packets: 18_442_190},
		{Service: "web", Slot: 2, Reason: "no_match", Verdict: "pass", Packets: 412_003, Connections: 399_120},
		{Service: "web", Slot: 2, Reason: "handshake", Verdict: "pass", Packets: 399_120},
		{Service: "web", Slot: 2, Reason: "midstream", Verdict: "pass", Packets: 14, Connections: 12},
		{Service: "web", Slot: 2, Reason: "prefix", Verdict: "drop", Packets: 88_213, Connections: 21_988, Alone: 31},
		{Service: "web", Slot: 2, Reason: "tcp_fingerprint", Verdict: "drop", Packets: 9_120, Connections: 9_004},
		{Service: "shop", Slot: 0, Reason: "service_bypass", Verdict: "pass", Packets: 71_000},
		{Service: "", Slot: 0, Reason: "not_service", Verdict: "pass", Packets: 5_100_220},
	}
	return st
}

// healthy is the status of a host that protects.
func healthy() *api.Status { return told(serving()) }
