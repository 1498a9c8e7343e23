// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/flood"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// patience of one request: what a full ring loses under a flood, TCP sends again.
const patience = 30 * time.Second

// A visitor behind the bot's own address uses a few ports again and again, while the bot's blocked SYNs come from every
// port of that address, those included: no request of the visitor fails.
func TestPortsUsedAgain(t *testing.T) {
	e, d := defended(t)
	for _, f := range []struct {
		name     string
		src, dst netip.Addr
	}{
		{"IPv4", lab.VisitorPrefix4.Addr().Next(), lab.EdgeAddr4},
		{"IPv6", lab.VisitorPrefix6.Addr().Next(), lab.EdgeAddr6},
	} {
		t.Run(f.name, func(t *testing.T) {
			tcp := append(segment(synFlag, ""), 2, 4, 5, 0xb4) // MuonFP "1024:2:1460:", which the bundle lists
			tcp[12] = 6 << 4
			binary.BigEndian.PutUint16(tcp[14:], 1024)
			var served atomic.Int64
			beside := func(ctx context.Context) {
				var wg sync.WaitGroup
				for port := uint16(20_001); port <= 20_004; port++ {
					wg.Go(func() {
						for ctx.Err() == nil {
							if err := visit(e, netip.AddrPortFrom(f.src, port), netip.AddrPortFrom(f.dst, 80)); err != nil {
								t.Errorf("port %d, after %d requests: %v", port, served.Load(), err)
								return
							}
							served.Add(1)
						}
					})
				}
				wg.Wait()
			}
			underFlood(t, e, d, attack{
				frame:  flood.Frame{Bytes: flood.IP(e.OutMAC, e.EdgeMAC, f.src, f.dst, unix.IPPROTO_TCP, tcp), RandomSeq: true},
				listed: true, beside: beside,
			})
			if served.Load() < 8 {
				t.Errorf("%d requests from four ports: none was used again", served.Load())
			}
			t.Logf("%d requests from four ports", served.Load())
		})
	}
}

// visit makes one request over a connection from that very port, and resets it, so that the port is free at once. The
// server does not end it: where the RST is lost in the flood, Linux refuses the SYN of the next connection on a socket
// in FIN-WAIT-2 (tcp_timewait_state_process), dataplane or not, and asks on one that is established (RFC 5961).
func visit(e *world.Edge, from, to netip.AddrPort) error {
	c, err := dialFrom(e, from, to)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := errors.Join(c.SetLinger(0), c.SetDeadline(time.Now().Add(patience))); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: edge\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || answer.Close {
		return fmt.Errorf("the answer is %s, and the last one: %t", answer.Status, answer.Close)
	}
	return nil
}

func dialFrom(e *world.Edge, from, to netip.AddrPort) (c *net.TCPConn, err error) {
	err = e.Out.Do(func() error {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: patience}
		conn, err := d.Dial("tcp", to.String())
		if err == nil {
			c = conn.(*net.TCPConn)
		}
		return err
	})
	return c, err
}

// The first payload of a live connection comes again and again with other bytes, each a ClientHello of another shape,
// from somebody who knows ports and sequence numbers: the worst that a stranger could guess, and what a bot can do by
// itself. Requests over the connection go on, and so does everybody else.
func TestDuplicatePayloadsWithOtherBytes(t *testing.T) {
	e, d := defended(t)
	for _, f := range []struct {
		name     string
		src, dst netip.Addr
		header   int // Ethernet and IP
	}{
		{"IPv4", lab.VisitorPrefix4.Addr().Next(), lab.EdgeAddr4, 14 + 20},
		{"IPv6", lab.VisitorPrefix6.Addr().Next(), lab.EdgeAddr6, 14 + 40},
	} {
		t.Run(f.name, func(t *testing.T) {
			c, err := dialFrom(e, netip.AddrPortFrom(f.src, 0), netip.AddrPortFrom(f.dst, 443))
			world.Must(t, err)
			defer c.Close()
			first := firstByte(t, c)
			secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // who is behind the dataplane is not the question
			world.Must(t, c.SetDeadline(time.Now().Add(patience)))
			world.Must(t, secure.Handshake())
			tcp := segment(psh|ack, string(clientHello(t)))
			binary.BigEndian.PutUint16(tcp, c.LocalAddr().(*net.TCPAddr).AddrPort().Port())
			binary.BigEndian.PutUint32(tcp[4:], first)
			// Record and handshake header, version, random, session: the first cipher suites are drawn.
			suites := f.header + 20 + 5 + 4 + 2 + 32 + 1 + 32 + 2
			before := midstream(t, d)
			underFlood(t, e, d, attack{
				frame: flood.Frame{
					Bytes: flood.IP(e.OutMAC, e.EdgeMAC, f.src, f.dst, unix.IPPROTO_TCP, tcp), KeepPort: true, RandomAt: suites,
				},
				beside: func(ctx context.Context) { goOn(ctx, t, c, secure) },
			})
			if lost := midstream(t, d) - before; lost > 1000 {
				t.Errorf("%d packets were taken for the middle of a connection: the sequence number is wrong", lost)
			}
		})
	}
}

// goOn makes a request over the connection every quarter of a second, and one after the last frame.
func goOn(ctx context.Context, t *testing.T, c net.Conn, secure *tls.Conn) {
	answers := bufio.NewReader(secure)
	for n, over := 0, false; !over; n++ {
		select {
		case <-ctx.Done():
			over = true
		case <-time.After(250 * time.Millisecond): // the interval of the test, not a wait for something
		}
		err := c.SetDeadline(time.Now().Add(patience))
		if err == nil {
			_, err = io.WriteString(secure, "GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
		}
		var answer *http.Response
		if err == nil {
			answer, err = http.ReadResponse(answers, nil)
		}
		if err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
		}
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("request %d over the connection whose payload is forged: %v", n, err)
			return
		}
	}
}

func midstream(t *testing.T, d *loader.Dataplane) (packets uint64) {
	t.Helper()
	return countOf(t, d, bpf.ReasonMidstream)
}

// countOf is how many packets had a reason, whatever came of it.
func countOf(t *testing.T, d *loader.Dataplane, reason bpf.Reason) (packets uint64) {
	t.Helper()
	counters, err := d.Counters()
	world.Must(t, err)
	for _, c := range counters {
		if c.Reason == reason {
			packets += c.Packets
		}
	}
	return packets
}

// clientHello is what Go's TLS client says first, in one segment.
func clientHello(t *testing.T) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: "edge.example", CurvePreferences: []tls.CurveID{tls.X25519}}).
			Handshake()
	}()
	hello := make([]byte, 4096)
	n, err := server.Read(hello)
	world.Must(t, err)
	if n < 100 || n > 1300 || hello[0] != 0x16 {
		t.Fatalf("the hello is of %d bytes", n)
	}
	return hello[:n]
}

// firstByte reads the sequence number of the first byte that a connection will send, by way of TCP_REPAIR (tcp(7) of
// Linux, as CRIU uses it).
func firstByte(t *testing.T, c *net.TCPConn) (seq uint32) {
	t.Helper()
	raw, err := c.SyscallConn()
	world.Must(t, err)
	const sendQueue, offQuietly = 2, -1 // TCP_SEND_QUEUE; TCP_REPAIR_OFF_NO_WP: no window probe afterwards
	var inner error
	world.Must(t, raw.Control(func(fd uintptr) {
		next := 0
		set := func(option, value int) {
			if inner == nil {
				inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, value)
			}
		}
		set(unix.TCP_REPAIR, 1)
		set(unix.TCP_REPAIR_QUEUE, sendQueue)
		if inner == nil {
			next, inner = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
		}
		set(unix.TCP_REPAIR, offQuietly)
		seq = uint32(next)
	}))
	world.Must(t, inner)
	return seq
}
