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
			b.wg.Go(func() {
				if cause := getPage(ctx, l, all[n%len(all)]); ctx.Err() == nil {
					c.ended(cause)
				}
			})
		}
	})
}

// getPage asks for one page and returns why it did not come.
func getPage(ctx context.Context, l *lab.Lab, t trip) string {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return l.Out.Dialer(t.source).DialContext(ctx, network, netip.AddrPortFrom(t.target, 443).String())
		},
		ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // as bots do
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, botTimeout)
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
