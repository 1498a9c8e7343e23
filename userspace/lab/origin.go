// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"time"
)

// originReady bounds how long an origin may take to answer for the first time.
const originReady = time.Minute

// originBody is what every path of the origin answers.
const originBody = "hello from the origin\n"

// Origin is the web server at the edge.
type Origin interface {
	// Name says what serves: "nginx/1.22.1" or "embedded Go server".
	Name() string
	// Addrs returns where it listens: TLS and plain, IPv4 and IPv6.
	Addrs() []netip.AddrPort
	// Close stops it and waits. It may be called again.
	Close() error
}

// OriginOptions choose the origin. The zero value is an nginx when one is
// installed, on ports 443 and 80.
type OriginOptions struct {
	ForceEmbedded bool
	TLSPort       uint16 // 0 means 443
	PlainPort     uint16 // 0 means 80
}

func (o OriginOptions) withDefaults() OriginOptions {
	if o.TLSPort == 0 {
		o.TLSPort = 443
	}
	if o.PlainPort == 0 {
		o.PlainPort = 80
	}
	return o
}

func (o OriginOptions) addrs() []netip.AddrPort {
	return []netip.AddrPort{
		netip.AddrPortFrom(EdgeAddr4, o.TLSPort), netip.AddrPortFrom(EdgeAddr6, o.TLSPort),
		netip.AddrPortFrom(EdgeAddr4, o.PlainPort), netip.AddrPortFrom(EdgeAddr6, o.PlainPort),
	}
}

// StartOrigin starts the web server in the edge namespace. It returns when TLS
// and plain HTTP answer in both families, asked from inside the edge, so that
// no XDP program has a say in it. Any path is answered with 200. A Lab closes
// its origins.
func (l *Lab) StartOrigin(ctx context.Context, o OriginOptions) (Origin, error) {
	o = o.withDefaults()
	var origin Origin
	var err error
	if path := findNginx(); path != "" && !o.ForceEmbedded {
		origin, err = l.startNginx(path, o)
	} else {
		origin, err = l.startEmbedded(o)
	}
	if err != nil {
		return nil, fmt.Errorf("start origin: %w", err)
	}
	err = l.waitOrigin(ctx, origin, o)
	if err == nil {
		err = l.add(origin)
	}
	if err != nil {
		return nil, fmt.Errorf("start origin %s: %w", origin.Name(), errors.Join(err, origin.Close()))
	}
	l.log.Info("origin is up", "server", origin.Name())
	return origin, nil
}

// exiter is an origin that can end by itself, and then says why.
type exiter interface{ exited() error }

func (l *Lab) waitOrigin(ctx context.Context, origin Origin, o OriginOptions) error {
	ctx, cancel := context.WithTimeout(ctx, originReady)
	defer cancel()
	for _, addr := range origin.Addrs() {
		t := target{addr: addr, timeout: originReady / 4, agent: "lab-ready/1"}
		if addr.Port() == o.TLSPort {
			t.tls = l.clientTLS()
		}
		var last error
		err := poll(ctx, func() (bool, error) {
			if e, ok := origin.(exiter); ok {
				if err := e.exited(); err != nil {
					return false, err
				}
			}
			last = fetch(ctx, l.Edge.Dialer(netip.Addr{}), t)
			return last == nil, nil
		})
		if err != nil {
			return fmt.Errorf("wait for %s: %w", addr, errors.Join(err, last))
		}
	}
	return nil
}

// clientTLS is what the lab's clients trust and ask for.
func (l *Lab) clientTLS() *tls.Config {
	return &tls.Config{RootCAs: l.roots, ServerName: OriginHost}
}

// findProgram finds a program in PATH or, because a user's PATH often lacks
// them, in the system folders. It returns "" when there is none.
func findProgram(name string) string {
	for _, p := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	return ""
}
