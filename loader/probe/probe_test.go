// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"encoding/binary"
	"net/netip"
	"os"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// syn is the smallest SYN over IPv4, without options.
func syn(src, dst string, dport uint16) []byte {
	f := make([]byte, 14+20+20)
	f[12], f[13] = 0x08, 0x00
	ip := f[14:]
	ip[0], ip[3], ip[8], ip[9] = 0x45, 40, 64, 6
	copy(ip[12:], netip.MustParseAddr(src).AsSlice())
	copy(ip[16:], netip.MustParseAddr(dst).AsSlice())
	tcp := ip[20:]
	tcp[0], tcp[1], tcp[2], tcp[3] = 0x9c, 0x40, byte(dport>>8), byte(dport)
	tcp[12], tcp[13] = 5<<4, 2
	return f
}

// payload makes a segment with data of a SYN: the first bytes that the connection sends.
func payload(syn, data []byte) []byte {
	f := append(append([]byte{}, syn...), data...)
	binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
	f[14+20+7]++       // seq = ISN + 1
	f[14+20+13] = 0x10 // ACK
	return f
}

func TestProbeTellsOfEveryPort(t *testing.T) {
	if missing := kernel.MissingCapabilities(); len(missing) > 0 {
		if os.Getenv("CI") != "" {
			t.Fatalf("this test loads programs into the kernel; missing: %v", missing)
		}
		t.Skipf("left out: loading programs needs %v", missing)
	}
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	ask := func(frame []byte) (events []bpf.Event) {
		t.Helper()
		if err := p.Ask(frame, func(e bpf.Event) { events = append(events, e) }); err != nil {
			t.Fatal(err)
		}
		return events
	}
	for _, port := range []uint16{1, 443, 65535} {
		opening := syn("198.51.100.9", "192.0.2.1", port)
		events := ask(opening)
		if len(events) != 1 || events[0].Stage != uint8(bpf.StageSYN) || events[0].HasFingerprint == 0 {
			t.Fatalf("port %d: a SYN told %+v", port, events)
		}
		if got := compile.FormatFingerprint(events[0].Fingerprint); got != "0:::" {
			t.Errorf("port %d: fingerprint %s", port, got)
		}
		// Frames as long as an offload hands them over go through whole.
		events = ask(payload(opening, append([]byte("GET / HTTP/1.1"), make([]byte, 65000)...)))
		if len(events) != 1 {
			t.Fatalf("port %d: a first payload told %+v", port, events)
		}
		if reason, odd := p.Odd(events[0]); !odd || reason != bpf.ReasonNotHello {
			t.Errorf("port %d: odd about a request without TLS: %s, %t", port, bpf.ReasonName(reason), odd)
		}
	}
	if _, odd := p.Odd(ask(syn("198.51.100.9", "192.0.2.1", 80))[0]); odd {
		t.Error("a plain SYN is odd")
	}
	if err := p.Ask(make([]byte, 13), func(bpf.Event) {}); err == nil {
		t.Error("a frame of 13 bytes went through")
	}
}
