// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
	"github.com/spillway/spillway/userspace/sockets"
)

// server is a program that terminates TLS in front of real sites. It runs at each place.
type server struct {
	name string
	port uint16
	// run is how it is started: with a folder of its own, in which cert.pem, key.pem and both.pem lie. None is Go's.
	run func(folder string, port uint16) []string
	// proxied says that a PROXY header comes in front of each connection.
	proxied bool
}

var servers = []server{
	{name: "Go", port: firstPort},
	{name: "OpenSSL", port: firstPort + 1, run: func(folder string, port uint16) []string {
		return []string{"openssl", "s_server", "-quiet", "-accept", fmt.Sprintf("*:%d", port), "-cert", folder + "/cert.pem",
			"-key", folder + "/key.pem"}
	}},
	{name: "GnuTLS", port: firstPort + 2, run: func(folder string, port uint16) []string {
		return []string{"gnutls-serv", "--quiet", "--echo", "--port", fmt.Sprint(port), "--x509certfile",
			folder + "/cert.pem", "--x509keyfile", folder + "/key.pem"}
	}},
	{name: "nginx", port: firstPort + 3, run: func(folder string, port uint16) []string {
		return []string{"nginx", "-e", "stderr", "-p", folder, "-c", folder + "/nginx.conf"}
	}},
	{name: "HAProxy", port: firstPort + 4, run: func(folder string, port uint16) []string {
		return []string{"haproxy", "-db", "-q", "-f", folder + "/haproxy.cfg"}
	}},
}

// The verbs are: port, more words of the listener.
const nginxConf = `	server {
		listen 0.0.0.0:%[1]d ssl%[2]s;
		listen [::]:%[1]d ssl ipv6only=on%[2]s;
		return 204;
	}
`

// The verbs are: folder, port, more words of the listener.
const haproxyConf = `defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 5s
frontend f
	bind 0.0.0.0:%[2]d%[3]s ssl crt %[1]s/both.pem
	bind [::]:%[2]d v6only%[3]s ssl crt %[1]s/both.pem
	http-request return status 204
`

// serve starts some servers at every place.
func (s *site) serve(some ...server) {
	s.t.Helper()
	pair := s.certificate()
	for _, p := range places {
		for _, v := range some {
			if v.run == nil {
				s.serveGo(s.namespace(p), v.port, pair)
				continue
			}
			folder := filepath.Join(s.folder, s.namespace(p).Name(), v.name)
			world.Must(s.t, os.MkdirAll(folder, 0o755))
			for _, name := range []string{"cert.pem", "key.pem", "both.pem"} {
				world.Must(s.t, os.Link(filepath.Join(s.folder, name), filepath.Join(folder, name)))
			}
			nginx, haproxy := "", ""
			if v.proxied {
				nginx, haproxy = " proxy_protocol", " accept-proxy"
			}
			s.write(filepath.Join(folder, "nginx.conf"), world.NginxConf(folder, "crit", fmt.Sprintf(nginxConf, v.port, nginx)))
			s.write(filepath.Join(folder, "haproxy.cfg"), fmt.Sprintf(haproxyConf, folder, v.port, haproxy))
			s.start(s.namespace(p), v.run(folder, v.port))
		}
	}
	for _, p := range places {
		for _, v := range some {
			for _, f := range families {
				s.answers(p, v, f)
			}
		}
	}
}

// answers returns when a server answers an ordinary client.
func (s *site) answers(p place, v server, f family) {
	s.t.Helper()
	var err error
	if !until(func() bool {
		var c net.Conn
		if c, err = s.dial(f.visitor, f.edge, p.port(v.port)); err == nil {
			_ = c.SetDeadline(time.Now().Add(patience))
			if v.proxied {
				_, _ = io.WriteString(c, "PROXY UNKNOWN\r\n")
			}
			err = tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake()
			_ = c.Close()
		}
		return err == nil
	}) {
		s.t.Fatalf("%s, %s, %s does not answer: %v", v.name, p.name, f.name, err)
	}
}

// start runs a server until the test ends.
func (s *site) start(n *lab.Namespace, command []string) {
	s.t.Helper()
	c := exec.Command(world.Program(s.t, command[0]), command[1:]...)
	c.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	in, err := c.StdinPipe() // s_server ends with its standard input
	world.Must(s.t, err)
	world.Must(s.t, n.Start(c))
	s.t.Cleanup(func() {
		_ = in.Close()
		_ = c.Process.Kill()
		_ = c.Wait()
		if s.t.Failed() && said.Len() > 0 {
			s.t.Logf("%s said: %s", command[0], said.Bytes())
		}
	})
}

func (s *site) serveGo(n *lab.Namespace, port uint16, pair tls.Certificate) {
	s.t.Helper()
	for network, host := range map[string]string{"tcp4": "0.0.0.0", "tcp6": "[::]"} {
		l, err := n.Listen(network, fmt.Sprintf("%s:%d", host, port))
		world.Must(s.t, err)
		s.t.Cleanup(func() { _ = l.Close() })
		go acceptTLS(l, pair)
	}
}

func acceptTLS(l net.Listener, pair tls.Certificate) {
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer raw.Close()
			_ = raw.SetDeadline(time.Now().Add(time.Minute))
			c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
			_, _ = io.Copy(c, c)
		}()
	}
}

var errSilent = errors.New("it neither serves nor refuses")

// served reads until a ServerHello, or another end of the handshake.
func served(c net.Conn) (bool, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return false, silence(err)
		}
		body := make([]byte, int(head[3])<<8|int(head[4]))
		if _, err := io.ReadFull(c, body); err != nil {
			return false, silence(err)
		}
		switch {
		case head[0] == 22 && len(body) > 0:
			return body[0] == 2, nil
		case head[0] == 21 && len(body) == 2 && body[0] == 2:
			return false, nil
		}
	}
}

func silence(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSilent
	}
	return nil
}

// says sends a stream, each piece in segments of its own.
func says(c net.Conn, pieces ...[]byte) error {
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	for _, piece := range pieces {
		if _, err := c.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// serves asks a server directly, from its own namespace, whether it answers a stream with a ServerHello.
func (s *site) serves(p place, v server, stream []byte) (bool, error) {
	c, err := s.namespace(p).Dialer(netip.Addr{}).DialContext(s.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", v.port))
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Close() }()
	if says(c, stream) != nil {
		return false, nil
	}
	return served(c)
}

// abort ends a server's socket: its client is blocked, and s_server has time for one at once.
func (s *site) abort(p place, v server, f family, client netip.AddrPort) error {
	at := f.edge
	if p.dnat {
		at = f.behind
	}
	return s.namespace(p).Do(func() error {
		found, err := sockets.Find(netip.AddrPortFrom(at, v.port), client)
		if err == nil {
			err = found.Close()
		}
		if errors.Is(err, sockets.ErrNoSocket) {
			return nil
		}
		return err
	})
}
