// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/reference"
	"github.com/spillway/spillway/test/world"
	"github.com/spillway/spillway/userspace/lab"
)

// untracked keeps connection tracking out of it: nobody but the answers vouches. The server's own addresses are routed to it.
const untracked = `table inet raw {
	chain pre { type filter hook prerouting priority raw; notrack; }
	chain out { type filter hook output priority raw; notrack; }
}
`

// forwarded sends what comes for port 443 to the server behind.
const forwarded = `table ip nat {
	chain pre { type nat hook prerouting priority dstnat; tcp dport 443 dnat to 10.66.0.2; }
}
table ip6 nat {
	chain pre { type nat hook prerouting priority dstnat; tcp dport 443 dnat to fd66::2; }
}
`

type site struct {
	*world.World
	t       *testing.T
	servers map[string]netip.Addr // by family
	served  atomic.Uint64         // bytes that the server has read
}

type family struct {
	name    string
	edge    netip.Addr
	behind  netip.Addr
	bot     netip.Addr
	visitor netip.Addr
}

var families = []family{
	{"IPv4", lab.EdgeAddr4, netip.MustParseAddr("10.66.0.2"), lab.CrawlerPrefix4.Addr().Next(), lab.VisitorPrefix4.Addr().Next()},
	{"IPv6", lab.EdgeAddr6, netip.MustParseAddr("fd66::2"), lab.CrawlerPrefix6.Addr().Next(), lab.VisitorPrefix6.Addr().Next()},
}

// newSite makes a site; by DNAT the server has the edge's addresses, else its own.
func newSite(t *testing.T, dnat bool) *site {
	t.Helper()
	rules := untracked
	if dnat {
		rules = forwarded
	}
	path, err := exec.LookPath("nft")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("nft is missing: `make deps` installs it")
		}
		t.Skip("left out: nft is missing; `make deps` installs it")
	}
	s := &site{World: world.New(t), t: t, servers: map[string]netip.Addr{}}
	for _, f := range families {
		s.servers[f.name] = f.behind
		if dnat {
			s.servers[f.name] = f.edge
		}
	}
	world.Must(t, s.Out.Do(func() error {
		for _, f := range families {
			r := &netlink.Route{Dst: &net.IPNet{IP: f.behind.AsSlice(), Mask: net.CIDRMask(f.behind.BitLen(), f.behind.BitLen())}, Gw: f.edge.AsSlice()}
			if err := netlink.RouteAdd(r); err != nil {
				return fmt.Errorf("route to %s: %w", f.behind, err)
			}
		}
		return nil
	}))
	s.Host.Services[0].Local, s.Host.Services[0].Confirm = false, config.ConfirmEgress
	behind, listener := s.newServer()
	world.Must(t, s.Edge.Do(func() error {
		for _, f := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+f, []byte("1"), 0o644); err != nil {
				return err
			}
		}
		if err := makeVeth("srv0", "srv1", behind, "10.66.0.1/24", "fd66::1/64"); err != nil {
			return err
		}
		cmd := exec.Command(path, "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return s.Dataplane.SyncEgress([]string{s.EdgeIf})
	}))
	listener()
	s.Publish(s.Host, world.Bundle(nil, nil))
	for _, f := range families {
		world.Eventually(t, "the server behind answers over "+f.name, func() bool { return s.visit(f) == nil })
	}
	return s
}

// makeVeth makes a pair whose other end is the server's.
func makeVeth(here, there string, ns netns.NsHandle, addrs ...string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = here
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: there, PeerNamespace: netlink.NsFd(ns)}); err != nil {
		return fmt.Errorf("make a veth pair: %w", err)
	}
	return setUp(here, addrs...)
}

func setUp(name string, addrs ...string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, text := range addrs {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		if strings.Contains(text, ":") {
			a.Flags = 0x02 // IFA_F_NODAD
		}
		if err := netlink.AddrAdd(l, a); err != nil {
			return fmt.Errorf("add %s: %w", text, err)
		}
	}
	return netlink.LinkSetUp(l)
}

// newServer makes a namespace, and returns how to listen there once its interface is there. It reads and answers "served".
func (s *site) newServer() (netns.NsHandle, func()) {
	s.t.Helper()
	made, ready := make(chan netns.NsHandle), make(chan struct{})
	done := make(chan error, 1)
	var listeners []net.Listener
	go func() {
		runtime.LockOSThread() // never unlocked: the namespace ends with the thread
		ns, err := netns.New()
		if err != nil {
			done <- err
			close(made)
			return
		}
		made <- ns
		<-ready
		err = setUp("srv1", "10.66.0.2/24", "fd66::2/64")
		for _, via := range []string{"10.66.0.1", "fd66::1"} {
			if err == nil {
				err = netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(via)})
			}
		}
		for network, address := range map[string]string{"tcp4": "0.0.0.0:443", "tcp6": "[::]:443"} {
			if err == nil {
				var l net.Listener
				l, err = net.Listen(network, address)
				listeners = append(listeners, l)
			}
		}
		done <- err
	}()
	ns, ok := <-made
	if !ok {
		s.t.Fatal(<-done)
	}
	s.t.Cleanup(func() { _ = ns.Close() })
	return ns, func() {
		close(ready)
		world.Must(s.t, <-done)
		for _, l := range listeners {
			s.t.Cleanup(func() { _ = l.Close() })
			go s.accept(l)
		}
	}
}

func (s *site) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go s.serve(c)
	}
}

func (s *site) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		s.served.Add(uint64(n))
		if err != nil {
			return
		}
		if !bytes.HasSuffix(b[:n], []byte("hello")) {
			continue // no server answers half a ClientHello
		}
		if _, err := io.WriteString(c, "served\n"); err != nil {
			return
		}
	}
}

func (s *site) dial(from netip.Addr, f family) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	c, err := s.Out.Dialer(from).DialContext(ctx, "tcp", netip.AddrPortFrom(s.servers[f.name], 443).String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// visit says hello as a visitor and waits for the answer.
func (s *site) visit(f family) error {
	c, err := s.dial(f.visitor, f)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("a visitor's hello")); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = io.ReadFull(c, make([]byte, len("served\n")))
	return err
}

// hello is what Go's TLS client says first.
func hello(t *testing.T) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer func() { _ = server.Close() }()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: "edge.example", CurvePreferences: []tls.CurveID{tls.X25519}}).Handshake()
	}()
	b := make([]byte, 4096)
	n, err := server.Read(b)
	world.Must(t, err)
	return b[:n]
}

// deny drops clients with this ClientHello.
func deny(t *testing.T, stream []byte) *config.Bundle {
	t.Helper()
	parsed, err := reference.ParseStream(stream)
	world.Must(t, err)
	ja4, err := config.ParseJA4(parsed.JA4())
	world.Must(t, err)
	return world.Bundle(world.BadRule, func(b *config.Bundle) { b.JA4 = []config.JA4Feature{{Rule: "bad", Match: ja4}} })
}

// flows are those that the dataplane keeps of an address, wherever.
func (s *site) flows(from netip.AddrPort) []bpf.Flow { s.t.Helper(); return s.flowsAt(from.Port()) }

func (s *site) flowsAt(port uint16) (all []bpf.Flow) {
	s.t.Helper()
	for _, name := range []string{bpf.DataplaneMapFlows} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(s.Pins, fmt.Sprintf("v%d/maps", bpf.ABIVersion), name), nil)
		world.Must(s.t, err)
		var k bpf.FlowKey
		var f bpf.Flow
		for i := m.Iterate(); i.Next(&k, &f); {
			if uint16(k.Sport>>8|k.Sport<<8) == port {
				all = append(all, f)
			}
		}
		_ = m.Close()
	}
	return all
}

func local(c net.Conn) netip.AddrPort { return c.LocalAddr().(*net.TCPAddr).AddrPort() }
