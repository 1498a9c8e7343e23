// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/spillway/spillway/userspace/lab"
)

// carrier takes the connections of one program, byte for byte, each to another source prefix: what the edge reads is
// what the program said, from as many prefixes as many users have.
type carrier struct {
	lab    *lab.Lab
	listen net.Listener
	from   []netip.Addr
	wg     sync.WaitGroup
}

// startCarrier listens on the out side's loopback, until stop or the end of ctx.
func startCarrier(ctx context.Context, l *lab.Lab, from []netip.Addr) (*carrier, error) {
	ln, err := l.Out.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &carrier{lab: l, listen: ln, from: from}
	c.wg.Go(func() {
		for n := 0; ; n++ {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			source := from[n%len(from)]
			c.wg.Go(func() { c.carry(ctx, near, source) })
		}
	})
	return c, nil
}

// port is where the program connects to.
func (c *carrier) port() int { return c.listen.Addr().(*net.TCPAddr).Port }

// carry ends when one side does, or after the time of a page.
func (c *carrier) carry(ctx context.Context, near net.Conn, source netip.Addr) {
	defer near.Close()
	ctx, cancel := context.WithTimeout(ctx, visitorTimeout)
	defer cancel()
	far, err := c.lab.Out.Dialer(source).DialContext(ctx, "tcp", netip.AddrPortFrom(lab.EdgeAddr6, 443).String())
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() {
		now := time.Unix(1, 0)
		_, _ = near.SetDeadline(now), far.SetDeadline(now)
	})
	defer stop()
	go func() {
		_, _ = io.Copy(far, near)
		cancel()
	}()
	_, _ = io.Copy(near, far)
}

// stop ends what is under way, too: its context's owner has ended it, or its program is gone.
func (c *carrier) stop() {
	_ = c.listen.Close()
	c.wg.Wait()
}
