// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Lab is a second instance of the dataplane: the same programs with maps of their own, unpinned and attached nowhere, that
// take every TCP port for a tls service and block nobody. It says what the dataplane would make of frames, and neither
// reads nor writes anything of the live one. It serves one goroutine.
type Lab struct {
	d      *Dataplane
	ring   *ringbuf.Reader
	record ringbuf.Record
	seen   bpf.FlowKey  // the connection of the last event
	odd    []bpf.Reason // the reason that a rule stands for
}

// labCapacity is small: who asks shows one connection after the other, and lets each be forgotten.
func labCapacity() config.Capacity {
	c := config.LeastCapacity()
	c.Rules, c.Flows, c.Hellos, c.Shapes = 64, 1024, 8, 16384
	return c
}

const labService = "lab"

// OpenLab loads the instance. Errors: ErrPermission, ErrUnsupported.
func OpenLab() (*Lab, error) {
	d, err := open(Options{Capacity: labCapacity(), Lab: true}, func(s *bpf.Settings) {
		s.EventsPerSecond, s.EventSampleMask = math.MaxUint32, 0 // every decision is told
		s.ShapesPerSecond, s.ShapesPerPrefix, s.UnprovenPerSecond = math.MaxUint32, math.MaxUint32, math.MaxUint32
	})
	if err != nil {
		return nil, err
	}
	l := &Lab{d: d}
	if err := l.publish(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if l.ring, err = ringbuf.NewReader(d.maps[bpf.DataplaneMapEvents]); err != nil {
		return nil, errors.Join(explain("open the event ring", err), d.Close())
	}
	l.ring.SetDeadline(time.Unix(1, 0)) // whatever there is to read is there when a frame has been through
	return l, nil
}

// Close unloads the instance.
func (l *Lab) Close() error { return errors.Join(l.ring.Close(), l.d.Close()) }

func (l *Lab) publish() error {
	host, err := labHost()
	if err != nil {
		return err
	}
	bundle := l.bundle()
	image, err := CompileBundle(bundle, host, 1, Now())
	if err != nil {
		return err
	}
	hostSlot, err := l.d.BuildHost(host)
	if err != nil {
		return err
	}
	slot, err := l.d.Build(image)
	if err != nil {
		return err
	}
	observe := bpf.DataplaneModeMODE_OBSERVE
	_, err = l.d.Publish(Change{Host: &hostSlot, Stable: &slot, Mode: &observe})
	return err
}

// labHost is a host whose every TCP port is a tls service with its sockets elsewhere: here is no socket to ask.
func labHost() (*HostImage, error) {
	h := config.DefaultHost()
	h.Services = []config.Service{{Name: labService, Port: 1, Addresses: []config.Address{{}}, Kind: config.KindTLS}}
	img, err := CompileHost(h, nil, 1)
	if err != nil {
		return nil, err
	}
	img.AnyPort()
	return img, nil
}

// bundle has no policy, and no features but the reasons: a rule for each, so that events tell them.
func (l *Lab) bundle() *config.Bundle {
	b := &config.Bundle{Version: 1, Name: labService}
	for _, reason := range bpf.Reasons() {
		name := bpf.ReasonName(reason)
		b.Rules = append(b.Rules, config.Rule{ID: name, Label: name, Score: 1})
		b.Reasons = append(b.Reasons, config.ReasonFeature{Rule: name, Reason: name})
		l.odd = append(l.odd, reason)
	}
	return b
}

// Ask sends one frame through the programs and hands what they decided about it to visit. Frames of one connection are
// shown in their order, those of the next after Forget. Frames have at least 14 bytes and up to 64 KiB of IP.
func (l *Lab) Ask(frame []byte, visit func(bpf.Event)) error {
	if _, err := l.d.program.Run(&ebpf.RunOptions{Data: frame}); err != nil {
		return explain(fmt.Sprintf("run a frame of %d bytes", len(frame)), err)
	}
	for l.ring.AvailableBytes() > 0 {
		if err := l.ring.ReadInto(&l.record); err != nil {
			return explain("read the event ring", err)
		}
		event, err := decodeEvent(l.record.RawSample)
		if err != nil {
			return err
		}
		l.seen = event.Key
		visit(event)
	}
	return nil
}

// Forget forgets the connection that was asked about last. The next one may then be the same again, ISN included, and
// is judged as if it were new.
func (l *Lab) Forget() error {
	if err := l.d.maps[bpf.DataplaneMapFlows].Delete(&l.seen); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return explain("forget a connection", err)
	}
	l.seen = bpf.FlowKey{}
	hellos := l.d.maps[bpf.DataplaneMapHellos]
	for place := range hellos.MaxEntries() {
		if err := hellos.Put(place, &bpf.Hello{}); err != nil {
			return explain("forget a ClientHello", err)
		}
	}
	return nil
}

// Odd returns what is odd about the packet of an event of this lab, such as hello_malformed; ok is false when nothing is.
func (l *Lab) Odd(e bpf.Event) (reason bpf.Reason, ok bool) {
	if e.Score == bpf.ScoreNone || int(e.Rule) >= len(l.odd) {
		return 0, false
	}
	return l.odd[e.Rule], true
}
