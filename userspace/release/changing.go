// SPDX-License-Identifier: Apache-2.0

package release

import (
	"sync"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

// changing is the lock of whoever builds and publishes what the kernel enforces, for as long as that takes: one at a
// time.
type changing struct {
	sync.Mutex
	use func() (Kernel, func(), error)
}

var errBusy = &api.Error{Code: api.CodeBusy, Message: "another change is running",
	Fix: "wait until it is done; `spillway status` shows it"}

// changePatience is how long a change waits for another one. The agent's own tick holds the lock for a moment each
// second, and nobody's rollback may fail because of that; a bundle that is being built takes longer.
const changePatience = 2 * time.Second

// begin takes the change lock and the dataplane.
func (ch *changing) begin() (Kernel, func(), error) {
	for deadline := time.Now().Add(changePatience); !ch.TryLock(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, nil, errBusy
		}
	}
	d, done, err := ch.use()
	if err != nil {
		ch.Unlock()
		return nil, nil, err
	}
	return d, func() { done(); ch.Unlock() }, nil
}
