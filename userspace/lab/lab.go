// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
)

// idPrefix begins the name of everything that a lab makes.
const idPrefix = "spw-"

// Options says how to build a lab. The zero value is good.
type Options struct {
	// Name says what the lab is for; it is logged and kept in the owner record.
	Name string
	// Log receives what happens inside; nil means nobody listens.
	Log *slog.Logger
}

// Lab is a running network. Its fields do not change until Close,
// but for Behind.
type Lab struct {
	Edge, Out           *Namespace
	Behind              *Namespace // nil until AddBehind
	EdgeIf, OutIf       string     // "edge0", "out0"
	EdgeIndex, OutIndex int        // each as its own namespace counts
	EdgeMAC, OutMAC     net.HardwareAddr

	id     string
	log    *slog.Logger
	record *record
	roots  *x509.CertPool
	sender *packetSocket

	mu     sync.Mutex // guards parts and closed, never held while a part closes
	closed bool
	parts  []io.Closer // origins and crowds, closed in reverse order
}

// New builds the network: two namespaces, the veth pair, addresses and routes.
// It needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW). When it fails it
// leaves nothing.
func New(ctx context.Context, o Options) (*Lab, error) {
	return build(ctx, o, func(string) error { return nil })
}

// build is New with a hook before each step, through which tests let it fail.
func build(ctx context.Context, o Options, before func(step string) error) (*Lab, error) {
	l := &Lab{EdgeIf: edgeIf, OutIf: outIf, log: o.Log}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	var suffix [4]byte
	if _, err := rand.Read(suffix[:]); err != nil {
		return nil, fmt.Errorf("choose lab id: %w", err)
	}
	l.id = fmt.Sprintf("%s%d-%s", idPrefix, os.Getpid(), hex.EncodeToString(suffix[:]))
	for _, s := range l.steps(ctx, o.Name) {
		err := ctx.Err()
		if err == nil {
			err = before(s.name)
		}
		if err == nil {
			err = s.run()
		}
		if err != nil {
			err = fmt.Errorf("build lab: %s: %w", s.name, err)
			return nil, errors.Join(err, l.Close())
		}
	}
	l.log.Info("lab is up", "id", l.id, "for", o.Name)
	return l, nil
}

type step struct {
	name string
	run  func() error
}

func (l *Lab) steps(ctx context.Context, purpose string) []step {
	return []step{
		{"owner record", func() (err error) { l.record, err = newRecord(l.id, purpose); return }},
		{"certificate", func() (err error) { l.roots, err = l.record.writeCertificate(); return }},
		{"edge namespace", func() (err error) { l.Edge, err = newNamespace(l.id + "-edge"); return }},
		{"out namespace", func() (err error) { l.Out, err = newNamespace(l.id + "-out"); return }},
		{"veth", l.makeVeth},
		{"link state", func() error { return l.waitUp(ctx) }},
		{"addresses", l.address},
		{"routes", l.route},
		{"sender", func() (err error) { l.sender, err = l.Out.openPacket(l.OutIndex, nil); return }},
	}
}

// ID returns the lab's id, with which the names of all it makes begin.
func (l *Lab) ID() string { return l.id }

// add registers a part that Close must close first. A part that comes too late
// is refused; the caller closes it.
func (l *Lab) add(part io.Closer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("lab %s: %w", l.id, ErrClosed)
	}
	l.parts = append(l.parts, part)
	return nil
}

// Close stops the crowds and the origin, kills what was started in the
// namespaces, and removes the link, the namespaces and the lab's files. It may
// be called again, and then retries what failed.
func (l *Lab) Close() error {
	l.mu.Lock()
	l.closed = true
	parts := l.parts
	l.parts = nil
	l.mu.Unlock()
	var errs []error
	for i := len(parts) - 1; i >= 0; i-- {
		errs = append(errs, parts[i].Close())
	}
	if l.sender != nil {
		errs = append(errs, l.sender.Close())
	}
	// The names go last: until then Sweep can still find what is left.
	for _, n := range []*Namespace{l.Behind, l.Edge, l.Out} {
		if n != nil {
			errs = append(errs, removeLink(n.name), n.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close lab %s: %w", l.id, err)
	}
	if l.record != nil {
		return l.record.Close()
	}
	return nil
}
