// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net"
	"sync"
)

// places counts the connections of one socket.
type places struct {
	soft  int
	once  sync.Once
	taken slots // twice as many as soft
}

// listen wraps a listener so that each connection takes a place. Beyond the soft number a connection is marked, and
// beyond twice the number it waits in the kernel's backlog.
func (p *places) listen(l net.Listener) net.Listener {
	p.once.Do(func() { p.taken = make(slots, 2*p.soft) })
	return &placedListener{Listener: l, places: p, closed: make(chan struct{})}
}

// LimitConnections lets at most so many connections of a listener be open at once; more wait in the kernel's backlog.
func LimitConnections(l net.Listener, most int) net.Listener {
	return (&places{soft: most / 2}).listen(l)
}

type placedListener struct {
	net.Listener
	places *places
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *placedListener) Accept() (net.Conn, error) {
	select {
	case l.places.taken <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		l.places.taken.give()
		return nil, err
	}
	return &placedConn{Conn: c, places: l.places, over: len(l.places.taken) > l.places.soft}, nil
}

// Close implements net.Listener.
func (l *placedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// placedConn gives its place back when it is closed.
type placedConn struct {
	net.Conn
	places *places
	over   bool
	once   sync.Once
}

// Close implements net.Conn.
func (c *placedConn) Close() error {
	c.once.Do(c.places.taken.give)
	return c.Conn.Close()
}

type connKey struct{}

// withPeer remembers, for the requests of a connection, the connection and who is at its other end.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	ctx = context.WithValue(ctx, connKey{}, c)
	if p, ok := c.(*placedConn); ok {
		c = p.Conn
	}
	return context.WithValue(ctx, callerKey{}, callerOf(c))
}

// overfull reports whether the request's connection is one too many.
func overfull(ctx context.Context) bool {
	c, ok := ctx.Value(connKey{}).(*placedConn)
	return ok && c.over
}
