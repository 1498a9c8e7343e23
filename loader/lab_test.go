// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"testing"

	"github.com/spillway/spillway/bpf"
)

// payload makes a segment with data of a SYN: the first bytes that the connection sends.
func payload(syn, data []byte) []byte {
	f := append(append([]byte{}, syn...), data...)
	binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
	f[14+20+7]++       // seq = ISN + 1
	f[14+20+13] = 0x10 // ACK
	return f
}

func TestLabTellsOfEveryPort(t *testing.T) {
	needKernel(t)
	l, err := OpenLab()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	ask := func(frame []byte) (events []bpf.Event) {
		t.Helper()
		if err := l.Ask(frame, func(e bpf.Event) { events = append(events, e) }); err != nil {
			t.Fatal(err)
		}
		return events
	}
	for _, port := range []uint16{1, 443, 65535} {
		opening := syn("198.51.100.9", "192.0.2.1", port)
		events := ask(opening)
		if len(events) != 1 || events[0].Stage != uint8(bpf.DataplaneStageSTAGE_SYN) || events[0].HasFingerprint == 0 {
			t.Fatalf("port %d: a SYN told %+v", port, events)
		}
		if got := FormatFingerprint(events[0].Fingerprint); got != "0:::" {
			t.Errorf("port %d: fingerprint %s", port, got)
		}
		// Frames as long as an offload hands them over go through whole.
		events = ask(payload(opening, append([]byte("GET / HTTP/1.1"), make([]byte, 65000)...)))
		if len(events) != 1 {
			t.Fatalf("port %d: a first payload told %+v", port, events)
		}
		if reason, odd := l.Odd(events[0]); !odd || reason != bpf.DataplaneReasonREASON_NOT_HELLO {
			t.Errorf("port %d: odd about a request without TLS: %s, %t", port, bpf.ReasonName(reason), odd)
		}
	}
	if _, odd := l.Odd(ask(syn("198.51.100.9", "192.0.2.1", 80))[0]); odd {
		t.Error("a plain SYN is odd")
	}
	if err := l.Ask(make([]byte, 13), func(bpf.Event) {}); err == nil {
		t.Error("a frame of 13 bytes went through")
	}
}
