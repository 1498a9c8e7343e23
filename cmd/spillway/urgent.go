// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/offline"
)

// urgent makes a change that must not depend on the agent. again says that it may be made twice: an agent that ended
// before it answered may have made it. A second rollback would go back further.
func (a *app) urgent(ctx context.Context, again bool, agent func(context.Context, *api.Client) (*api.Change, error),
	pins func(*offline.Session) (*api.Change, error)) (*api.Change, error) {
	short, cancel := context.WithTimeout(ctx, panicPatience+time.Second)
	defer cancel()
	client := a.client()
	client.Patience = panicPatience
	defer client.Close()
	change, err := agent(short, client)
	var refusal *api.Error
	lost := errors.As(err, &refusal) && (refusal.Code == api.CodeUnavailable || refusal.Code == api.CodeOverloaded) ||
		again && errors.Is(err, api.ErrLost)
	if err == nil || !lost && !a.silent(ctx, err) {
		return change, err
	}
	s, perr := a.openPins(err)
	if perr != nil {
		return nil, perr
	}
	defer s.Close()
	a.tellHung(err)
	fmt.Fprintln(a.stderr, "No agent answers; changing the pinned maps directly.")
	return pins(s)
}
