// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"

	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/migrate"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/loader/root"
)

// Root is the root program with its words, and where it is attached.
type Root struct {
	*root.Root
	folder pins.Folder
}

// OpenRoot opens what is pinned, for a command that finds a dataplane which it does not understand. ErrNotPinned when
// there is no root, and no layout 2, which had none; ErrForeignABI when the place is taken by something else.
func OpenRoot(folder string) (*Root, error) {
	p := pins.Folder{Path: folder}
	var beside root.Switch
	switch old, err := migrate.OpenRootlessWords(p); {
	case err == nil:
		beside = old
	case !errors.Is(err, kernel.ErrNotPinned):
		return nil, err
	}
	r, err := root.Open(p, beside)
	if err != nil {
		return nil, err
	}
	return &Root{Root: r, folder: p}, nil
}

// Attachments returns what the pinned links say, also of interfaces that are gone.
func (r *Root) Attachments() ([]Attachment, error) { return attachments(r.folder) }

// Linked are the attachments without Mode and Here, which netlink would have to be asked for.
func (r *Root) Linked() ([]Attachment, error) { return linked(r.folder) }
