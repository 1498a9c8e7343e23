// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/spillway/spillway/test/dataplane/oracle/compare"
	"github.com/spillway/spillway/test/model/oracle"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/userspace/lab"
)

// probe is a SYN of the page, with numbers of its own so that the answer to it can be told.
type probe struct {
	class    class
	frame    []byte
	answered bool
}

// The kernel's own limit on what can be sent here.
const longestFrame = 1514

// TestWhatLinuxAnswersIsDropped sends the SYNs of the page to a listener behind the network stack of this kernel. Each
// that is answered must be dropped when its source is denied or banned, or its fingerprint is denied: the page's
// exceptions must not contain one that Linux answers.
//
//	raw frames ─── out0 ═══ edge0 ─── this kernel's stack ─── listener :443
func TestWhatLinuxAnswersIsDropped(t *testing.T) {
	p := compare.OpenFor(t, compare.AsShipped)
	l, err := lab.New(t.Context(), lab.Options{Name: "matrix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	probes := probesOf(l)
	answered := ask(t, l, probes)
	t.Logf("%d of %d SYNs were answered", answered, len(probes))
	if answered < 300 {
		t.Fatalf("only %d of %d SYNs were answered: this test would prove little", answered, len(probes))
	}
	for _, col := range columns() {
		if col.denies || col.name == "known fingerprint" {
			mustDrop(t, p, col, probes)
		}
	}
}

// probesOf makes a probe of every whole SYN, behind tags of VLAN 0, which need no VLAN device.
func probesOf(l *lab.Lab) map[uint32]*probe {
	probes := map[uint32]*probe{}
	port := uint16(1024)
	for _, s := range sections() {
		for _, c := range s.classes {
			for _, smp := range c.packets {
				if !smp.isSYN() || smp.size != 0 || len(smp.Tags)%2 != 0 {
					continue
				}
				port++
				seq := uint32(port) << 12
				if frame := probeFrame(l, smp.Frame, port, seq); len(frame) <= longestFrame {
					probes[seq+1] = &probe{class: c, frame: frame}
				}
			}
		}
	}
	return probes
}

func probeFrame(l *lab.Lab, f packet.Frame, port uint16, seq uint32) []byte {
	f.Tags = append([]packet.Tag(nil), f.Tags...)
	for i := range f.Tags {
		f.Tags[i].ID = 0
	}
	f.Dest = lab.EdgeAddr6
	if f.Source.Is4() {
		f.Dest = lab.EdgeAddr4
	}
	segment := f.Body.(packet.TCP)
	segment.SourcePort, segment.Seq = port, seq
	f.Body = segment
	b := f.Bytes()
	copy(b, l.EdgeMAC)
	copy(b[6:], l.OutMAC)
	return b
}

// ask sends all probes and marks those that a SYN-ACK comes back for.
func ask(t *testing.T, l *lab.Lab, probes map[uint32]*probe) (answered int) {
	t.Helper()
	for _, network := range []string{"tcp4", "tcp6"} {
		listener, err := l.Edge.Listen(network, ":443")
		if err != nil {
			t.Fatal(err)
		}
		defer func(c net.Listener) { _ = c.Close() }(listener)
	}
	answers, err := l.CaptureOut(func(frame []byte) bool { _, ok := acknowledged(frame); return ok })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answers.Close() }()
	sent := 0
	for _, pr := range probes {
		if err := l.SendFrame(pr.frame); err != nil {
			t.Fatalf("send a frame of %d bytes (%s): %v", len(pr.frame), pr.class.name, err)
		}
		if sent++; sent%50 == 0 { // no queue on the way holds more than 1,000
			answered += collect(t, l, answers, probes)
		}
	}
	return answered + collect(t, l, answers, probes)
}

// collect reads answers up to the one to a plain SYN that is sent now: the link keeps the order.
func collect(t *testing.T, l *lab.Lab, answers *lab.Capture, probes map[uint32]*probe) (answered int) {
	t.Helper()
	markers++
	last := markers<<12 | 1
	if err := l.SendFrame(probeFrame(l, withBody(plain4, syn), uint16(50000+markers), last)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		frame, err := answers.Next(ctx)
		if err != nil {
			t.Fatalf("wait for the answer to a plain SYN: %v", err)
		}
		ack, _ := acknowledged(frame)
		if ack == last+1 {
			return answered
		}
		if pr := probes[ack]; pr != nil && !pr.answered {
			pr.answered = true
			answered++
		}
	}
}

var markers uint32

// acknowledged returns what a SYN-ACK acknowledges.
func acknowledged(frame []byte) (uint32, bool) {
	at := packet.EthernetLen + packet.IPv4Len
	if len(frame) > at && frame[packet.EthernetLen]>>4 == 6 {
		at = packet.EthernetLen + packet.IPv6Len
	}
	if len(frame) < at+packet.TCPLen || frame[at+13]&(packet.SYN|packet.ACK) != packet.SYN|packet.ACK {
		return 0, false
	}
	return binary.BigEndian.Uint32(frame[at+8:]), true
}

func mustDrop(t *testing.T, p *compare.Plane, col column, probes map[uint32]*probe) {
	t.Helper()
	m := oracle.NewModel(col.world)
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(&m.World); err != nil {
		t.Fatal(err)
	}
	for _, pr := range probes {
		if !pr.answered {
			continue
		}
		if pr.class.exempt+pr.class.hidden != "" {
			t.Errorf("%s: Linux answers what the page excepts\nframe %x", pr.class.name, pr.frame)
		}
		action, _, err := p.Run(pr.frame)
		if err != nil {
			t.Fatal(err)
		}
		if action != compare.Drop {
			t.Errorf("%s, %s: Linux answers it, and the program returns %s\nframe %x", col.name, pr.class.name,
				compare.ActionName(action), pr.frame)
		}
	}
}
