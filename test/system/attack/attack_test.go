// SPDX-License-Identifier: Apache-2.0

// Package attack floods the edge at full rate with what a stranger can forge, while visitors and a bot keep going and
// the real agent runs beside it on the same cores.
package attack

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/flood"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	world.RemoveBinary()
	os.Exit(code)
}

// The bot's SYN is listed, and a ClientHello; no frame of any flood is, so whatever is dropped must be the bots'. Every
// reason that may block alone does: none of it is a stranger's to make for somebody else.
func denyScanner(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf(`rules:
  - {id: scan, label: scanner, score: 90}
  - {id: hello, label: bot, score: 90}
  - {id: hides, label: hides, score: 90}
features:
  tcp:
    - {rule: scan, muonfp: "1024:2:1460:"}
  ja4:
    - {rule: hello, match: %s}
  reasons:
    - {rule: hides, reason: hello_hidden}
    - {rule: hides, reason: hello_overlap}
    - {rule: hides, reason: hello_malformed}
    - {rule: hides, reason: hello_urgent}
    - {rule: hides, reason: hello_too_long}
    - {rule: hides, reason: not_hello}
policy:
  default: {drop: 80}
`, deniedJA4(t))
}

// acceptAll is the host file's part of it.
const acceptAll = "accept_reasons: [hello_urgent, hello_too_long, not_hello]"

// duration of each flood: SPILLWAY_ATTACK_FOR=1m is the long target's.
func duration(t *testing.T) time.Duration {
	t.Helper()
	v := os.Getenv("SPILLWAY_ATTACK_FOR")
	if v == "" {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < time.Second {
		t.Fatalf("SPILLWAY_ATTACK_FOR=%q: want a duration from 1s on", v)
	}
	return d
}

const (
	fin, synFlag, rst, psh, ack = 0x01, 0x02, 0x04, 0x08, 0x10
)

// segment is a TCP segment without options and with a window that no rule lists.
func segment(flags byte, payload string) []byte {
	tcp := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(tcp, 40000)
	binary.BigEndian.PutUint16(tcp[2:], 443)
	binary.BigEndian.PutUint32(tcp[4:], 1)
	tcp[12], tcp[13] = 5<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 65535)
	return append(tcp, payload...)
}

// hello begins like a TLS ClientHello and goes on as garbage.
const hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03spillway spillway spillway spillway"

func TestFloodsBlockNoVisitorAndHideNoBot(t *testing.T) {
	e, d := defended(t)
	stranger4, stranger6 := netip.MustParseAddr("198.18.200.0"), netip.MustParseAddr("2001:db8:200::1")
	visitor, visitor6 := lab.VisitorPrefix4.Addr().Next(), lab.VisitorPrefix6.Addr().Next()
	bot4, bot6 := lab.CrawlerPrefix4.Addr().Next(), lab.CrawlerPrefix6.Addr().Next()

	for _, f := range []struct {
		name   string
		src    netip.Addr
		tcp    []byte
		random bool // the source too, not only port and sequence number
	}{
		{"spoofed SYNs", stranger4, segment(synFlag, ""), true},
		{"spoofed SYNs over IPv6", stranger6, segment(synFlag, ""), true},
		{"SYNs with data", stranger4, segment(synFlag, hello), true},
		{"FINs from a visitor's address", visitor, segment(fin|ack, ""), false},
		{"RSTs from a visitor's address", visitor, segment(rst, ""), false},
		{"SYNs from a visitor's address", visitor, segment(synFlag, ""), false},
		{"data from a visitor's address", visitor, segment(psh|ack, "GET / HTTP/1.1\r\n\r\n"), false},
		{"data from a visitor's address over IPv6", visitor6, segment(psh|ack, "GET / HTTP/1.1\r\n\r\n"), false},
		{"unfinished hellos", stranger4, segment(psh|ack, hello), true},
		{"unfinished hellos over IPv6", stranger6, segment(psh|ack, hello), true},
		{"SYNs from a bot's address", bot4, segment(synFlag, ""), false},
		{"other hellos from a bot's address over IPv6", bot6, segment(psh|ack, hello), false},
	} {
		t.Run(f.name, func(t *testing.T) {
			frame := flood.IP(e.OutMAC, e.EdgeMAC, f.src, edgeOf(f.src), 6, f.tcp)
			underFlood(t, e, d, attack{frame: flood.Frame{Bytes: frame, RandomSource: f.random, RandomSeq: true}})
		})
	}
}

// defended is an edge whose agent blocks the bot, with a web server behind it.
func defended(t *testing.T) (*world.Edge, *loader.Dataplane) {
	t.Helper()
	e := world.NewEdge(t)
	origin, err := e.StartOrigin(t.Context(), lab.OriginOptions{})
	world.Must(t, err)
	t.Cleanup(func() { _ = origin.Close() })
	e.WriteHost("enforce", acceptAll+"\n"+world.Direct)
	e.Start()
	e.MustCLI("apply", e.WriteBundle("deny", denyScanner(t)), "--yes")
	return e, e.Adopt()
}

// attack is a flood, and what happens besides.
type attack struct {
	frame  flood.Frame
	listed bool                      // its own frames are blocked, as the bot's SYNs are
	beside func(ctx context.Context) // runs until ctx ends, when the flood does
}

func edgeOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return lab.EdgeAddr4
	}
	return lab.EdgeAddr6
}

// underFlood runs one flood and holds what must hold against the counters of before.
func underFlood(t *testing.T, e *world.Edge, d *loader.Dataplane, a attack) {
	t.Helper()
	visitors, err := e.StartVisitors(t.Context(), lab.VisitorOptions{Rate: 20, Timeout: 30 * time.Second})
	world.Must(t, err)
	defer func() { _ = visitors.Close() }()
	scanner, err := e.StartScanner(t.Context(), lab.ScannerOptions{Rate: 100})
	world.Must(t, err)
	defer func() { _ = scanner.Close() }()
	known := blockBots(t, e, d)
	defer known.close()
	before, bytes, hiddenBefore := drops(t, d), memory(t, d), hidden(t, d)

	sent, oldest := runFlood(t, e, d, a, known)

	known.stayBlocked(t)
	bot := scanner.Stop()
	people := visitors.Stop()
	after := drops(t, d)
	t.Logf("%d frames; visitors %d requests, %d failures, p99 %s; bot %d SYNs, %d answers; oldest heartbeat %s",
		sent, people.Requests, people.Failures, people.P99, bot.Sent, bot.Answered, oldest)
	if bot.Sent == 0 || bot.Answered != 0 {
		t.Errorf("the bot hid behind the flood: %d of its %d SYNs were answered", bot.Answered, bot.Sent)
	}
	for reason, n := range after {
		allowed := bot.Sent
		if a.listed {
			allowed += uint64(sent)
		}
		if reason == bpf.ReasonJA4 {
			continue // of the bots with the denied hello: stayBlocked has looked whose flows are blocked
		}
		if n -= before[reason]; n != 0 && (reason != bpf.ReasonTCPFingerprint || n > allowed) {
			t.Errorf("%d packets dropped for %s; only the bot's %d SYNs may be", n, bpf.ReasonName(reason), allowed)
		}
	}
	if n := hidden(t, d) - hiddenBefore; n != 0 {
		t.Errorf("%d packets are said to be of a hidden hello", n)
	}
	if people.Requests == 0 || people.Failures != 0 {
		t.Errorf("visitors: %d of %d requests failed: %v", people.Failures, people.Requests, people.Errors)
	}
	if now := memory(t, d); now != bytes {
		t.Errorf("the maps took %d bytes before the flood and %d after", bytes, now)
	}
	// The guard's default is 15 minutes; ten missed beats would already be a starved agent.
	if oldest > 10*time.Second {
		t.Errorf("the agent's heartbeat was %s old", oldest)
	}
}

// runFlood sends for the duration and watches the heartbeat meanwhile.
func runFlood(t *testing.T, e *world.Edge, d *loader.Dataplane, a attack, known *bots) (sent int,
	oldest time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), duration(t))
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		err := e.Out.Do(func() error {
			var err error
			sent, err = flood.Until(ctx, a.frame, e.OutIndex)
			return err
		})
		if err != nil {
			t.Errorf("flood: %v", err)
		}
	})
	wg.Go(func() { known.goOn(ctx, t) })
	if a.beside != nil {
		wg.Go(func() { a.beside(ctx) })
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		oldest = max(oldest, d.Heartbeat())
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	wg.Wait()
	return sent, oldest
}

func drops(t *testing.T, d *loader.Dataplane) map[bpf.Reason]uint64 {
	t.Helper()
	counters, err := d.Counters()
	world.Must(t, err)
	dropped := map[bpf.Reason]uint64{}
	for _, c := range counters {
		if c.Outcome == bpf.OutcomeDrop {
			dropped[c.Reason] += c.Packets
		}
	}
	return dropped
}

func memory(t *testing.T, d *loader.Dataplane) uint64 {
	t.Helper()
	use, err := d.MapUse()
	world.Must(t, err)
	var sum uint64
	for _, u := range use {
		sum += u.Bytes
	}
	return sum
}
