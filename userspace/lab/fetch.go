// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// maxBody bounds what a client reads of an answer.
const maxBody = 1 << 20

// target is what a client asks for.
type target struct {
	addr    netip.AddrPort
	tls     *tls.Config // nil means plain HTTP
	timeout time.Duration
	agent   string // User-Agent
}

// fault is why a request failed. Its cause names no address and no port, so
// that equal faults can be counted together; the error has the details.
type fault struct {
	cause string
	err   error
}

func (f *fault) Error() string { return f.cause + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// fetch makes one request over a connection of its own and reads the answer.
// Everything together takes at most t.timeout. What is not a 200 is a fault.
func fetch(ctx context.Context, d *Dialer, t target) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", t.addr.String())
	if err != nil {
		return newFault("dial", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return newFault("dial", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	scheme := "http"
	if t.tls != nil {
		scheme = "https"
		secure := tls.Client(conn, t.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return newFault("tls", err)
		}
		defer secure.Close()
		conn = secure
	}
	return ask(conn, scheme, t.agent)
}

// ask sends one GET and reads the whole answer.
func ask(conn net.Conn, scheme, agent string) error {
	req, err := http.NewRequest(http.MethodGet, scheme+"://"+OriginHost+"/", nil)
	if err != nil {
		return newFault("request", err)
	}
	req.Header.Set("User-Agent", agent)
	req.Close = true
	if err := req.Write(conn); err != nil {
		return newFault("request", err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return newFault("answer", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)); err != nil {
		return newFault("answer", err)
	}
	if resp.StatusCode != http.StatusOK {
		return newFault(fmt.Sprintf("http status %d", resp.StatusCode), errors.New(resp.Status))
	}
	return nil
}

// newFault names what was being done and, in few words, what happened.
func newFault(doing string, err error) *fault {
	var timeout net.Error
	var errno syscall.Errno
	var cert *tls.CertificateVerificationError
	var alert tls.AlertError
	switch {
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		doing += ": timeout"
	case errors.As(err, &errno):
		doing += ": " + errno.Error()
	case errors.As(err, &cert):
		doing += ": certificate refused"
	case errors.As(err, &alert):
		doing += ": alert " + alert.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		doing += ": connection closed"
	}
	return &fault{doing, err}
}
