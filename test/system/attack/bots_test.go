// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// families are where the bots, and a visitor beside them, come from. The bots' SYNs are anybody's.
var families = []struct {
	bots, visitors netip.Prefix
	edge           netip.Addr
}{
	{lab.CrawlerPrefix4, lab.VisitorPrefix4, lab.EdgeAddr4},
	{lab.CrawlerPrefix6, lab.VisitorPrefix6, lab.EdgeAddr6},
}

// denied is a ClientHello that no browser and no library sends.
func denied() []byte {
	return clienthello.Records(
		clienthello.Hello{Version: 0x0303, Ciphers: []uint16{0xc0a1, 0xc0a2, 0x1301}, Compression: []byte{0},
			Extensions: []clienthello.Extension{{Type: 0x002b, Data: []byte{2, 3, 4}},
				{Type: 0x0015, Data: make([]byte, 300)}}}.Bytes())
}

// deniedJA4 is its rule's.
func deniedJA4(t *testing.T) string {
	t.Helper()
	h, err := reference.ParseStream(denied())
	world.Must(t, err)
	return h.JA4()
}

const (
	botsBefore = 8                      // of each family are blocked before a flood
	botsEvery  = 250 * time.Millisecond // one more of each meanwhile
	botsPause  = 50 * time.Millisecond  // between the halves of a hello
)

// bots connect as anybody does, and send the denied hello, every second one in two segments. Whatever the server says
// to one of them, an end of the connection too, is an answer.
type bots struct {
	e      *world.Edge
	d      *loader.Dataplane
	before []netip.AddrPort // of those that were blocked before the flood
	wg     sync.WaitGroup

	mu       sync.Mutex // guards all below
	conns    []*net.TCPConn
	answered []string
	over     bool
}

// blockBots starts bots and waits until the flows of all are blocked for good.
func blockBots(t *testing.T, e *world.Edge, d *loader.Dataplane) *bots {
	t.Helper()
	b := &bots{e: e, d: d}
	t.Cleanup(b.close)
	for i := range botsBefore {
		for f := range families {
			c, err := b.send(t.Context(), f, i)
			world.Must(t, err)
			b.before = append(b.before, c.LocalAddr().(*net.TCPAddr).AddrPort())
		}
	}
	world.Eventually(t, "the bots are blocked", func() bool { return len(b.missing(t)) == 0 })
	return b
}

// send makes the n-th connection of a family.
func (b *bots) send(ctx context.Context, family, n int) (*net.TCPConn, error) {
	f := families[family]
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := b.e.Out.Dialer(f.bots.Addr().Next()).DialContext(ctx, "tcp", netip.AddrPortFrom(f.edge, 443).String())
	if err != nil {
		return nil, err
	}
	c := conn.(*net.TCPConn)
	b.mu.Lock()
	b.conns = append(b.conns, c)
	b.mu.Unlock()
	b.wg.Go(func() { b.listen(c) })
	stream := denied()
	if n%2 == 1 {
		if _, err = c.Write(stream[:len(stream)/2]); err != nil {
			return c, err
		}
		time.Sleep(botsPause) // two segments, and time for others' hellos in between
		stream = stream[len(stream)/2:]
	}
	_, err = c.Write(stream)
	return c, err
}

// listen notes what the server says.
func (b *bots) listen(c *net.TCPConn) {
	answer := make([]byte, 100)
	n, err := c.Read(answer)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.answered = append(b.answered, fmt.Sprintf("%s: %x, %v", c.LocalAddr(), answer[:n], err))
	}
}

// goOn sends more of them until ctx ends.
func (b *bots) goOn(ctx context.Context, t *testing.T) {
	tick := time.NewTicker(botsEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for f := range families {
			b.wg.Go(func() {
				// One whose SYNs are lost in the flood until it ends was no bot.
				if _, err := b.send(ctx, f, n); err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("a bot: %v", err)
				}
			})
		}
	}
}

// stayBlocked is asked when the flood is over: bots of before and after it are blocked, and a visitor behind them is
// served, so that whoever was to be answered has been.
func (b *bots) stayBlocked(t *testing.T) {
	t.Helper()
	if missing := b.missing(t); len(missing) > 0 {
		t.Errorf("of %d blocked flows these were forgotten: %v", len(b.before), missing)
	}
	for f := range families {
		for n := range 2 {
			_, err := b.send(t.Context(), f, n)
			world.Must(t, err)
		}
	}
	for _, f := range families {
		c, err := dialFrom(b.e, netip.AddrPortFrom(f.visitors.Addr().Next(), 0), netip.AddrPortFrom(f.edge, 443))
		world.Must(t, err)
		world.Must(t, c.SetDeadline(time.Now().Add(patience)))
		// who is behind the dataplane is not the question
		world.Must(t, tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake())
		_ = c.Close()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.answered) > 0 {
		t.Errorf("%d of %d bots were answered: %v", len(b.answered), len(b.conns), b.answered)
	}
	t.Logf("%d bots with the denied hello, none answered", len(b.conns))
}

// missing returns the bots of before the flood whose flow is not blocked, and fails the test for a blocked flow of
// anybody else.
func (b *bots) missing(t *testing.T) (missing []netip.AddrPort) {
	t.Helper()
	b.bake(t)
	var w loader.FlowWalk
	all, _, err := b.d.BlockedFlows(&w, 1<<20, nil)
	world.Must(t, err)
	blocked := map[netip.AddrPort]bool{}
	for _, flow := range all {
		blocked[flow.Client] = true
		if a := flow.Client.Addr(); !families[0].bots.Contains(a) && !families[1].bots.Contains(a) {
			t.Errorf("a flow of %s is blocked", flow.Client)
		}
	}
	for _, a := range b.before {
		if !blocked[netip.AddrPortFrom(a.Addr().Unmap(), a.Port())] {
			missing = append(missing, a)
		}
	}
	return missing
}

// bake says that the bundle is last-known-good, as the agent does at the end of its bake, however long that takes on a
// busy machine: before, no flow is blocked for good.
func (b *bots) bake(t *testing.T) {
	t.Helper()
	all, err := b.d.Generations()
	world.Must(t, err)
	for _, g := range all {
		if g.Slot == b.d.Control().Stable {
			b.d.SetBaked(g.Number)
		}
	}
}

// close ends all of them.
func (b *bots) close() {
	b.mu.Lock()
	b.over = true
	for _, c := range b.conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
}

// hidden is how many packets were said to be of a hidden hello, whatever came of it.
func hidden(t *testing.T, d *loader.Dataplane) (packets uint64) {
	t.Helper()
	return countOf(t, d, bpf.ReasonHelloHidden)
}
