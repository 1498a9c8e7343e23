// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/lab"
)

const (
	// impatience is how long a client waits whose connection is to be blocked.
	impatience = time.Second
	// generous is how long one waits that is to be served, on a busy machine.
	generous = 30 * time.Second
)

// serve starts the web server of an edge.
func serve(t *testing.T, e *world.Edge) {
	t.Helper()
	origin, err := e.StartOrigin(t.Context(), lab.OriginOptions{})
	world.Must(t, err)
	t.Cleanup(func() { _ = origin.Close() })
}

// visit asks for one page over a connection of its own, with net/http as it comes. A connection that is given up ends
// with an RST: else the kernel would go on sending its ClientHello, and it would be charged for nobody.
func visit(ctx context.Context, e *world.Edge, from netip.Addr, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	target := lab.EdgeAddr4
	if from.Is6() {
		target = lab.EdgeAddr6
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := e.Out.Dialer(from).DialContext(ctx, "tcp", netip.AddrPortFrom(target, 443).String())
			if c, ok := conn.(*net.TCPConn); ok {
				_ = c.SetLinger(0)
			}
			return conn, err
		},
		ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+lab.OriginHost+"/", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %s", resp.Status)
	}
	return nil
}

// together calls do for each of them at the same time, and waits.
func together(clients []netip.Addr, do func(from netip.Addr)) {
	var wg sync.WaitGroup
	for _, from := range clients {
		wg.Go(func() { do(from) })
	}
	wg.Wait()
}

// mustServe fails the test unless each of them is served, all at once; mustBlock unless none is.
func mustServe(t *testing.T, e *world.Edge, why string, clients ...netip.Addr) {
	t.Helper()
	together(clients, func(from netip.Addr) {
		if err := visit(t.Context(), e, from, generous); err != nil {
			t.Errorf("%s: %s is not served: %v", why, from, err)
		}
	})
}

func mustBlock(t *testing.T, e *world.Edge, why string, clients ...netip.Addr) {
	t.Helper()
	together(clients, func(from netip.Addr) {
		if err := visit(t.Context(), e, from, impatience); err == nil {
			t.Errorf("%s: %s is served", why, from)
		}
	})
}

// statusOf asks the agent.
func statusOf(t *testing.T, e *world.Edge) *api.Status {
	t.Helper()
	c := api.NewClient(e.Socket())
	defer c.Close()
	st, err := c.Status(t.Context())
	world.Must(t, err)
	return st
}

// connections sums the connections that were decided with a verdict for a reason, "" being all reasons.
func connections(t *testing.T, e *world.Edge, verdict, reason string) (sum uint64) {
	t.Helper()
	for _, p := range statusOf(t, e).Packets {
		if p.Verdict == verdict && (reason == "" || p.Reason == reason) {
			sum += p.Connections
		}
	}
	return sum
}

// addrs reads addresses.
func addrs(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}
