// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// VisitorOptions describe the crowd of good clients.
type VisitorOptions struct {
	Rate             float64       // Go clients' requests per second, 0.1 to 2000; 0 means 20
	Timeout          time.Duration // of a whole request, up to 30 s; 0 means 2 s
	AtOnce           int           // a request begins only while fewer wait; 0: whatever the rate wants
	Port             uint16        // TLS port of the origin; 0 means 443
	From             []netip.Addr  // IPv6 sources that the Go clients take in turn; nil: the visitors' own
	UseCurl, UseWget bool          // also one real curl, wget a second, when installed
}

// Visitors is a steady crowd of good clients: a new TLS connection per request,
// the certificate verified, sources and families taking turns.
type Visitors struct {
	*crowd
	clients []string
}

// StartVisitors lets the visitors in. They go when ctx ends, at Stop, or with
// the lab.
func (l *Lab) StartVisitors(ctx context.Context, o VisitorOptions) (*Visitors, error) {
	if err := checkRate(&o.Rate, &o.Timeout, 20); err != nil {
		return nil, fmt.Errorf("start visitors: %w", err)
	}
	if o.Port == 0 {
		o.Port = 443
	}
	src := visitorSources()
	if len(o.From) > 0 {
		src = sources{v6: o.From}
	}
	conf := l.clientTLS()
	v := &Visitors{clients: []string{"embedded Go client"}}
	v.crowd = newCrowd(ctx, l.Out, "go", src, func(n uint64) target {
		addr := netip.AddrPortFrom(edgeAddrFor(src.pick(n)), o.Port)
		return target{addr: addr, tls: conf, timeout: o.Timeout, agent: "lab-visitor/1"}
	})
	if o.AtOnce > 0 {
		v.waitWhileFull(o.AtOnce)
	}
	if err := l.add(v); err != nil {
		return nil, fmt.Errorf("start visitors: %w", errors.Join(err, v.Close()))
	}
	v.start(o.Rate)
	for _, p := range []*program{
		{name: "curl", want: o.UseCurl, args: curlArgs, parse: curlResult},
		{name: "wget", want: o.UseWget, args: wgetArgs, parse: wgetResult},
	} {
		if p.want && p.find() {
			v.clients = append(v.clients, p.version)
			v.startProgram(p, l.record.path(certFile), o)
		}
	}
	l.log.Info("visitors are in", "rate", o.Rate, "clients", v.clients)
	return v, nil
}

// Clients says who the visitors are: "embedded Go client", "curl 7.88.1", …
func (v *Visitors) Clients() []string { return v.clients }
