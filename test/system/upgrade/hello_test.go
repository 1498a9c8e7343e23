// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/lab"
)

// hidden blocks whose hello was not read though the server read it.
const hidden = `rules:
  - {id: net, label: denied-network, score: 100}
  - {id: scan, label: scanner, score: 90}
  - {id: hidden, label: hidden-hello, score: 100}
features:
  prefixes:
    - {list: own, rule: net, entries: [198.18.66.0/24, "2001:db8:66::/64"]}
  tcp:
    - {rule: scan, muonfp: "1024:2:1460:"}
  reasons:
    - {rule: hidden, reason: hello_hidden}
policy:
  default: {drop: 80}
`

// halves says the first half of a ClientHello, waits, and says the rest.
type halves struct {
	net.Conn
	said  chan<- struct{} // closed when the first half is on its way
	after <-chan struct{}
	done  bool
}

func (h *halves) Write(b []byte) (int, error) {
	if h.done {
		return h.Conn.Write(b)
	}
	h.done = true
	n, err := h.Conn.Write(b[:100])
	close(h.said)
	if err != nil {
		return n, err
	}
	<-h.after
	rest, err := h.Conn.Write(b[100:])
	return n + rest, err
}

// ask makes one request over TLS, whose hello comes in halves.
func (s *site) ask(from, to netip.Addr, said chan<- struct{}, after <-chan struct{}) error {
	raw, err := s.Out.Dialer(from).DialContext(context.Background(), "tcp", netip.AddrPortFrom(to, 443).String())
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }()
	_ = raw.SetDeadline(time.Now().Add(time.Minute))
	c := tls.Client(&halves{Conn: raw, said: said, after: after}, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	for range 3 { // a hidden hello is one at the second packet
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: edge.example\r\n\r\n"); err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			return fmt.Errorf("read an answer: %w", err)
		}
	}
	return nil
}

// A visitor whose hello began before another dataplane took over, and went on behind it, is no one who hides: the sight
// has ended. Nor is anybody whose hello comes in halves meanwhile.
func TestA34UpgradeInMidHello(t *testing.T) {
	s := newSite(t, "")
	s.MustCLI("apply", s.WriteBundle("hidden", hidden), "--yes")
	s.roles = rolesIn(s.status(t))
	delete(s.roles, loader.RoleIdle) // nothing is idle in another dataplane
	families := map[netip.Addr]netip.Addr{lab.VisitorPrefix4.Addr().Next(): lab.EdgeAddr4,
		lab.VisitorPrefix6.Addr().Next(): lab.EdgeAddr6}
	var held, others sync.WaitGroup
	took, stop := make(chan struct{}), make(chan struct{})
	var asked atomic.Int64
	for from, to := range families {
		for range 4 {
			said := make(chan struct{})
			held.Go(func() {
				if err := s.ask(from, to, said, took); err != nil {
					t.Errorf("%s, in halves around the takeover: %v", from, err)
				}
			})
			<-said
		}
		others.Go(func() {
			for !closed(stop) {
				said, after := make(chan struct{}), make(chan struct{})
				time.AfterFunc(30*time.Millisecond, func() { close(after) })
				if err := s.ask(from, to, said, after); err != nil && !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s, in halves meanwhile: %v", from, err)
				}
				asked.Add(1)
			}
		})
	}
	s.Kill()
	s.as(t, later)
	s.Start()
	s.took(t)
	close(took)
	held.Wait()
	close(stop)
	others.Wait()
	t.Logf("%d more visitors meanwhile", asked.Load())
	if asked.Load() == 0 {
		t.Error("nobody came meanwhile")
	}
	s.unnoticed(t)
	s.tr.VisitorsNeverNoticed(t)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
