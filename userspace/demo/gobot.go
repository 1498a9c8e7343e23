// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/spillway/spillway/userspace/lab"
)

// startGo starts the bot that is Go's own HTTP client as it comes.
func (b *bots) startGo(ctx context.Context, l *lab.Lab) {
	c := &client{name: goName}
	b.all = append(b.all, c)
	all := trips()
	b.wg.Go(func() {
		tick := time.NewTicker(botPause)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if b.goPaused.Load() {
				continue
			}
			b.wg.Go(func() {
				if cause := getPage(ctx, l, all[n%len(all)], botTimeout); ctx.Err() == nil {
					c.ended(cause)
				}
			})
		}
	})
}

// pauseGo keeps the bot from asking, or lets it go on.
func (b *bots) pauseGo(on bool) { b.goPaused.Store(on) }

// dial connects for one page. A connection that is given up ends with an RST: else the kernel would go on sending what
// was said, for a bot that has left.
func dial(ctx context.Context, l *lab.Lab, t trip) (net.Conn, error) {
	conn, err := l.Out.Dialer(t.source).DialContext(ctx, "tcp", netip.AddrPortFrom(t.target, 443).String())
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return conn, err
}

// getPage asks for one page and returns why it did not come.
func getPage(ctx context.Context, l *lab.Lab, t trip, timeout time.Duration) string {
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, l, t) },
		ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // as bots do
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+lab.OriginHost+"/", nil)
	if err != nil {
		return err.Error()
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return causeOf(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return causeOf(err)
	}
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	return ""
}

func causeOf(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return causeReset
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return err.Error()
}
