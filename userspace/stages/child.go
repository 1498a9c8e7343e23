// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/taste"
)

// Child builds in a process of its own, which may die, and tries golden clients there.
type Child struct {
	Hand    *release.Stagehand
	Log     *slog.Logger
	Context func() context.Context // of the agent: a child ends with it
	State   string                 // the folder of the stored bundles
	Pins    string
	Options taste.Options
}

// Kitchen is the kernel part that a child's tables go to.
type Kitchen interface {
	taste.Slots
	Host() (*compile.HostInfo, error)
	Capacity() config.Capacity
}

// errTasted: the taste itself says what is wrong.
var errTasted = errors.New("the bundle was tasted, and is not taken")

// Taste implements Taster.
func (c Child) Taste(o *release.Order, attempt int) (t rollout.Taste, busy bool) {
	b, err := c.Hand.Make(o, func(m release.Making) (made state.Compiled, err error) {
		t, made, err = c.make(m, attempt)
		return made, err
	})
	var e *api.Error
	switch {
	case errors.As(err, &e) && e.Code == api.CodeBusy:
		return t, true
	case errors.Is(err, errTasted):
		return t, false
	case err != nil:
		return rollout.Taste{Outcome: rollout.TasteFailed, Detail: err.Error()}, false
	}
	return rollout.Taste{Outcome: rollout.TastePassed, Number: b.Number, Base: b.On, Way: &b.Way}, false
}

func (c Child) make(m release.Making, attempt int) (t rollout.Taste, made state.Compiled, err error) {
	d, ok := m.Kernel.(Kitchen)
	if !ok {
		return t, made, errors.New("this dataplane takes nothing that a child built")
	}
	current, err := d.Host()
	if err != nil {
		return t, made, err
	}
	salt, err := saltOf(m, attempt)
	if err != nil {
		return t, made, err
	}
	r := taste.Start(c.Context(), taste.Request{
		ID: m.Order.ID, Digest: m.Set, Number: m.Number, Base: m.On, Salt: salt,
		State: c.State, Pins: c.Pins, HostText: string(m.Host.Text), Host: current, Change: m.Host.Change(),
		Own: m.Own, Undeclared: m.Order.Kind == api.RolloutHost, Clock: m.Clock,
		Capacity: d.Capacity(), Golden: len(m.Host.Host.Golden) > 0,
	}, c.Options)
	for _, w := range r.Warnings {
		c.Log.Warn("a taste could not show everything", "rollout", m.Order.ID, "number", m.Number, "what", w)
	}
	_, t = r.Adopt(d, m.Beside...)
	c.Log.Info("a bundle was tasted", "rollout", m.Order.ID, "number", m.Number, "outcome", t.Outcome,
		"detail", t.Detail, "took", r.Took, "child_bytes", r.Peak)
	if t.Outcome != rollout.TastePassed {
		return t, made, errTasted
	}
	return t, r.Compiled, nil
}

// secretMost bounds what is read of the fleet's secret.
const secretMost = 4096

// secretOf reads the fleet's secret; none when no file is named. White space around it does not count: a host whose
// file ends with a line's end has the canary of one whose file does not. One that is empty, or that everybody on this
// host can read or write, is refused: a canary whose sources a stranger can tell is not what the host file asks for.
func secretOf(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe that nobody writes to holds nobody up
	if err != nil {
		return nil, fmt.Errorf("read the fleet's secret of the canary: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil && info.Mode()&0o007 != 0 {
		err = fmt.Errorf("%s is open to everybody on this host (mode %#o), and so no secret: chmod o= %[1]s", path,
			info.Mode().Perm())
	}
	var secret []byte
	if err == nil {
		secret, err = io.ReadAll(io.LimitReader(f, secretMost+1))
	}
	if err == nil && len(secret) > secretMost {
		err = fmt.Errorf("%s has more than %d bytes", path, secretMost)
	}
	if secret = bytes.TrimSpace(secret); err == nil && len(secret) == 0 {
		err = fmt.Errorf("%s is empty; write one, or take paths.canary_secret out of the host file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the fleet's secret of the canary: %w", err)
	}
	return secret, nil
}

// saltOf is the salt of the canary: of the author's digest, the attempt, and the secret of the fleet.
func saltOf(m release.Making, attempt int) (uint64, error) {
	secret, err := secretOf(m.Host.Host.Paths.CanarySecret)
	if err != nil {
		return 0, err
	}
	author := m.Order.Digest // not the set's: another bundle changes that, and the sources of a canary stay
	if author.IsZero() {
		author = m.Set
	}
	return compile.CanarySalt(author, attempt, secret), nil
}
