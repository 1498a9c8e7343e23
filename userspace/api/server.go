// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// ServerOptions are one socket.
type ServerOptions struct {
	Role Role
	// Socket is the path of the socket; its file's group may change things, where the role may.
	Socket string
	// Operate is the path of the socket for everything, to name where this one refuses.
	Operate string
	// Metrics answers GET /metrics; nil: nobody does.
	Metrics http.Handler
	Log     *slog.Logger
}

// Server serves a Backend on one socket, with limits of its own.
type Server struct {
	ServerOptions
	backend Backend
	http    *http.Server
	group   func() (uint32, error)
	places  *places
	streams slots
	heavy   slots
	uploads *uploads
	stall   time.Duration // how long a body may hang
	patient time.Duration // how long a reader may take nothing
	follow  time.Duration // how often a rollout that is followed is looked at
	// stopping ends streams, which http.Server.Shutdown would wait for.
	stopping context.Context
	stop     context.CancelFunc
}

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// replyTime is how long a reader may take nothing of a reply: it holds memory and a place.
	replyTime = 30 * time.Second
	// heavyTime is how long a heavy request waits for a place.
	heavyTime = 5 * time.Second
)

// NewServer returns a server for one socket.
func NewServer(o ServerOptions, b Backend) *Server {
	l := o.Role.limits()
	s := &Server{ServerOptions: o, backend: b, group: func() (uint32, error) { return socketGroup(o.Socket) },
		places: &places{soft: l.connections}, streams: make(slots, l.streams), heavy: make(slots, l.heavy),
		uploads: newUploads(l.receptions), stall: stallTime, patient: replyTime,
		follow: followInterval}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		ConnContext:       withPeer,
	}
	return s
}

// Serve answers until the listener closes or Shutdown; it then returns nil. It may be called again with another
// listener.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(s.places.listen(l))
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve on %s: %w", s.Socket, err)
	}
	return nil
}

// Shutdown ends streams and waits for requests until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("end service on %s: %w", s.Socket, err), s.http.Close())
	}
	return nil
}

func (s *Server) handler() http.Handler {
	m := http.NewServeMux()
	for _, r := range s.routes() {
		m.HandleFunc(r.pattern, s.guard(r))
	}
	for _, name := range []string{"connections", "lists"} {
		for _, path := range []string{"/v1/" + name, "/v1/" + name + "/"} {
			m.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
				s.refuse(w,
					&Error{Code: CodeNotFound, Message: name + " are not a resource of this release; the name is kept for a later one",
						Fix: "`spillway version` names the release"})
			})
		}
	}
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w,
			&Error{Code: CodeNotFound,
				Message: fmt.Sprintf("%.20s %.200s does not exist", Visible(r.Method), Visible(r.URL.Path))})
	})
	return m
}

// routes is everything that can be asked.
func (s *Server) routes() []route {
	b := s.backend
	look := func(pattern string, f func(*http.Request) (any, error), query ...string) route {
		return route{pattern: pattern, needs: RoleRead, handle: s.reply(query, f)}
	}
	change := func(pattern, verb string, f changer) route {
		return route{pattern: pattern, needs: RoleOperate, verb: verb, handle: s.change(verb, f)}
	}
	urgent := func(r route) route { r.urgent = true; return r }
	heavy := func(r route) route { r.heavy = true; return r }
	all := []route{
		urgent(look("GET /v1/ping", func(*http.Request) (any, error) { return &Ping{NewEnvelope(), os.Getpid()}, nil })),
		look("GET /v1/status", func(r *http.Request) (any, error) { return b.Site.Status(r.Context()) }),
		look("GET /v1/generations", func(r *http.Request) (any, error) { return b.Kernel.Generations(r.Context()) }),
		look("GET /v1/rules", func(r *http.Request) (any, error) { return b.Kernel.Rules(r.Context()) }),
		heavy(look("GET /v1/verify", func(r *http.Request) (any, error) { return b.Kernel.Verify(r.Context()) })),
		heavy(look("GET /v1/history", s.history, "limit")),
		look("GET /v1/bundles", func(r *http.Request) (any, error) { return b.Release.Bundles(r.Context()) }),
		look("GET /v1/bundles/{name}", s.bundle),
		look("GET /v1/rollouts", func(r *http.Request) (any, error) { return b.Release.Rollouts(r.Context()) }),
		{pattern: "GET /v1/rollouts/{id}", needs: RoleRead, handle: s.followRollout},
		heavy(look("GET /v1/bans", func(r *http.Request) (any, error) { return b.Bans.List(r.Context()) })),
		{pattern: "GET /v1/events", needs: RoleRead, handle: s.events},
		// A plan changes nothing, but an upload takes memory that belongs to whoever operates.
		{pattern: "POST /v1/plan", needs: RoleOperate, handle: s.reply(nil, s.plan)},
		change("POST /v1/rollouts", "apply", s.startRollout),
		change("DELETE /v1/rollouts/{id}", "withdraw", byName("id", s.end)),
		change("DELETE /v1/bundles/{name}", "remove", s.removeBundle),
		urgent(change("POST /v1/rollback", "rollback", maybe(b.Release.Rollback))),
		change("POST /v1/reload", "reload", maybe(b.Site.Reload)),
		urgent(change("POST /v1/bypass", "bypass", body(lenient, b.Bypass.Set))),
		change("POST /v1/bans", "ban", body(strict, b.Bans.Ban)),
		change("DELETE /v1/bans/{prefix...}", "unban", byName("prefix", b.Bans.Unban)),
	}
	all = append(all, s.orders()...)
	if s.Metrics != nil {
		all = append(all,
			route{pattern: "GET /metrics", needs: RoleRead, handle: func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(replyTime))
				s.Metrics.ServeHTTP(w, r)
			}})
	}
	return all
}

// guard lets a request through that this socket may make and has a place for.
func (s *Server) guard(r route) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		switch {
		case !s.Role.may(r.needs):
			what := "changes nothing"
			if r.verb == "" {
				what = "takes no bundles"
			}
			s.refuse(w,
				&Error{Code: CodeForbidden, Message: fmt.Sprintf("this socket has the role %s and %s", s.Role, what),
					Fix: "use the socket " + s.Operate})
		case !r.urgent && overfull(req.Context()):
			w.Header().Set("Connection", "close")
			s.refuse(w,
				&Error{Code: CodeOverloaded, Message: fmt.Sprintf("%d connections are open on this socket", s.places.soft),
					Fix: "close some; a bypass and a rollback are answered nevertheless"})
		case r.heavy && !s.heavy.wait(req.Context(), heavyTime):
			s.refuse(w,
				&Error{Code: CodeBusy, Message: fmt.Sprintf("%d requests that need much are running on this socket", cap(s.heavy)),
					Fix: "try again when they are done"})
		default:
			if r.heavy {
				defer s.heavy.give()
			}
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // that of the request before, on this connection
			if req.Method != http.MethodGet {
				req.Body = newProgress(req.Body, http.NewResponseController(w), s.stall)
			}
			r.handle(w, req)
		}
	}
}

func (s *Server) change(verb string, f changer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		by := callerFrom(r.Context())
		group, err := s.group()
		if by.UID != 0 && (err != nil || !by.mayChange(group)) {
			s.backend.Ledger.Forbidden(by, verb)
			s.refuse(w,
				&Error{Code: CodeForbidden, Message: fmt.Sprintf("user %s may not %s", by.User, verb),
					Fix: "run it as root, or as a member of the socket's group"})
			return
		}
		ctx := withDeadline(context.WithoutCancel(r.Context()), r)
		err = onlyAsks(r)
		if err == nil {
			err = Late(ctx)
		}
		var v any
		if err == nil {
			v, err = f(ctx, by, r)
		}
		s.answer(w, v, err)
	}
}

func (s *Server) reply(query []string, f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := onlyAsks(r, query...)
		var v any
		if err == nil {
			v, err = f(r)
		}
		s.answer(w, v, err)
	}
}

func (s *Server) history(r *http.Request) (any, error) {
	limit, err := number(r, "limit")
	if err != nil {
		return nil, err
	}
	return s.backend.Ledger.History(r.Context(), limit)
}

func (s *Server) bundle(r *http.Request) (any, error) {
	b, err := s.named(r)
	if err != nil {
		return nil, err
	}
	return &BundleReply{NewEnvelope(), *b}, nil
}

// named finds the bundle in force that a path names.
func (s *Server) named(r *http.Request) (*Bundle, error) {
	all, err := s.backend.Release.Bundles(r.Context())
	if err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	for i := range all.Bundles {
		if all.Bundles[i].Name == name {
			return &all.Bundles[i], nil
		}
	}
	return nil, &Error{Code: CodeNotFound, Message: fmt.Sprintf("no bundle %q is in force", name),
		Fix: "GET /v1/bundles lists them"}
}

// removeBundle is a rollout that takes a bundle out.
func (s *Server) removeBundle(ctx context.Context, by Caller, r *http.Request) (any, error) {
	b, err := s.named(r)
	if err != nil {
		return nil, err
	}
	return maybe(func(ctx context.Context, by Caller, q RolloutRequest) (*Rollout, error) {
		if q.Remove != "" && q.Remove != b.Name || q.Name != "" {
			return nil, &Error{Code: CodeInvalid, Message: "the path names the bundle that is removed, and the body another"}
		}
		q.Remove = b.Name
		if err := s.stagesOnly(&q); err != nil {
			return nil, err
		}
		return s.backend.Release.StartRollout(ctx, by, q, nil)
	})(ctx, by, r)
}

// byName hands a part of the path and a reason on.
func byName(part string, f func(ctx context.Context, by Caller, name, reason string) (*Change, error)) changer {
	return func(ctx context.Context, by Caller, r *http.Request) (any, error) {
		return reasoned(func(ctx context.Context, by Caller, reason string) (*Change, error) {
			if err := CheckText(part, r.PathValue(part)); err != nil {
				return nil, err
			}
			return f(ctx, by, r.PathValue(part), reason)
		})(ctx, by, r)
	}
}

func (s *Server) answer(w http.ResponseWriter, v any, err error) {
	if err == nil {
		writeJSON(w, http.StatusOK, v)
		return
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: CodeInternal, Message: err.Error()}
	}
	s.refuse(w, e)
}

func (s *Server) refuse(w http.ResponseWriter, e *Error) {
	writeJSON(w, statusOf(e), errorReply{NewEnvelope(), e})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(replyTime))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = newEncoder(w).Encode(v) // a reader who hung up needs no answer
}

// newEncoder writes JSON as it is: nobody reads it as HTML.
func newEncoder(w http.ResponseWriter) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// events streams decisions, one JSON object a line.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	recent, err := number(r, "recent")
	if err == nil {
		err = onlyAsks(r, "recent", "follow", "all")
	}
	if err == nil && r.URL.Query().Get("all") == "true" && !s.Role.may(RoleOperate) {
		err = &Error{Code: CodeForbidden,
			Message: "to be told of every decision costs the kernel something, and this socket has the role " + string(s.Role),
			Fix:     "use the socket " + s.Operate + ", or leave all out"}
	}
	if err == nil && !s.streams.take() {
		err = &Error{Code: CodeBusy, Message: fmt.Sprintf("%d readers of events are on this socket already", cap(s.streams)),
			Fix: "end one of them"}
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	defer s.streams.give()
	q := r.URL.Query()
	past, next, stop := s.backend.Events.Follow(recent, q.Get("follow") == "true", q.Get("all") == "true")
	defer stop()
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	enc := newEncoder(w)
	tell := func(e Event) error {
		_ = control.SetWriteDeadline(time.Now().Add(s.patient))
		return enc.Encode(e)
	}
	for _, e := range past {
		if tell(e) != nil {
			return
		}
	}
	_ = control.Flush()
	for next != nil {
		select {
		case e, open := <-next:
			if !open || tell(e) != nil || (len(next) == 0 && control.Flush() != nil) {
				return
			}
		case <-r.Context().Done():
			return
		case <-s.stopping.Done():
			return
		}
	}
}
