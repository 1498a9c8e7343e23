// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"time"
)

// Role is what a socket may ask. It belongs to the socket, whose file says who may connect; nobody claims one.
type Role string

// The roles, the strongest first.
const (
	RoleOperate Role = "operate" // everything
	RoleRead    Role = "read"    // what changes nothing and costs little
)

// limits are what one socket takes at most. Each socket counts for itself, so that whoever misbehaves on one holds
// nobody on another.
type limits struct {
	// connections are answered up to this number; beyond it only what is urgent is, and beyond twice the number a
	// connection waits until another ends.
	connections int
	streams     int // of events
	heavy       int // replies that take memory or work: all bans, the whole history, a comparison of every row
	receptions  int // bundles that arrive
}

func (r Role) limits() limits {
	if r == RoleRead {
		return limits{connections: 64, streams: 16, heavy: 2}
	}
	return limits{connections: 64, streams: 16, heavy: 2, receptions: 4}
}

// may reports whether a socket of this role may ask what needs another.
func (r Role) may(needs Role) bool { return r == RoleOperate || r == needs }

// slots bounds how many do something at once.
type slots chan struct{}

func (s slots) take() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

// wait takes a place within a time.
func (s slots) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (s slots) give() { <-s }

// route is one thing that can be asked.
type route struct {
	pattern string // method and path, as http.ServeMux reads it
	needs   Role
	verb    string // of a change; "" for what only looks
	urgent  bool   // answered also when the socket's places are taken
	heavy   bool   // a few at once
	handle  http.HandlerFunc
}
