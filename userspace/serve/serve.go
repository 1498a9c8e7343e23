// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os/user"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/retry"
)

const (
	// endingTime is how long requests may take to end when the agent stops.
	endingTime = 10 * time.Second
	// lookInterval is how often the file of a socket is looked at: somebody may have removed it.
	lookInterval = time.Second
)

// socket is where a role is answered.
type socket struct {
	role        api.Role
	path, group string
	problem     string // its key
	usual       string // the group that a host file names by itself; nobody needs to have it
}

// Options of New. All are needed.
type Options struct {
	Log     *slog.Logger
	Ledger  *ledger.Ledger
	Listen  func() config.Listen // of the host file in force
	Scrapes http.Handler         // answers GET /metrics
}

// Server answers on the sockets of the host file, and where it is scraped.
type Server struct {
	o       Options
	backend api.Backend
	listens atomic.Bool // the socket for everything could be made
}

// New listens nowhere yet.
func New(o Options, b api.Backend) *Server { return &Server{o: o, backend: b} }

// Listens reports whether the socket for everything could be made.
func (s *Server) Listens() bool { return s.listens.Load() }

// Run answers until ctx ends. first is closed after the first attempt to listen on the socket for everything.
func (s *Server) Run(ctx context.Context, first chan<- struct{}) {
	var wg sync.WaitGroup
	for i, at := range s.sockets() {
		tell := first
		if i > 0 {
			tell = nil
		}
		wg.Go(func() { s.serveAPI(ctx, at, tell) })
	}
	wg.Go(func() { s.serveMetrics(ctx) })
	wg.Wait()
}

// sockets returns those of the host file, the one for everything first.
func (s *Server) sockets() []socket {
	l, usual := s.o.Listen(), config.DefaultHost().Listen
	all := []socket{{api.RoleOperate, l.Socket, l.Group, ledger.ProblemAPI, usual.Group}}
	if l.Read.Socket != "" {
		all = append(all, socket{api.RoleRead, l.Read.Socket, l.Read.Group, ledger.ProblemRead, usual.Read.Group})
	}
	return all
}

// serveAPI answers on a socket until ctx ends. first is closed after the first attempt to listen; a socket that cannot
// be made is tried again, because the heartbeat matters more than the answers. One whose file was removed is made
// again.
func (s *Server) serveAPI(ctx context.Context, at socket, first chan<- struct{}) {
	server := api.NewServer(api.ServerOptions{Role: at.role, Socket: at.path, Operate: s.o.Listen().Socket,
		Metrics: s.o.Scrapes, Log: s.o.Log}, s.backend)
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endingTime)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			s.o.Log.Warn("some requests did not end", "error", err)
		}
	})
	defer func() {
		if !stop() {
			<-ended
		}
	}()
	again := retry.Retry{}
	for {
		l, err := api.Listen(at.path, at.group)
		s.listening(at, err == nil)
		if first != nil {
			close(first)
			first = nil
		}
		if err == nil {
			again.Reset()
			s.tellGroup(at, l.Note)
			if err = s.answer(ctx, server, l); err == nil && ctx.Err() == nil {
				s.listening(at, false)
				s.o.Log.Warn("somebody removed the socket; it is made again", "socket", at.path)
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		s.listening(at, false)
		again.Failed(time.Now())
		s.o.Ledger.SetProblem(at.problem, err.Error(), "make room for "+at.path+"; the agent tries again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(again.Next())):
		}
	}
}

// answer serves until the listener fails, its file is gone, or ctx ends; then, and when it is gone, it returns nil.
func (s *Server) answer(ctx context.Context, server *api.Server, l *api.Socket) error {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for !l.Gone() {
			select {
			case <-looking.Done():
				return
			case <-time.After(lookInterval):
			}
		}
		_ = l.Close()
	}()
	return server.Serve(l)
}

func (s *Server) listening(at socket, yes bool) {
	if at.role == api.RoleOperate {
		s.listens.Store(yes)
	}
}

// tellGroup says that a socket is its owner's alone because its group cannot be had. Nobody needs the usual groups.
func (s *Server) tellGroup(at socket, note error) {
	var unknown user.UnknownGroupError
	if note == nil || at.group == at.usual && errors.As(note, &unknown) {
		s.o.Ledger.ClearProblem(at.problem)
		return
	}
	s.o.Ledger.SetProblem(at.problem, at.path+" is for root and the agent's user alone: "+note.Error(),
		fmt.Sprintf("groupadd --system %[1]s; usermod -aG %[1]s and the agent's user; then restart the agent", at.group))
}
