// SPDX-License-Identifier: Apache-2.0

package releasetest

import (
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/state"
)

// Hosts are the host files of the state folder in memory.
type Hosts struct {
	*Trouble
	Kept  *state.Host   // in force
	Stood *state.Before // what it is compared with
}

func (h *Hosts) Host() (*state.Host, error) {
	if err := h.Touch(h.Trouble.Disk, unix.EIO); err != nil {
		return nil, err
	}
	if h.Kept == nil {
		return nil, state.ErrNoHost
	}
	return h.Kept, nil
}

func (h *Hosts) Before() (*state.Before, bool, error) {
	if err := h.Touch(h.Trouble.Disk, unix.EIO); err != nil {
		return nil, false, err
	}
	if h.Stood == nil {
		return nil, false, state.ErrNoHost
	}
	return h.Stood, false, nil
}

func (h *Hosts) SaveBefore(b state.Before) error {
	if err := h.refuses(); err != nil {
		return err
	}
	h.Stood = &b
	return nil
}

func (h *Hosts) DropBefore() error {
	if err := h.refuses(); err != nil {
		return err
	}
	h.Stood = nil
	return nil
}

func (h *Hosts) SaveChange(config.Digest, []byte) error { return h.refuses() }

func (h *Hosts) refuses() error { return h.Touch(h.Trouble.Disk, unix.ENOSPC) }
