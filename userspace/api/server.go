// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Backend is what answers behind the socket. Its errors should be an *Error; any other is told as internal.
type Backend interface {
	Status(context.Context) (*Status, error)
	Generations(context.Context) (*GenerationList, error)
	Rules(context.Context) (*RuleList, error)
	Verify(context.Context) (*Verification, error)
	History(ctx context.Context, limit int) (*History, error)
	Bans(context.Context) (*BanList, error)
	Plan(ctx context.Context, name string, files Files) (*Plan, error)
	Apply(ctx context.Context, by Caller, name string, files Files, o ApplyOptions) (*Change, error)
	Confirm(ctx context.Context, by Caller, reason string) (*Change, error)
	Rollback(ctx context.Context, by Caller, reason string) (*Change, error)
	Reload(ctx context.Context, by Caller, r ReloadRequest) (*Change, error)
	Bypass(ctx context.Context, by Caller, r BypassRequest) (*Change, error)
	Ban(ctx context.Context, by Caller, r BanRequest) (*Change, error)
	Unban(ctx context.Context, by Caller, prefix, reason string) (*Change, error)
	// Events returns the last recent events and, with follow, a channel of the next ones; stop ends it.
	// Events returns the last events and, with follow, a channel of new ones; with all no pass is left out, within the
	// kernel's budget of events.
	Events(recent int, follow, all bool) (past []Event, next <-chan Event, stop func())
	// Forbidden is told when a caller who may not change anything tried to.
	Forbidden(by Caller, verb string)
}

// Server serves a Backend on a Unix socket.
type Server struct {
	backend Backend
	log     *slog.Logger
	socket  string
	http    *http.Server
	group   func() (uint32, error)
	// uploads bounds the memory of bundles that arrive: one at a time.
	uploads chan struct{}
	// stopping ends streams, which http.Server.Shutdown would wait for.
	stopping context.Context
	stop     context.CancelFunc
}

const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 5 * time.Minute
	maxJSONBytes  = 1 << 20
)

// NewServer returns a server for the socket that Listen made at path.
func NewServer(path string, b Backend, log *slog.Logger) *Server {
	s := &Server{backend: b, log: log, socket: path, uploads: make(chan struct{}, 1), group: func() (uint32, error) { return socketGroup(path) }}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           bounded(s.routes()),
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, callerKey{}, callerOf(c))
		},
	}
	return s
}

// Serve answers until Shutdown; it then returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", s.socket, err)
	}
	return nil
}

// Shutdown ends streams and waits for requests until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("end service on %s: %w", s.socket, err), s.http.Close())
	}
	return nil
}

// bounded gives a request's body a deadline. Streams of events go on after it: they have no body.
func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		h.ServeHTTP(w, r)
	})
}

func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	b := s.backend
	m.HandleFunc("GET /v1/status", reply(s, func(r *http.Request) (any, error) { return b.Status(r.Context()) }))
	m.HandleFunc("GET /v1/generations", reply(s, func(r *http.Request) (any, error) { return b.Generations(r.Context()) }))
	m.HandleFunc("GET /v1/rules", reply(s, func(r *http.Request) (any, error) { return b.Rules(r.Context()) }))
	m.HandleFunc("GET /v1/verify", reply(s, func(r *http.Request) (any, error) { return b.Verify(r.Context()) }))
	m.HandleFunc("GET /v1/bans", reply(s, func(r *http.Request) (any, error) { return b.Bans(r.Context()) }))
	m.HandleFunc("GET /v1/history", reply(s, func(r *http.Request) (any, error) {
		limit, err := number(r, "limit")
		if err != nil {
			return nil, err
		}
		return b.History(r.Context(), limit)
	}))
	m.HandleFunc("GET /v1/events", s.events)
	m.HandleFunc("POST /v1/plan", reply(s, s.plan))
	m.HandleFunc("POST /v1/apply", s.change("apply", s.apply))
	m.HandleFunc("POST /v1/confirm", s.change("confirm", reasoned(b.Confirm)))
	m.HandleFunc("POST /v1/rollback", s.change("rollback", reasoned(b.Rollback)))
	m.HandleFunc("POST /v1/reload", s.change("reload", maybe(b.Reload)))
	m.HandleFunc("POST /v1/bypass", s.change("bypass", body(b.Bypass)))
	m.HandleFunc("POST /v1/bans", s.change("ban", body(b.Ban)))
	m.HandleFunc("DELETE /v1/bans", s.change("unban", func(ctx context.Context, by Caller, r *http.Request) (*Change, error) {
		return b.Unban(ctx, by, r.URL.Query().Get("prefix"), r.URL.Query().Get("reason"))
	}))
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, &Error{Code: CodeNotFound, Message: r.Method + " " + r.URL.Path + " does not exist"})
	})
	return m
}

// changer carries out a change for a caller. Its context outlives the connection: who hangs up in the middle of a
// change leaves it whole.
type changer func(ctx context.Context, by Caller, r *http.Request) (*Change, error)

func (s *Server) change(verb string, f changer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		by := callerFrom(r.Context())
		group, err := s.group()
		if by.UID != 0 && (err != nil || !by.mayChange(group)) {
			s.backend.Forbidden(by, verb)
			s.refuse(w, &Error{Code: CodeForbidden, Message: fmt.Sprintf("user %s may not %s", by.User, verb), Fix: "run it as root, or as a member of the socket's group"})
			return
		}
		c, err := f(withDeadline(context.WithoutCancel(r.Context()), r), by, r)
		s.answer(w, c, err)
	}
}

func reply(s *Server, f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		s.answer(w, v, err)
	}
}

// reasoned reads a body that has at most a reason.
func reasoned(f func(context.Context, Caller, string) (*Change, error)) changer {
	return maybe(func(ctx context.Context, by Caller, r Reasoned) (*Change, error) { return f(ctx, by, r.Reason) })
}

// maybe reads a body that may be empty.
func maybe[T any](f func(context.Context, Caller, T) (*Change, error)) changer {
	return func(ctx context.Context, by Caller, r *http.Request) (*Change, error) {
		var v T
		if err := decode(r.Body, &v); err != nil && !errors.Is(err, io.EOF) {
			return nil, invalid(err)
		}
		return f(ctx, by, v)
	}
}

func body[T any](f func(context.Context, Caller, T) (*Change, error)) changer {
	return func(ctx context.Context, by Caller, r *http.Request) (*Change, error) {
		var v T
		if err := decode(r.Body, &v); err != nil {
			return nil, invalid(err)
		}
		return f(ctx, by, v)
	}
}

// decode reads JSON strictly: a misspelt field is an error, not a default.
func decode(r io.Reader, into any) error {
	dec := json.NewDecoder(io.LimitReader(r, maxJSONBytes))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

func invalid(err error) *Error {
	return &Error{Code: CodeInvalid, Message: "the request is no valid JSON: " + err.Error()}
}

func (s *Server) plan(r *http.Request) (any, error) {
	files, done, err := s.receive(r)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.backend.Plan(r.Context(), r.URL.Query().Get("name"), files)
}

func (s *Server) apply(ctx context.Context, by Caller, r *http.Request) (*Change, error) {
	q := r.URL.Query()
	o := ApplyOptions{Accept: q.Get("accept"), Reason: q.Get("reason")}
	if text := q.Get("confirm"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Second || d > 7*24*time.Hour {
			return nil, &Error{Code: CodeInvalid, Message: fmt.Sprintf("confirm %q is no duration of 1s to 168h", text), Fix: "use for example 5m"}
		}
		o.Confirm = d
	}
	files, done, err := s.receive(r)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.backend.Apply(ctx, by, q.Get("name"), files, o)
}

// receive reads a bundle, one at a time.
func (s *Server) receive(r *http.Request) (files Files, done func(), err error) {
	select {
	case s.uploads <- struct{}{}:
	default:
		return nil, nil, &Error{Code: CodeBusy, Message: "another bundle is being received", Fix: "try again when it is done"}
	}
	done = func() { <-s.uploads }
	files, err = readUpload(r.Body, MaxUpload)
	switch {
	case errors.Is(err, errUploadTooLarge):
		err = &Error{Code: CodeTooLarge, Message: fmt.Sprintf("the bundle has more than %d MiB", MaxUpload>>20), Fix: "split it, or aggregate its prefixes"}
	case err != nil:
		err = &Error{Code: CodeInvalid, Message: err.Error()}
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return files, done, nil
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
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a reader who hung up needs no answer
}

func number(r *http.Request, name string) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, &Error{Code: CodeInvalid, Message: fmt.Sprintf("%s %q is no whole number from 0 on", name, text)}
	}
	return n, nil
}

// events streams decisions, one JSON object a line.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	recent, err := number(r, "recent")
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	q := r.URL.Query()
	past, next, stop := s.backend.Events(recent, q.Get("follow") == "true", q.Get("all") == "true")
	defer stop()
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	for _, e := range past {
		if enc.Encode(e) != nil {
			return
		}
	}
	_ = control.Flush()
	for next != nil {
		select {
		case e, open := <-next:
			if !open || enc.Encode(e) != nil || (len(next) == 0 && control.Flush() != nil) {
				return
			}
		case <-r.Context().Done():
			return
		case <-s.stopping.Done():
			return
		}
	}
}
