// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Client talks to the agent behind a Unix socket. It may be used by several goroutines. Its errors are ErrUnreachable
// when nobody listens, ErrLost when the agent ended before it answered, an *Error when it refused, a *Hung when it is
// out of patience, or those of the context.
type Client struct {
	socket string
	http   *http.Client
	// Patience is how long an agent may answer nothing, not even a ping, until it is said to hang; 0: for ever. A slow
	// agent is waited for as long as the context lasts.
	Patience time.Duration
	// Alive is told, every second or so, that a slow agent lives, and for how long it has worked. nil: nobody is told.
	Alive func(since time.Duration)
	// ReadSocket is asked where this user may not connect to the other one, and only to look. "": there is none.
	ReadSocket string

	dial func(ctx context.Context, path string) (net.Conn, error)
}

const (
	// dialTimeout bounds how long a full backlog of the socket is waited for.
	dialTimeout  = 2 * time.Second
	dialInterval = 20 * time.Millisecond
)

// NewClient returns a client for the socket. It does not dial yet.
func NewClient(socket string) *Client {
	c := &Client{socket: socket, dial: dial}
	byHost := func(ctx context.Context, _, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, readHost) {
			return c.dial(ctx, c.ReadSocket)
		}
		return c.dial(ctx, c.socket)
	}
	c.http = &http.Client{Transport: &http.Transport{DialContext: byHost, MaxIdleConns: 2}}
	return c
}

// dial connects. The kernel refuses at once, with EAGAIN, where the backlog is full: whoever listens may be slow.
func dial(ctx context.Context, path string) (net.Conn, error) {
	for until := time.Now().Add(dialTimeout); ; {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if !errors.Is(err, syscall.EAGAIN) || time.Now().After(until) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(dialInterval):
		}
	}
}

// The hosts of requests: names for the two sockets.
const (
	operateHost = "spillway"
	readHost    = "read.spillway"
)

// Close lets idle connections go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns what Spillway does now.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// Generations returns the bundles in the kernel.
func (c *Client) Generations(ctx context.Context) (*GenerationList, error) {
	return get[GenerationList](ctx, c, "/v1/generations")
}

// Rules returns the rules of the stable generation with their counts.
func (c *Client) Rules(ctx context.Context) (*RuleList, error) {
	return get[RuleList](ctx, c, "/v1/rules")
}

// Verify compares what the kernel holds with what it should hold.
func (c *Client) Verify(ctx context.Context) (*Verification, error) {
	return get[Verification](ctx, c, "/v1/verify")
}

// History returns the newest changes first; limit 0 is all of them.
func (c *Client) History(ctx context.Context, limit int) (*History, error) {
	return get[History](ctx, c, "/v1/history?limit="+strconv.Itoa(limit))
}

// Bans returns the bans that are in force.
func (c *Client) Bans(ctx context.Context) (*BanList, error) { return get[BanList](ctx, c, "/v1/bans") }

// Bundles returns the bundles in force.
func (c *Client) Bundles(ctx context.Context) (*BundleList, error) {
	return get[BundleList](ctx, c, "/v1/bundles")
}

// Rollouts returns the rollouts that are not over, and the last that are, newest first.
func (c *Client) Rollouts(ctx context.Context) (*RolloutList, error) {
	return get[RolloutList](ctx, c, "/v1/rollouts")
}

// Rollout returns one rollout.
func (c *Client) Rollout(ctx context.Context, id string) (*Rollout, error) {
	return get[Rollout](ctx, c, "/v1/rollouts/"+url.PathEscape(id))
}

// Plan says what an apply of the bundle would change; remove names one that goes as it comes, or is "".
func (c *Client) Plan(ctx context.Context, u *Upload, remove string) (*Plan, error) {
	return send[Plan](ctx, c, "/v1/plan", u, PlanRequest{Name: u.Name, Remove: remove})
}

// PlanRemoval says what it would change to take a bundle out.
func (c *Client) PlanRemoval(ctx context.Context, name string) (*Plan, error) {
	return post[Plan](ctx, c, "/v1/plan", PlanRequest{Remove: name})
}

// Apply starts a rollout that adds the bundle or replaces the one of its name. It returns when the rollout is over, or
// waits for its turn or for a confirmation.
func (c *Client) Apply(ctx context.Context, u *Upload, o ApplyOptions) (*Rollout, error) {
	return send[Rollout](ctx, c, "/v1/rollouts", u, o.Request(u.Name))
}

// ApplyStored is Apply of a bundle that the agent still has on disk.
func (c *Client) ApplyStored(ctx context.Context, stored string, o ApplyOptions) (*Rollout, error) {
	r := o.Request("")
	r.Stored = stored
	return post[Rollout](ctx, c, "/v1/rollouts", r)
}

// Remove starts a rollout that takes the bundle r.Remove out.
func (c *Client) Remove(ctx context.Context, r RolloutRequest) (*Rollout, error) {
	return post[Rollout](ctx, c, "/v1/rollouts", r)
}

// Confirm makes the candidate stable: the generation of the rollout that waits for it.
func (c *Client) Confirm(ctx context.Context, reason string) (*Change, error) {
	all, err := c.Rollouts(ctx)
	if err != nil {
		return nil, err
	}
	waiting := all.Waiting()
	for i := range all.Rollouts { // in stages it says so of itself
		if ro := &all.Rollouts[i]; waiting == nil && ro.Staged != nil && ro.Staged.Unconfirmed && !ro.Over() {
			waiting = ro
		}
	}
	if waiting == nil {
		return nil, ErrNoCandidate
	}
	return c.ConfirmRollout(ctx, waiting.ID, reason)
}

// ConfirmRollout makes the generation of this rollout stable.
func (c *Client) ConfirmRollout(ctx context.Context, id, reason string) (*Change, error) {
	return post[Change](ctx, c, "/v1/rollouts/"+url.PathEscape(id)+"/confirm", Reasoned{reason})
}

// EndRollout cancels a rollout that is not in force, or withdraws one that waits for a confirmation.
func (c *Client) EndRollout(ctx context.Context, id, reason string) (*Change, error) {
	return withBody[Change](ctx, c, http.MethodDelete, "/v1/rollouts/"+url.PathEscape(id), Reasoned{reason})
}

// Rollback makes the previous generation stable.
func (c *Client) Rollback(ctx context.Context, reason string) (*Change, error) {
	return post[Change](ctx, c, "/v1/rollback", Reasoned{reason})
}

// RollbackTo makes a generation of before stable, or lets everything pass.
func (c *Client) RollbackTo(ctx context.Context, r RollbackRequest) (*Change, error) {
	return post[Change](ctx, c, "/v1/rollback", r)
}

// Reload makes the agent read its host file again.
func (c *Client) Reload(ctx context.Context, r ReloadRequest) (*Change, error) {
	return post[Change](ctx, c, "/v1/reload", r)
}

// Bypass lets everything, or one service, pass; or ends that.
func (c *Client) Bypass(ctx context.Context, r BypassRequest) (*Change, error) {
	return post[Change](ctx, c, "/v1/bypass", r)
}

// Ban blocks a prefix for a while.
func (c *Client) Ban(ctx context.Context, r BanRequest) (*Change, error) {
	return post[Change](ctx, c, "/v1/bans", r)
}

// Unban ends a ban.
func (c *Client) Unban(ctx context.Context, prefix, reason string) (*Change, error) {
	path := url.URL{Path: "/v1/bans/" + prefix}
	return withBody[Change](ctx, c, http.MethodDelete, path.EscapedPath(), Reasoned{reason})
}

// Events calls f for each of the last recent events (at most 1,000), oldest first, and with follow for each new one
// until ctx ends or f returns an error.
func (c *Client) Events(ctx context.Context, recent int, follow bool, f func(Event) error) error {
	return c.events(ctx, url.Values{"recent": {strconv.Itoa(recent)}, "follow": {strconv.FormatBool(follow)}}, f)
}

// Watch calls f for each new event until ctx ends or f returns an error. While it runs the kernel tells of every
// decision, within its budget of events, where it else thins out passes.
func (c *Client) Watch(ctx context.Context, f func(Event) error) error {
	return c.events(ctx, url.Values{"recent": {"0"}, "follow": {"true"}, "all": {"true"}}, f)
}

func (c *Client) events(ctx context.Context, q url.Values, f func(Event) error) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/events?"+q.Encode(), "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		if err := f(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read events: %w", err)
	}
	return ctx.Err()
}

func get[T any](ctx context.Context, c *Client, path string) (*T, error) {
	return call[T](ctx, c, http.MethodGet, path, "", nil)
}

func post[T any](ctx context.Context, c *Client, path string, body any) (*T, error) {
	return withBody[T](ctx, c, http.MethodPost, path, body)
}

func withBody[T any](ctx context.Context, c *Client, method, path string, body any) (*T, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("write request %s: %w", path, err)
	}
	return call[T](ctx, c, method, path, typeJSON, bytes.NewReader(data))
}

// maxReply bounds what is read of a reply: all bans and their reasons have some 50 MiB.
const maxReply = 256 << 20

const typeJSON = "application/json"

// send posts options and a bundle. The HTTP client reads what the upload writes, without holding all of it.
func send[T any](ctx context.Context, c *Client, path string, u *Upload, options any) (*T, error) {
	r, w := io.Pipe()
	defer r.Close() // ends the writer, when the agent refuses before it has read all
	parts := multipart.NewWriter(w)
	go func() { w.CloseWithError(u.send(parts, options)) }()
	return call[T](ctx, c, http.MethodPost, path, parts.FormDataContentType(), r)
}

func call[T any](ctx context.Context, c *Client, method, path, kind string, body io.Reader) (*T, error) {
	resp, err := c.do(ctx, method, path, kind, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := new(T)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(out); err != nil {
		return nil, fmt.Errorf("read reply of %s: %w", path, lostOr(ctx, err))
	}
	return out, nil
}

// do sends a request and turns refusals into an *Error. The request is watched until its body is closed.
func (c *Client) do(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	resp, err := c.send(ctx, operateHost, method, path, kind, body)
	if errors.Is(err, fs.ErrPermission) && method == http.MethodGet && c.ReadSocket != "" {
		if again, rerr := c.send(ctx, readHost, method, path, kind, body); rerr == nil {
			resp, err = again, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	reply := errorReply{Error: &Error{}}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 8<<20)).Decode(&reply); err != nil || reply.Error == nil {
		reply.Error = &Error{Code: CodeInternal, Message: "the agent answered " + resp.Status}
	}
	reply.Error.Status = resp.StatusCode
	return nil, reply.Error
}

// send sends one request to one of the sockets.
func (c *Client) send(ctx context.Context, host, method, path, kind string, body io.Reader) (*http.Response, error) {
	watched, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(watched, method, "http://"+host+path, body)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("make request %s: %w", path, err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	sendDeadline(ctx, req)
	go c.watch(watched, cancel)
	resp, err := c.http.Do(req)
	if err == nil {
		resp.Body = &watchedBody{resp.Body, watched, cancel}
		return resp, nil
	}
	err = why(watched, err)
	cancel(nil)
	var dial *net.OpError
	if errors.Is(err, syscall.EAGAIN) {
		return nil, &Hung{PID: lockOwner(c.socket + LockSuffix), For: dialTimeout}
	}
	if errors.As(err, &dial) && dial.Op == "dial" && ctx.Err() == nil {
		return nil, fmt.Errorf("%w on %s: %w", ErrUnreachable, c.socket, dial.Err)
	}
	return nil, fmt.Errorf("ask the agent on %s: %w", c.socket, lostOr(ctx, err))
}

// why returns the cause for which a request was cancelled, where it is more than that it was.
func why(ctx context.Context, err error) error {
	var hung *Hung
	if errors.As(context.Cause(ctx), &hung) {
		return hung
	}
	return err
}

// watchedBody ends the watch over a request with its reply.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = why(b.ctx, err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// lostOr tells the end of an agent from other errors: to whoever asked it is a connection that ends.
func lostOr(ctx context.Context, err error) error {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if ctx.Err() == nil && errors.Is(err, end) {
			return ErrLost
		}
	}
	return err
}
