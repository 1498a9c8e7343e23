// SPDX-License-Identifier: Apache-2.0

package reset

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/world"
)

// Blocked bots that say nothing more are closed by the agent, fifteen seconds after their last word, with the rights of
// its unit; a visitor who is as silent, and the next user of a bot's port, are not.
func TestSilentBlockedConnectionsAreClosed(t *testing.T) {
	e := world.NewEdge(t)
	e.WriteHost("enforce", "guards: {bake: 1s, rollout: direct}")
	e.Start()
	var l net.Listener
	world.Must(t, e.Edge.Do(func() (err error) {
		l, err = net.Listen("tcp", ":443")
		return err
	}))
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
	sends := hello(t, tls.X25519)
	parsed, err := reference.ParseStream(sends)
	world.Must(t, err)
	e.MustCLI("apply", e.WriteBundle("deny", fmt.Sprintf(`rules:
  - {id: bad, label: bad, score: 100}
features:
  ja4:
    - {rule: bad, match: %s}
policy:
  default: {drop: 80}
`, parsed.JA4())), "--yes")
	d := e.Adopt()
	world.Eventually(t, "the bundle has baked", func() bool { return d.Baked() != 0 })

	const bots = 120 // more than are closed in a second
	var last *net.TCPConn
	for _, f := range families {
		for i := range bots / 2 {
			c, err := e.Out.Dialer(f.bot(i)).DialContext(t.Context(), "tcp", netip.AddrPortFrom(f.server, 443).String())
			world.Must(t, err)
			t.Cleanup(func() { _ = c.Close() })
			_, err = c.Write(sends)
			world.Must(t, err)
			last = c.(*net.TCPConn)
		}
		v, err := e.Out.Dialer(f.visitor).DialContext(t.Context(), "tcp", netip.AddrPortFrom(f.server, 443).String())
		world.Must(t, err)
		t.Cleanup(func() { _ = v.Close() })
		_, err = v.Write([]byte("x"))
		world.Must(t, err)
	}
	silent := time.Now()
	count := func() (n int) {
		world.Must(t, e.Edge.Do(func() error {
			for _, f := range families {
				n += heldHere(f.bots, 0)
			}
			return nil
		}))
		return n
	}
	// The next user of the last bot's port: another ISN, while the flow of before is still there and blocked.
	from := local(last)
	_ = last.SetLinger(0)
	_ = last.Close()
	var next net.Conn
	world.Must(t, e.Out.Do(func() (err error) {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: 20 * time.Second}
		next, err = dialer.Dial("tcp", last.RemoteAddr().String())
		return err
	}))
	t.Cleanup(func() { _ = next.Close() })
	if n := count(); n != bots {
		t.Fatalf("the server holds %d sockets of the bots, want %d", n, bots)
	}
	for count() > 1 {
		if since := time.Since(silent); since > 40*time.Second {
			t.Fatalf("%v after their last word the server holds %d sockets", since, count())
		}
		time.Sleep(100 * time.Millisecond)
	}
	took := time.Since(silent)
	t.Logf("%d sockets closed %v after the last word", bots-1, took)
	if took < 14*time.Second {
		t.Error("that is too early")
	}
	time.Sleep(8 * time.Second) // another walk
	if n := count(); n != 1 {
		t.Errorf("%d sockets on the bots' addresses, want the next user's", n)
	}
	for _, f := range families {
		world.Must(t, e.Edge.Do(func() error {
			if n := heldHere(netip.PrefixFrom(f.visitor, f.visitor.BitLen()), 0); n != 1 {
				t.Errorf("the visitor over %s has %d sockets, want 1", f.name, n)
			}
			return nil
		}))
	}
}
