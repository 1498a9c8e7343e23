// SPDX-License-Identifier: Apache-2.0

package release

import (
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/state"
)

// bundleFiles are bundles and sets by their digests.
type bundleFiles interface {
	Bundle(config.Digest) (*config.Bundle, error)
	Set(config.Digest) (*config.Set, error)
}

// archiveFiles are those, and what else an archive needs to know and to forget them.
type archiveFiles interface {
	bundleFiles
	Bundles() []config.Digest
	Has(config.Digest) bool
	Prune(keep []config.Digest) error
}

// setFiles are what a change reads and keeps.
type setFiles interface {
	bundleFiles
	SaveBundle(*config.Bundle) error
	SaveSet(*config.Set) error
}

// wholeFiles say whether what shall come back is all there.
type wholeFiles interface {
	Whole(config.Digest) error
}

// queueFile is what waits.
type queueFile interface {
	Bundle(config.Digest) (*config.Bundle, error)
	Queue() ([]state.Queued, error)
	SaveQueue([]state.Queued) error
}

// noteFiles are of who went back beside an agent that hung.
type noteFiles interface {
	Notes() (notes []state.Back, drop func())
}

// Disk is what is needed of the state folder by all.
type Disk interface {
	archiveFiles
	setFiles
	wholeFiles
	queueFile
	noteFiles
}

var _ Disk = (*state.Store)(nil)
