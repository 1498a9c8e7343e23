// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

const (
	keptEvents  = 1000
	readerQueue = 256
	// loggedEvents is how many blocks a second reach the debug log.
	loggedEvents = 10
)

// hub keeps the last events and hands new ones to readers. A reader that is too slow loses events; the gap in their
// sequence tells it so.
type hub struct {
	mu       sync.Mutex
	sequence uint64
	last     []api.Event // a ring once it is full
	next     int
	readers  map[chan api.Event]bool
	dropped  uint64
}

func newHub() *hub { return &hub{readers: map[chan api.Event]bool{}} }

func (h *hub) add(e api.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sequence++
	e.Sequence = h.sequence
	if len(h.last) < keptEvents {
		h.last = append(h.last, e)
	} else {
		h.last[h.next] = e
		h.next = (h.next + 1) % keptEvents
	}
	for r := range h.readers {
		select {
		case r <- e:
		default:
			h.dropped++
		}
	}
}

// lost returns how many events readers were too slow for.
func (h *hub) lost() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dropped
}

func (h *hub) read(recent int, follow bool) (past []api.Event, next <-chan api.Event, stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	past = append(append(past, h.last[h.next:]...), h.last[:h.next]...)
	past = past[max(0, len(past)-recent):]
	if !follow {
		return past, nil, func() {}
	}
	r := make(chan api.Event, readerQueue)
	h.readers[r] = true
	return past, r, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.readers, r)
	}
}

// Events implements api.Backend.
func (a *agent) Events(recent int, follow, all bool) (past []api.Event, next <-chan api.Event, stop func()) {
	past, next, stop = a.hub.read(recent, follow)
	if !follow || !all {
		return past, next, stop
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.tellAll()
	go a.keepTelling(ctx)
	leave := stop // not the result of this function
	return past, next, func() { cancel(); leave() }
}

// watchLease is how long the kernel tells of every decision after the last reader that asked for it; a reader renews it.
const watchLease = 3 * time.Second

func (a *agent) tellAll() {
	if d, done, err := a.use(); err == nil {
		d.SetTellAll(loader.In(watchLease))
		done()
	}
}

func (a *agent) keepTelling(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchLease / 3):
			a.tellAll()
		}
	}
}

// readEvents reads the kernel's ring until ctx ends.
func (a *agent) readEvents(ctx context.Context) {
	for ctx.Err() == nil {
		if d, done, err := a.use(); err == nil {
			v := &eventView{agent: a, kernel: d}
			err := d.Events(ctx, v.visit)
			done()
			if ctx.Err() != nil {
				return
			}
			a.setProblem(problemEvents, "events cannot be read: "+errorText(err), "nothing else depends on them; the agent tries again")
		}
		select {
		case <-ctx.Done():
		case <-time.After(tickInterval):
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return "the ring ended"
	}
	return err.Error()
}

// eventView turns the kernel's events into those that people read. It belongs to one goroutine.
type eventView struct {
	agent   *agent
	kernel  Kernel
	names   map[uint8]string
	digests map[uint32]config.Digest
	read    time.Time
	window  time.Time
	logged  int
}

func (v *eventView) visit(k bpf.Event) {
	v.refresh()
	e := v.view(k)
	v.agent.hub.add(e)
	if k.Outcome != uint8(bpf.DataplaneOutcomeOUTCOME_PASS) && v.mayLog() {
		v.agent.log.Log(context.Background(), slog.LevelDebug, "blocked, or would be", "source", e.Source, "service", e.Service, "verdict", e.Verdict, "reason", e.Reason, "rule", e.Rule)
	}
}

// refresh reads the names of services and the digests of generations once a second.
func (v *eventView) refresh() {
	now := v.agent.now()
	if now.Sub(v.read) < time.Second && v.names != nil {
		return
	}
	v.read = now
	v.names, v.digests = serviceNames(nil), map[uint32]config.Digest{}
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

func (v *eventView) view(k bpf.Event) api.Event {
	now := loader.Now()
	full := v.agent.hostFile().Privacy.Addresses != config.AddressesTruncated
	e := api.Event{Envelope: api.NewEnvelope(),
		Time:   now.Wall.Add(-time.Duration(int64(now.MonotonicNS - k.TimeNs))).UTC(),
		Source: addressText(k.Key.Saddr, full), SourcePort: hostPort(k.Key.Sport),
		Destination: addressText(k.Key.Daddr, true), DestinationPort: hostPort(k.Key.Dport),
		Service: v.names[k.Service], Generation: k.Generation, Stage: bpf.StageName(bpf.Stage(k.Stage)),
		Reason: bpf.ReasonName(bpf.Reason(k.Reason)), Verdict: bpf.OutcomeName(bpf.Outcome(k.Outcome)),
	}
	if k.Score != bpf.ScoreNone {
		e.Score = ptr(int(k.Score))
		if bpf.Reason(k.Reason) != bpf.DataplaneReasonREASON_BAN {
			if r, ok := v.agent.ruleOf(v.digests[k.Generation], k.Rule); ok {
				e.Rule, e.Label = r.ID, r.Label
			}
		}
	}
	if k.HasFingerprint != 0 {
		e.MuonFP, e.P0F = loader.FormatFingerprint(k.Fingerprint), loader.FormatP0F(k.Fingerprint, k.Facts)
	}
	if k.HasTls != 0 {
		e.JA4, e.StableJA4 = loader.FormatJA4(k.Tls), loader.FormatStableJA4(k.Tls)
	}
	return e
}

func (v *eventView) mayLog() bool {
	now := v.agent.now()
	if now.Sub(v.window) >= time.Second {
		v.window, v.logged = now, 0
	}
	v.logged++
	return v.logged <= loggedEvents
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
