// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/userspace/lab"
)

const (
	liveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
	// livePerCall is how many frames a call sends: few enough that the ring behind the device never overflows unseen.
	livePerCall = 1 << 16
	// listed is how many denied sources every program of the live rows has.
	listed = 256
	// settleTime bounds the wait for frames that are under way.
	settleTime = 2 * time.Second
)

// liveCase is a program on the receiving device, and what it is sent.
type liveCase struct {
	name    string
	program *ebpf.Program
	frame   []byte
	fed     compareSpan
	drops   bool
}

// liveRow is what the receiver counted.
type liveRow struct {
	name  string
	drops bool
	mpps  spread // packets that the program decided, millions a second
	lost  float64
}

// liveRig has the senders and receivers of live frames.
type liveRig struct {
	lab     *lab.Lab
	sender  *compareObjects
	plane   *plane
	cases   []liveCase
	frames  int // sent a round
	rounds  int
	closers []func() error
}

func newLiveRig(l *lab.Lab, size sizes, filter *xdpFilter) (_ *liveRig, err error) {
	r := &liveRig{lab: l, frames: 1 << 20, rounds: 9}
	if size.brief {
		r.frames, r.rounds = 1<<9, 1
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	random := rand.New(rand.NewPCG(seed, 2))
	denied := listedSources()
	bad := distinct(max(size.flows/8, listed), func() (netip.AddrPort, bool) {
		return netip.AddrPortFrom(denied[random.IntN(listed)], uint16(1024+random.IntN(64000))), true
	})
	good := slices.DeleteFunc(randomSources(random, size.flows), func(a netip.AddrPort) bool {
		return lab.CrawlerPrefix4.Contains(a.Addr())
	})
	var steps []compareStep
	spans := map[string]compareSpan{}
	for name, list := range map[string][]netip.AddrPort{"bad": bad, "good": good} {
		spans[name] = compareSpan{First: uint32(len(steps)), Count: uint32(len(list))}
		for _, src := range list {
			steps = append(steps, step(src, 2000))
		}
	}
	if r.sender, err = loadSender(l, steps); err != nil {
		return nil, err
	}
	r.closers = append(r.closers, r.sender.Close)
	if err := r.makePlane(denied, good); err != nil {
		return nil, err
	}
	r.makeCases(spans, filter)
	return r, nil
}

// listedSources are what every program of the live rows denies.
func listedSources() []netip.Addr {
	var all []netip.Addr
	for a := lab.CrawlerPrefix4.Addr(); len(all) < listed; a = a.Next() {
		all = append(all, a)
	}
	return all
}

// loadSender loads the program that sends, out of the outer device.
func loadSender(l *lab.Lab, steps []compareStep) (*compareObjects, error) {
	objects, err := loadCompareObjectsOf(func(spec *ebpf.CollectionSpec) error {
		spec.Maps["steps"].MaxEntries = uint32(len(steps))
		return spec.Variables["send_to"].Set(uint32(l.OutIndex))
	}, nil)
	if err != nil {
		return nil, err
	}
	return objects, fillSteps(objects, steps)
}

// makePlane loads a dataplane that denies the bad sources and knows a flow of every good one.
func (r *liveRig) makePlane(denied []netip.Addr, good []netip.AddrPort) (err error) {
	var prefixes []netip.Prefix
	for _, a := range denied {
		prefixes = append(prefixes, netip.PrefixFrom(a, 32))
	}
	if r.plane, err = newPlane("live", planeOptions{bundle: deny(prefixes)}); err != nil {
		return err
	}
	r.closers = append(r.closers, r.plane.close)
	pass := r.plane.storedFlow(bpf.VerdictPass)
	keys := make([]bpf.FlowKey, len(good))
	values := make([]bpf.Flow, len(good))
	for i, src := range good {
		keys[i], values[i] = flowKey(src, service), pass
	}
	return r.plane.fill(keys, values)
}

func (r *liveRig) makeCases(spans map[string]compareSpan, filter *xdpFilter) {
	syn, data := synFrame(visitor, service), segment(visitor, service, nil)
	bad, good := spans["bad"], spans["good"]
	r.cases = []liveCase{
		{"empty XDP_DROP program", r.sender.EmptyDrop, syn, bad, true},
		{"Spillway, SYNs of denied sources", r.plane.root, syn, bad, true},
		{"empty XDP_PASS program", r.sender.EmptyPass, data, good, false},
		{"Spillway, established flows", r.plane.root, data, good, false},
	}
	if filter == nil {
		return
	}
	r.cases = append(r.cases,
		liveCase{filter.version + ", SYNs of denied sources", filter.program, syn, bad, true},
		liveCase{filter.version + ", packets of other sources", filter.program, data, good, false})
}

// measure sends every case in turn, round after round.
func (r *liveRig) measure() ([]liveRow, error) {
	rates := map[string][]float64{}
	lost := map[string]float64{}
	order := slices.Clone(r.cases)
	for range r.rounds {
		for _, c := range order {
			rate, missing, err := r.once(c)
			if err != nil {
				return nil, fmt.Errorf("live frames, %s: %w", c.name, err)
			}
			rates[c.name] = append(rates[c.name], rate)
			lost[c.name] += missing / float64(r.rounds)
		}
		slices.Reverse(order)
	}
	var rows []liveRow
	for _, c := range r.cases {
		rows = append(rows, liveRow{c.name, c.drops, spreadOf(rates[c.name]), lost[c.name]})
	}
	slices.SortStableFunc(rows, func(a, b liveRow) int {
		if a.drops != b.drops {
			return map[bool]int{true: -1, false: 1}[a.drops]
		}
		return 0
	})
	return rows, nil
}

// once attaches the program, sends, and reads what the receiver counted: millions of packets a second, and the share
// that never arrived.
func (r *liveRig) once(c liveCase) (mpps, missing float64, err error) {
	if err := r.lab.Edge.Do(func() error { return attach(r.lab.EdgeIf, c.program) }); err != nil {
		return 0, 0, err
	}
	defer func() {
		err = errors.Join(err, r.lab.Edge.Do(func() error { return attach(r.lab.EdgeIf, nil) }))
	}()
	if err := r.waitUp(); err != nil {
		return 0, 0, err
	}
	before, dropped, err := r.counters()
	if err != nil {
		return 0, 0, err
	}
	if err := r.sender.Window.Set(c.fed); err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	err = r.lab.Out.Do(func() error {
		for sent := 0; sent < r.frames; sent += livePerCall {
			n := min(livePerCall, r.frames-sent)
			if _, err := r.sender.Send.Run(&ebpf.RunOptions{Data: c.frame, Repeat: uint32(n), Flags: liveFrames}); err != nil {
				return fmt.Errorf("send: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	after, droppedAfter, spent, err := r.settle(begin, before)
	if err != nil {
		return 0, 0, err
	}
	got := after - before
	if d := droppedAfter - dropped; c.drops && d < got*99/100 || !c.drops && d > got/100 {
		return 0, 0, fmt.Errorf("%d of %d packets were dropped", d, got)
	}
	return float64(got) / spent.Seconds() / 1e6, 1 - float64(got)/float64(r.frames), nil
}

func (r *liveRig) counters() (packets, drops uint64, err error) {
	err = r.lab.Edge.Do(func() error {
		packets, drops, err = received(r.lab.EdgeIf)
		return err
	})
	return packets, drops, err
}

// settle waits until no more packets arrive, and returns when the last one did.
func (r *liveRig) settle(begin time.Time, before uint64) (packets, drops uint64, spent time.Duration, err error) {
	spent = time.Since(begin)
	var last uint64
	for deadline := time.Now().Add(settleTime); time.Now().Before(deadline); {
		if packets, drops, err = r.counters(); err != nil {
			return 0, 0, 0, err
		}
		if packets-before >= uint64(r.frames) || packets == last {
			return packets, drops, spent, nil
		}
		last, spent = packets, time.Since(begin)
		time.Sleep(2 * time.Millisecond)
	}
	return packets, drops, spent, nil
}

// waitUp waits for the device to carry again: attaching restarts it.
func (r *liveRig) waitUp() error {
	for deadline := time.Now().Add(settleTime); ; time.Sleep(time.Millisecond) {
		up := false
		err := r.lab.Out.Do(func() error {
			link, err := netlink.LinkByIndex(r.lab.OutIndex)
			up = err == nil && link.Attrs().OperState == netlink.OperUp
			return err
		})
		if up || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("the link does not come up")
		}
	}
}

func (r *liveRig) close() error {
	var errs []error
	for i := len(r.closers) - 1; i >= 0; i-- {
		errs = append(errs, r.closers[i]())
	}
	r.closers = nil
	return errors.Join(errs...)
}
