// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
)

// backend remembers the last call.
type backend struct {
	by        Caller
	call      string
	files     Files
	options   RolloutRequest
	err       error
	forbidden []string
	direct    bool
	past      []Event
	next      chan Event
}

func (b *backend) did(by Caller, format string, v ...any) (*Change, error) {
	b.by, b.call = by, fmt.Sprintf(format, v...)
	if b.err != nil {
		return nil, b.err
	}
	return &Change{Envelope: NewEnvelope(), Outcome: OutcomeDone, Message: b.call}, nil
}

func (b *backend) Status(context.Context) (*Status, error) {
	return &Status{Envelope: NewEnvelope(), Source: SourceAgent, Mode: "observe"}, b.err
}

func (b *backend) Generations(context.Context) (*GenerationList, error) {
	return &GenerationList{Envelope: NewEnvelope(), Generations: []Generation{{Slot: 1, Digest: config.Digest{1}}}}, b.err
}

func (b *backend) Rules(context.Context) (*RuleList, error) { return &RuleList{Generation: 3}, b.err }

func (b *backend) Verify(context.Context) (*Verification, error) {
	return &Verification{OK: true}, b.err
}

func (b *backend) History(_ context.Context, limit int) (*History, error) {
	return &History{Skipped: limit}, b.err
}

func (b *backend) List(context.Context) (*BanList, error) { return &BanList{Capacity: 9}, b.err }

func (b *backend) Bundles(context.Context) (*BundleList, error) {
	return &BundleList{Bundles: []Bundle{{Name: "edge", Number: 4}}}, b.err
}

func (b *backend) Rollouts(context.Context) (*RolloutList, error) {
	return &RolloutList{Rollouts: []Rollout{{ID: "7", State: RolloutWaiting},
		{ID: "6", State: RolloutDone, Change: Change{Envelope: NewEnvelope()}}}}, nil
}

func (b *backend) Staged() bool { return !b.direct }

func (b *backend) Order(_ context.Context, by Caller, o Order) (*Change, error) {
	return b.did(by, "%s %s %v %s %s", o.Verb, o.ID, o.Share, o.Digest.Short(), o.Reason)
}

func (b *backend) Plan(_ context.Context, r PlanRequest, files Files) (*Plan, error) {
	b.files = files
	return &Plan{Envelope: NewEnvelope(), Name: r.Name + r.Remove}, b.err
}

func (b *backend) StartRollout(_ context.Context, by Caller, r RolloutRequest, files Files) (*Rollout, error) {
	b.files, b.options = files, r
	c, err := b.did(by, "apply %s%s", r.Name, r.Remove)
	if err != nil {
		return nil, err
	}
	return &Rollout{Change: *c, ID: "8", State: RolloutDone}, nil
}

func (b *backend) ConfirmRollout(_ context.Context, by Caller, id, reason string) (*Change, error) {
	return b.did(by, "confirm %s %s", id, reason)
}

func (b *backend) EndRollout(_ context.Context, by Caller, id, reason string) (*Change, error) {
	return b.did(by, "end %s %s", id, reason)
}

func (b *backend) Rollback(_ context.Context, by Caller, r RollbackRequest) (*Change, error) {
	return b.did(by, "rollback %s%s", r.To, r.Reason)
}

func (b *backend) Reload(_ context.Context, by Caller, r ReloadRequest) (*Change, error) {
	return b.did(by, "reload %+v", r)
}

func (b *backend) Set(_ context.Context, by Caller, r BypassRequest) (*Change, error) {
	return b.did(by, "bypass %+v", r)
}

func (b *backend) Ban(_ context.Context, by Caller, r BanRequest) (*Change, error) {
	return b.did(by, "ban %+v", r)
}

func (b *backend) Unban(_ context.Context, by Caller, prefix, reason string) (*Change, error) {
	return b.did(by, "unban %s %s", prefix, reason)
}

func (b *backend) Follow(recent int, follow, _ bool) ([]Event, <-chan Event, func()) {
	past := b.past[max(0, len(b.past)-recent):]
	if !follow {
		return past, nil, func() {}
	}
	return past, b.next, func() {}
}

func (b *backend) Forbidden(_ Caller, verb string) { b.forbidden = append(b.forbidden, verb) }

// serve runs a server of the role operate in a folder of its own and returns a client.
func serve(t *testing.T, b *backend) (*Client, *Server, string) {
	t.Helper()
	return serveRole(t, b, RoleOperate, filepath.Join(t.TempDir(), "run"))
}

func serveRole(t *testing.T, b *backend, role Role, dir string) (*Client, *Server, string) {
	t.Helper()
	path := filepath.Join(dir, string(role)+".sock")
	l, err := Listen(path, "0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerOptions{Role: role, Socket: path, Operate: filepath.Join(dir, "operate.sock"),
		Log: slog.New(slog.DiscardHandler)}, behind(b))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c := NewClient(path)
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c, s, path
}

// answers stands for every room of the agent.
type answers interface {
	siteBackend
	kernelBackend
	releaseBackend
	banBackend
	bypassBackend
	eventBackend
	ledgerBackend
	stagesBackend
}

func behind(b answers) Backend {
	return Backend{Site: b, Kernel: b, Release: b, Bans: b, Bypass: b, Events: b, Ledger: b, Stages: b}
}
