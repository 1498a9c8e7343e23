// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/state"
)

// ErrNoKnownGood says that the host file is published, and last-known-good could not be built this time.
var ErrNoKnownGood = errors.New("last-known-good could not be built")

// refusedForNow returns ErrNoKnownGood when it was the kernel that refused: it may do so for a moment only. A bundle
// that is damaged or too big stays so.
func refusedForNow(err error) error {
	if errors.Is(err, state.ErrNoBundle) || errors.Is(err, loader.ErrCapacity) {
		return nil
	}
	if errors.As(err, new(unix.Errno)) || errors.Is(err, loader.ErrPermission) || errors.Is(err, loader.ErrReadBack) ||
		errors.Is(err, loader.ErrUnsupported) {
		return ErrNoKnownGood
	}
	return nil
}

// built is a bundle in a slot that nobody names yet.
type built struct {
	slot   uint8
	number uint32
	digest config.Digest
	was    uint32 // the number of the generation in whose place it comes
}

// renumber gives the record's names of a bundle its new number.
func (b *built) renumber(r *state.Record) {
	for _, known := range []*state.Generation{r.Applied, r.LastKnownGood} {
		if b != nil && known != nil && known.Digest == b.digest {
			known.Number = b.number
		}
	}
}
