// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

const (
	// maxHello bounds what is read before a connection is taken for something else; browsers send about 2 KB.
	maxHello = 64 << 10
	// patience bounds every wait for a client or for nginx.
	patience = 20 * time.Second
)

// connection is what one TCP connection began with.
type connection struct {
	client netip.AddrPort
	first  []byte // from the client: whole TLS records, up to the end of the ClientHello
}

// recorder stands in front of nginx and forwards every byte.
type recorder struct {
	nginx       *lab.Dialer
	certificate []byte // of nginx
	done        sync.WaitGroup

	mu    sync.Mutex // guards what follows
	seen  []connection
	empty int // connections that ended before a whole ClientHello, as speculative ones do
}

func startRecorder(t *testing.T, w *world.World) *recorder {
	t.Helper()
	r := &recorder{nginx: w.Edge.Dialer(netip.Addr{}), certificate: startNginx(t, w)}
	for network, addr := range map[string]string{"tcp4": "0.0.0.0:443", "tcp6": "[::]:443"} {
		ln, err := w.Edge.Listen(network, addr)
		world.Must(t, err)
		t.Cleanup(func() { _ = ln.Close() })
		go r.accept(ln)
	}
	return r
}

func (r *recorder) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		r.done.Go(func() { r.serve(conn) })
	}
}

// serve records what a client says first and then lets it talk with nginx.
func (r *recorder) serve(client net.Conn) {
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(patience))
	first, ok := readHello(client)
	r.mu.Lock()
	if ok {
		r.seen = append(r.seen, connection{unmapped(client.RemoteAddr()), first})
	} else {
		r.empty++
	}
	r.mu.Unlock()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := r.nginx.DialContext(ctx, "tcp", nginxAddr().String())
	if err != nil {
		return // the client says that it was not served
	}
	defer server.Close()
	_ = server.SetDeadline(time.Now().Add(patience))
	if _, err := server.Write(first); err != nil {
		return
	}
	forward(client, server)
}

// unmapped returns the peer of a connection; IPv4 as IPv4.
func unmapped(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// forward copies both ways until both sides have ended.
func forward(client, server net.Conn) {
	var wg sync.WaitGroup
	copyTo := func(to, from net.Conn) {
		defer to.Close()
		_, _ = io.Copy(to, from)
	}
	wg.Go(func() { copyTo(server, client) })
	wg.Go(func() { copyTo(client, server) })
	wg.Wait()
}

// readHello reads up to the end of the ClientHello, whatever segments and records it came in.
func readHello(conn io.Reader) (first []byte, ok bool) {
	buf := make([]byte, 4096)
	for len(first) < maxHello {
		n, err := conn.Read(buf)
		first = append(first, buf[:n]...)
		if helloComplete(first) {
			return first, true
		}
		if err != nil {
			return first, false
		}
	}
	return first, false
}

// helloComplete reports whether the handshake records hold a whole first message.
func helloComplete(stream []byte) bool {
	var message []byte
	for len(stream) >= 5 && stream[0] == 22 {
		end := 5 + int(binary.BigEndian.Uint16(stream[3:]))
		message = append(message, stream[5:min(end, len(stream))]...)
		stream = stream[min(end, len(stream)):]
	}
	return len(message) >= 4 && len(message) >= 4+int(message[1])<<16+int(message[2])<<8+int(message[3])
}

// take returns what was recorded since the last call, once every connection has ended.
func (r *recorder) take() (seen []connection, empty int) {
	r.done.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, empty = r.seen, r.empty
	r.seen, r.empty = nil, 0
	return seen, empty
}
