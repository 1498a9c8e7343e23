// SPDX-License-Identifier: Apache-2.0

package reset

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

const request = "GET / HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n"

// get makes one request over TLS with a ClientHello that is not a bot's.
func get(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if _, err := io.WriteString(secure, request); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(secure), nil)
	if err != nil {
		return err
	}
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "served\n" {
		return fmt.Errorf("the answer is %q, %w", body, err)
	}
	return nil
}

// hello is what Go's TLS client says first: with the default curves in two segments, with X25519 alone in one.
func hello(t *testing.T, curves ...tls.CurveID) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer func() { _ = server.Close() }()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: "edge.example", CurvePreferences: curves}).Handshake()
	}()
	b := make([]byte, 4096)
	n, err := server.Read(b)
	world.Must(t, err)
	return b[:n]
}

// denyHello is a bundle that resets clients with this ClientHello.
func denyHello(t *testing.T, stream []byte) *config.Bundle {
	t.Helper()
	parsed, err := reference.ParseStream(stream)
	world.Must(t, err)
	ja4, err := signature.ParseJA4(parsed.JA4())
	world.Must(t, err)
	return resetting(func(b *config.Bundle) { b.JA4 = []config.JA4Feature{{Rule: "bad", Match: ja4}} })
}

// denyBots is a bundle that resets the bots by their addresses.
func denyBots() *config.Bundle {
	return resetting(func(b *config.Bundle) {
		b.Prefixes = []config.PrefixList{{List: "own", Rule: "bad", Entries: world.Denied()}}
	})
}

// ended reads until the connection ends, and says how.
func ended(c *net.TCPConn) error {
	err := c.SetReadDeadline(time.Now().Add(20 * time.Second))
	for err == nil {
		_, err = c.Read(make([]byte, 4096))
	}
	return err
}

// deafen makes a socket overlook every RST: a client that goes on trying.
func deafen(c *net.TCPConn) error {
	const tcpFlags, rst = 13, 4
	filter := []unix.SockFilter{ // it sees the TCP header and what follows
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: tcpFlags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: rst, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 18},
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		inner = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	})
	return errors.Join(err, inner)
}

// retransmissions is how many segments a socket has sent again.
func retransmissions(t *testing.T, c *net.TCPConn) uint32 {
	t.Helper()
	raw, err := c.SyscallConn()
	world.Must(t, err)
	var info *unix.TCPInfo
	var inner error
	world.Must(t,
		raw.Control(func(fd uintptr) { info, inner = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }))
	world.Must(t, inner)
	return info.Total_retrans
}

// newCertificate makes a self-signed certificate; nobody verifies it.
func newCertificate(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	world.Must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: lab.OriginHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	certificate, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	world.Must(t, err)
	key, err = x509.MarshalPKCS8PrivateKey(private)
	world.Must(t, err)
	return certificate, key
}
