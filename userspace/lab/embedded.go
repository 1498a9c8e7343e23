// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// slowest is how long a client may take: an emulated machine beside others shakes hands for many seconds.
const slowest = time.Minute

// embedded is the origin where no nginx is installed.
type embedded struct {
	server *http.Server
	addrs  []netip.AddrPort
	wg     sync.WaitGroup
}

func (l *Lab) startEmbedded(o OriginOptions) (_ Origin, err error) {
	cert, err := tls.LoadX509KeyPair(l.record.path(certFile), l.record.path(keyFile))
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	e := &embedded{addrs: o.addrs(), server: &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, originBody)
		}),
		ReadHeaderTimeout: slowest, // the handshake's too
		IdleTimeout:       5 * time.Second,
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
	}}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	for _, network := range []string{"tcp4", "tcp6"} {
		for _, port := range []uint16{o.TLSPort, o.PlainPort} {
			ln, err := l.Edge.Listen(network, net.JoinHostPort("", strconv.Itoa(int(port))))
			if err != nil {
				return nil, err
			}
			if port == o.TLSPort {
				ln = tls.NewListener(ln, conf)
			}
			e.wg.Go(func() {
				if err := e.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
					l.log.Error("embedded origin stopped", "error", err)
				}
			})
		}
	}
	return e, nil
}

func (e *embedded) Name() string            { return "embedded Go server" }
func (e *embedded) Addrs() []netip.AddrPort { return e.addrs }

func (e *embedded) Close() error {
	err := e.server.Close()
	e.wg.Wait()
	return err
}
