// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

// Use returns the dataplane and a function that gives it back. A goroutine that has it must not ask again: it would
// wait for an agent that ends, and that one for it.
func (pl *Plane) Use() (Kernel, func(), error) {
	pl.handle.mu.RLock()
	if pl.handle.kernel == nil {
		pl.handle.mu.RUnlock()
		e := &api.Error{Code: api.CodeUnavailable, Message: "the kernel part is not loaded"}
		if p, ok := pl.Ledger.Problem(ledger.ProblemKernel); ok {
			e.Message, e.Fix = e.Message+": "+p.Message, p.Fix
		}
		return nil, nil, e
	}
	return pl.handle.kernel, pl.handle.mu.RUnlock, nil
}

// Close gives the handles back. It waits for those who use them; what is pinned goes on.
func (pl *Plane) Close() {
	pl.LookAway()
	pl.handle.mu.Lock()
	defer pl.handle.mu.Unlock()
	if pl.handle.kernel == nil {
		return
	}
	pl.handle.beat.Close()
	if err := pl.handle.kernel.Close(); err != nil {
		pl.Log.Warn("cannot close the dataplane's handles", "error", err)
	}
	pl.handle.kernel = nil
}

// Missing reports whether there is no dataplane in use.
func (pl *Plane) Missing() bool {
	pl.handle.mu.RLock()
	defer pl.handle.mu.RUnlock()
	return pl.handle.kernel == nil
}
