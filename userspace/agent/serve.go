// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os/user"
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

// sockets returns those of the host file, the one for everything first.
func (a *agent) sockets() []socket {
	l, usual := a.hostFile().Listen, config.DefaultHost().Listen
	all := []socket{{api.RoleOperate, l.Socket, l.Group, ledger.ProblemAPI, usual.Group}}
	if l.Read.Socket != "" {
		all = append(all, socket{api.RoleRead, l.Read.Socket, l.Read.Group, ledger.ProblemRead, usual.Read.Group})
	}
	return all
}

// serveAPI answers on a socket until ctx ends. first is closed after the first attempt to listen; a socket that cannot be
// made is tried again, because the heartbeat matters more than the answers. One whose file was removed is made again.
func (a *agent) serveAPI(ctx context.Context, s socket, first chan<- struct{}) {
	server := api.NewServer(api.ServerOptions{Role: s.role, Socket: s.path, Operate: a.hostFile().Listen.Socket, Metrics: a.scrapes, Log: a.log}, a)
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endingTime)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			a.log.Warn("some requests did not end", "error", err)
		}
	})
	defer func() {
		if !stop() {
			<-ended
		}
	}()
	again := retry.Retry{}
	for {
		l, err := api.Listen(s.path, s.group)
		a.listening(s, err == nil)
		if first != nil {
			close(first)
			first = nil
		}
		if err == nil {
			again.Reset()
			a.tellGroup(s, l.Note)
			if err = a.answer(ctx, server, l); err == nil && ctx.Err() == nil {
				a.listening(s, false)
				a.log.Warn("somebody removed the socket; it is made again", "socket", s.path)
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		a.listening(s, false)
		again.Failed(time.Now())
		a.ledger.SetProblem(s.problem, err.Error(), "make room for "+s.path+"; the agent tries again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(again.Next())):
		}
	}
}

// answer serves until the listener fails, its file is gone, or ctx ends; then, and when it is gone, it returns nil.
func (a *agent) answer(ctx context.Context, server *api.Server, l *api.Socket) error {
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

func (a *agent) listening(s socket, yes bool) {
	if s.role == api.RoleOperate {
		a.listens.Store(yes)
	}
}

// tellGroup says that a socket is its owner's alone because its group cannot be had. Nobody needs the usual groups.
func (a *agent) tellGroup(s socket, note error) {
	var unknown user.UnknownGroupError
	if note == nil || s.group == s.usual && errors.As(note, &unknown) {
		a.ledger.ClearProblem(s.problem)
		return
	}
	a.ledger.SetProblem(s.problem, s.path+" is for root and the agent's user alone: "+note.Error(),
		fmt.Sprintf("groupadd --system %[1]s; usermod -aG %[1]s and the agent's user; then restart the agent", s.group))
}
