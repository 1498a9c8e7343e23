// SPDX-License-Identifier: Apache-2.0

package reset

import (
	"bufio"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// It keeps waiting for a client's request for ten minutes: what it forgets within a test, it forgot because of an RST.
const nginxConf = `	keepalive_timeout 0;
	client_header_timeout 600s;
	ssl_protocols TLSv1.2 TLSv1.3;
	server {
		listen 0.0.0.0:443 ssl;
		listen [::]:443 ssl ipv6only=on;
		listen 0.0.0.0:80;
		listen [::]:80 ipv6only=on;
		default_type text/plain;
		location / { return 200 "served\n"; }
	}
	server {
		listen unix:%s/status.sock;
		location / { stub_status; }
	}
`

// site is a world whose edge runs a real nginx.
type site struct {
	*world.World
	t      *testing.T
	folder string
	asked  uint64 // connections of stub_status itself
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{World: world.New(t), t: t, folder: t.TempDir()}
	path := world.Program(t, "nginx")
	certificate, key := newCertificate(t)
	s.write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	s.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	s.write("nginx.conf", []byte(world.NginxConf(s.folder, "warn", fmt.Sprintf(nginxConf, s.folder))))
	world.Must(t, s.Out.Do(func() error { return receive(s.OutIf) }))
	cmd := exec.Command(path, "-e", "stderr", "-p", s.folder, "-c", filepath.Join(s.folder, "nginx.conf"))
	cmd.Stderr = os.Stderr
	world.Must(t, s.Edge.Start(cmd))
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	s.publish(nothing())
	for _, f := range families {
		world.Eventually(t, "nginx answers", func() bool { return s.visit(f) == nil })
	}
	return s
}

func (s *site) write(name string, text []byte) {
	s.t.Helper()
	world.Must(s.t, os.WriteFile(filepath.Join(s.folder, name), text, 0o600))
}

// receive gives an interface a program that passes everything. What a program at one end of a veth sends back reaches
// the other end only where that end has a program, too.
func receive(name string) error {
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "pass", Type: ebpf.XDP, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		return err
	}
	defer func() { _ = pass.Close() }() // the interface holds it
	end, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetXdpFd(end, pass.FD())
}

// cookies sets net.ipv4.tcp_syncookies of the edge, which holds for IPv6 too: 0 never, 1 when the queue is full, 2
// always.
func (s *site) cookies(value int) {
	s.t.Helper()
	world.Must(s.t, s.Edge.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/tcp_syncookies", fmt.Appendln(nil, value), 0o644)
	}))
}

// publish makes a bundle count at once.
func (s *site) publish(b *config.Bundle) { s.t.Helper(); s.Publish(s.Host, b) }

func nothing() *config.Bundle { return world.Bundle(nil, nil) }

// resetting is a bundle that resets what its rule "bad" matches.
func resetting(edit func(*config.Bundle)) *config.Bundle {
	return world.Bundle(world.BadRule, func(b *config.Bundle) {
		b.Policy[config.DefaultPolicy] = config.Policy{Drop: 80, Reset: 95}
		edit(b)
	})
}

// accepted is how many connections nginx has accepted on the ports 80 and 443.
func (s *site) accepted() uint64 {
	s.t.Helper()
	c, err := net.Dial("unix", filepath.Join(s.folder, "status.sock"))
	world.Must(s.t, err)
	defer func() { _ = c.Close() }()
	_, err = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	world.Must(s.t, err)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	world.Must(s.t, err)
	body, err := io.ReadAll(answer.Body)
	world.Must(s.t, err)
	s.asked++
	var active, accepts uint64
	text := strings.Join(strings.Fields(string(body)), " ")
	if _, err := fmt.Sscanf(text, "Active connections: %d server accepts handled requests %d", &active,
		&accepts); err != nil {
		s.t.Fatalf("nginx says %q: %v", text, err)
	}
	return accepts - s.asked
}

// sockets returns the state of every socket that the edge has for a client, the half-open ones included.
func (s *site) sockets(client netip.AddrPort) (states []uint8) {
	s.t.Helper()
	family := uint8(unix.AF_INET6)
	if client.Addr().Is4() {
		family = unix.AF_INET
	}
	world.Must(s.t, s.Edge.Do(func() error {
		all, err := netlink.SocketDiagTCP(family)
		for _, sk := range all {
			remote, _ := netip.AddrFromSlice(sk.ID.Destination)
			if netip.AddrPortFrom(remote.Unmap(), sk.ID.DestinationPort) == client {
				states = append(states, sk.State)
			}
		}
		return err
	}))
	return states
}

// resets is how many packets were counted as reset: those rewritten for the server and those answered.
func (s *site) resets() uint64 { return s.Packets(-1, int(bpf.OutcomeReset)) }

// family is one set of addresses.
type family struct {
	name    string
	server  netip.Addr
	bots    netip.Prefix
	visitor netip.Addr
}

var families = []family{
	{"IPv4", lab.EdgeAddr4, lab.CrawlerPrefix4, lab.VisitorPrefix4.Addr().Next()},
	{"IPv6", lab.EdgeAddr6, lab.CrawlerPrefix6, lab.VisitorPrefix6.Addr().Next()},
}

// bot is the address of the n-th bot; there are eight.
func (f family) bot(n int) netip.Addr {
	a := f.bots.Addr().Next()
	for range n % 8 {
		a = a.Next()
	}
	return a
}

// dial connects from the outside.
func (s *site) dial(from, to netip.Addr, port uint16) (c *net.TCPConn, err error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	conn, err := s.Out.Dialer(from).DialContext(ctx, "tcp", netip.AddrPortFrom(to, port).String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// visit makes one request over TLS as a visitor whom no rule knows: one connection.
func (s *site) visit(f family) error {
	c, err := s.dial(f.visitor, f.server, 443)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return get(c)
}
