// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

// logged is how many blocks a second reach the debug log.
const logged = 10

// readAgain is how long a reader of the ring waits before it tries again.
const readAgain = time.Second

// Ring is what is needed of the kernel part.
type Ring interface {
	Host() (*compile.HostInfo, error)
	Generations() ([]loader.GenerationInfo, error)
	SetTellAll(loader.Deadline)
	Events(context.Context, func(bpf.Event)) error
}

// Ledger is where rules have names, and problems are told.
type Ledger interface {
	RuleOf(bundle config.Digest, index uint16) (config.Rule, bool)
	SetProblem(code, message, fix string)
}

// Options of New. All are needed.
type Options struct {
	Log    *slog.Logger
	Now    func() time.Time
	Ledger Ledger
	// Use returns the kernel part and a function that gives it back.
	Use func() (Ring, func(), error)
	// Full reports whether addresses are told whole.
	Full func() bool
}

// Events are what the kernel decided, for whoever follows.
type Events struct {
	Options
	hub *hub
}

// New has no events yet.
func New(o Options) *Events { return &Events{o, newHub()} }

// Lost returns how many events readers were too slow for.
func (e *Events) Lost() uint64 { return e.hub.lost() }

// Follow returns the last events, and a channel of those to come. With all the kernel tells of every decision
// meanwhile.
func (e *Events) Follow(recent int, follow, all bool) (past []api.Event, next <-chan api.Event, stop func()) {
	past, next, stop = e.hub.read(recent, follow)
	if !follow || !all {
		return past, next, stop
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.tellAll()
	go e.keepTelling(ctx)
	leave := stop // not the result of this function
	return past, next, func() { cancel(); leave() }
}

// watchLease is how long the kernel tells of every decision after the last reader that asked for it; a reader renews
// it.
const watchLease = 3 * time.Second

func (e *Events) tellAll() {
	if d, done, err := e.Use(); err == nil {
		d.SetTellAll(loader.In(watchLease))
		done()
	}
}

func (e *Events) keepTelling(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchLease / 3):
			e.tellAll()
		}
	}
}

// Read reads the kernel's ring until ctx ends.
func (e *Events) Read(ctx context.Context) {
	for ctx.Err() == nil {
		if d, done, err := e.Use(); err == nil {
			v := &reading{events: e, kernel: d}
			err := d.Events(ctx, v.visit)
			done()
			if ctx.Err() != nil {
				return
			}
			e.Ledger.SetProblem(ledger.ProblemEvents, "events cannot be read: "+errorText(err),
				"nothing else depends on them; the agent tries again")
		}
		select {
		case <-ctx.Done():
		case <-time.After(readAgain):
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return "the ring ended"
	}
	return err.Error()
}

// reading turns the kernel's events into those that people read. It belongs to one goroutine.
type reading struct {
	events  *Events
	kernel  Ring
	names   map[uint8]string
	digests map[uint32]config.Digest
	read    time.Time
	window  time.Time
	logged  int
}

func (v *reading) visit(k bpf.Event) {
	v.refresh()
	e := v.view(k)
	v.events.hub.add(e)
	if k.Outcome != uint8(bpf.OutcomePass) && k.Outcome != uint8(bpf.OutcomeTag) && v.mayLog() {
		v.events.Log.Log(context.Background(), slog.LevelDebug, "blocked, or would be", "source", e.Source, "service",
			e.Service, "verdict", e.Verdict, "reason", e.Reason, "rule", e.Rule)
	}
}

// refresh reads the names of services and the digests of generations once a second.
func (v *reading) refresh() {
	now := v.events.Now()
	if now.Sub(v.read) < time.Second && v.names != nil {
		return
	}
	v.read = now
	v.names, v.digests = api.ServiceNames(nil), map[uint32]config.Digest{}
	if h, err := v.kernel.Host(); err == nil && h != nil {
		for _, s := range h.Services {
			v.names[s.ID] = s.Name
		}
	}
	all, err := v.kernel.Generations()
	if err != nil {
		return
	}
	for _, g := range all {
		v.digests[g.Number] = g.Digest
	}
}

func (v *reading) view(k bpf.Event) api.Event {
	now := loader.Now()
	full := v.events.Full()
	e := api.Event{Envelope: api.NewEnvelope(),
		Time:   now.Wall.Add(-time.Duration(int64(now.MonotonicNS - k.TimeNs))).UTC(),
		Source: addressText(k.Key.Saddr, full), SourcePort: hostPort(k.Key.Sport),
		Destination: addressText(k.Key.Daddr, true), DestinationPort: hostPort(k.Key.Dport),
		Service: v.names[k.Service], Generation: k.Generation, Stage: bpf.StageName(bpf.Stage(k.Stage)),
		Reason: bpf.ReasonName(bpf.Reason(k.Reason)), Verdict: bpf.OutcomeName(bpf.Outcome(k.Outcome)),
	}
	if k.Score != bpf.ScoreNone {
		e.Score = new(int(k.Score))
	}
	// A rule that allows has no score.
	if e.Score != nil && bpf.Reason(k.Reason) != bpf.ReasonBan || bpf.Reason(k.Reason) == bpf.ReasonAllowed {
		if r, ok := v.events.Ledger.RuleOf(v.digests[k.Generation], k.Rule); ok {
			e.Rule, e.Label = r.ID, r.Label
		}
	}
	if k.HasFingerprint != 0 {
		e.MuonFP, e.P0F = compile.FormatFingerprint(k.Fingerprint), compile.FormatP0F(k.Fingerprint, k.Facts)
	}
	if k.HasTls != 0 {
		e.JA4, e.StableJA4 = compile.FormatJA4(k.Tls), compile.FormatStableJA4(k.Tls)
	}
	return e
}

func (v *reading) mayLog() bool {
	now := v.events.Now()
	if now.Sub(v.window) >= time.Second {
		v.window, v.logged = now, 0
	}
	v.logged++
	return v.logged <= logged
}

// addressText writes an address of a flow key; truncated to its /24 or /48 when the host file asks for privacy.
func addressText(words [4]uint32, full bool) string {
	var b [16]byte
	for i, w := range words {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	addr := netip.AddrFrom16(b).Unmap()
	if full {
		return addr.String()
	}
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

func hostPort(be uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], be)
	return binary.BigEndian.Uint16(b[:])
}
