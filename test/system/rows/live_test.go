// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/lab"
)

// A16: the kill switch lets bots pass and stops them again, by what is in force, and while something waits for a
// confirmation.
func TestA16KillSwitch(t *testing.T) {
	e := on(t)
	e.mayChange = true
	throw := func() {
		t.Helper()
		e.MustCLI("bypass", "on", "--reason", "a row of the table")
		e.tr.BotsAreServed(t)
		e.MustCLI("bypass", "off", "--reason", "a row of the table")
		e.tr.BotsAreStopped(t)
	}
	throw()
	ctx, cancel := context.WithTimeout(t.Context(), ahead)
	defer cancel()
	other := e.bundle(t, "edge", world.DenyBots(`"2001:db8:b000::/36"`, "192.0.2.128/25"))
	ro, err := e.client.Apply(ctx, other, api.ApplyOptions{Confirm: time.Hour})
	world.Must(t, err)
	throw()
	_, err = e.client.EndRollout(ctx, ro.ID, "a row of the table")
	world.Must(t, err)
	e.tr.BotsAreStopped(t)
	e.tr.Count()
}

// lateFrom is denied while a connection from there is under way.
var lateFrom = netip.MustParsePrefix("2001:db8:c000::/36")

// A48: a connection that is under way when a bundle comes that blocks its source goes on, and when the bundle is taken
// back; a new one from there is blocked meanwhile, and served then.
func TestA48ConnectionUnderWay(t *testing.T) {
	e := on(t)
	from := lab.WideSources(lateFrom, 2)
	old, err := e.visit(from[0])
	world.Must(t, err)
	defer old.Close()
	talk := goesOn(old)
	e.applies(t, e.feed(t, []string{`"2001:db8:c000::/36"`}, ""), api.ApplyOptions{})
	if c, err := e.visit(from[1]); err == nil {
		_ = c.Close()
		t.Error("a new connection is served")
	}
	ctx, cancel := context.WithTimeout(t.Context(), ahead)
	defer cancel()
	_, err = e.client.Remove(ctx, api.RolloutRequest{Remove: "feed"})
	world.Must(t, err)
	world.Eventually(t, "the base is in force again", func() bool { return e.word(t) == e.inForce })
	again, err := e.visit(from[1])
	if err != nil {
		t.Fatalf("after the bundle was taken back: %v", err)
	}
	defer again.Close()
	world.Must(t, ask(again))
	if n, err := talk(); err != nil || n < 20 {
		t.Errorf("the connection under way: %d requests, %v", n, err)
	}
}

// goesOn makes requests on a connection until its result is asked for: how many were answered, and what went wrong.
func goesOn(c *tls.Conn) func() (int, error) {
	quit, done := make(chan struct{}), make(chan error, 1)
	n := 0
	go func() {
		for {
			if err := ask(c); err != nil {
				done <- err
				return
			}
			n++
			select {
			case <-quit:
				done <- nil
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return func() (int, error) {
		close(quit)
		err := <-done
		return n, err
	}
}

// visit opens a TLS connection from a visitor's address; the error is a time-out where it is blocked.
func (e *edge) visit(from netip.Addr) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(house.Context(), 3*time.Second)
	defer cancel()
	c, err := e.Out.Dialer(from).DialContext(ctx, "tcp", netip.AddrPortFrom(lab.EdgeAddr6, 443).String())
	if err != nil {
		return nil, err
	}
	conn := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	if err := errors.Join(conn.HandshakeContext(ctx), c.SetDeadline(time.Now().Add(ahead))); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return conn, nil
}

// ask makes one request on a connection and reads the answer.
func ask(c *tls.Conn) error {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
