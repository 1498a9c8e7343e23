// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/retry"
)

// serveMetrics answers scrapes until ctx ends. An address that is taken is tried again.
func (s *Server) serveMetrics(ctx context.Context) {
	addr := s.o.Listen().Metrics
	if addr == "" {
		return
	}
	var again retry.Retry
	for ctx.Err() == nil {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err == nil {
			s.o.Ledger.ClearProblem(ledger.ProblemMetrics)
			err = s.answerScrapes(ctx, l)
		}
		if ctx.Err() != nil {
			return
		}
		again.Failed(time.Now())
		s.o.Ledger.SetProblem(ledger.ProblemMetrics, "metrics cannot be served: "+err.Error(),
			"free "+addr+", or set listen.metrics in the host file; the agent tries again")
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(again.Next())):
		}
	}
}

// scrapeConnections may be open at once; more wait in the kernel's backlog, so that they take the agent no descriptors.
const scrapeConnections = 256

func (s *Server) answerScrapes(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.o.Scrapes)
	h := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute,
		ErrorLog:    slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug)}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	defer stop()
	if err := h.Serve(api.LimitConnections(l, scrapeConnections)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
