// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spillway/spillway/bpf"
)

// layoutVariable names the variable of the environment that gives this build another ABI number. No release has one:
// tests that upgrade from one binary to the next set it, go build -ldflags "-X
// github.com/spillway/spillway/loader.layoutVariable=NAME".
var layoutVariable string

// layout is the ABI number of this build: which folder below the pins is its own.
var layout = func() uint64 {
	if layoutVariable != "" {
		if n, err := strconv.ParseUint(os.Getenv(layoutVariable), 10, 32); err == nil {
			return n
		}
	}
	return bpf.ABIVersion
}()

// layoutRootless is the last layout without a root of its own: its root program, words and links were in its folder.
const layoutRootless = 2

// takesOver reports whether this build can carry over what a dataplane of another layout knows. Whoever changes a
// layout says here how the one before it is read (predecessor.go).
func takesOver(number uint64) bool {
	return number == layoutRootless || number == layout3Number || number >= bpf.ABIVersion && number < layout
}

// ForeignError says that a dataplane decides whose maps this build cannot read. It is an ErrForeignABI. The root is
// every build's, so a bypass works all the same.
type ForeignError struct {
	Folder string
	Layout uint64 // 0: not known
}

func (e *ForeignError) Error() string {
	what := fmt.Sprintf("layout %d", e.Layout)
	if e.Layout == 0 {
		what = "an unknown layout"
	}
	return fmt.Sprintf("%v: a dataplane of %s decides below %s, and this build reads layout %d", ErrForeignABI, what,
		e.Folder, layout)
}

func (e *ForeignError) Unwrap() error { return ErrForeignABI }

// Newer reports whether a later build made it.
func (e *ForeignError) Newer() bool { return e.Layout > layout }

// TakenOver reports whether an agent of this build takes over from it by itself.
func (e *ForeignError) TakenOver() bool { return takesOver(e.Layout) }

// Relinks reports whether that updates the links: once, from the last layout without a root.
func (e *ForeignError) Relinks() bool { return e.Layout == layoutRootless }

// layouts lists the numbers of the dataplanes that have a folder below the pins, the lowest first.
func (p pins) layouts() ([]uint64, error) {
	entries, err := os.ReadDir(p.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, explain("look for pinned state", err)
	}
	var all []uint64
	for _, e := range entries {
		if number, err := strconv.ParseUint(strings.TrimPrefix(e.Name(), "v"), 10, 32); err == nil &&
			strings.HasPrefix(e.Name(), "v") {
			all = append(all, number)
		}
	}
	slices.Sort(all)
	return all, nil
}

// inForce returns the layout of the dataplane that decides, 0 for none. The program behind the root program says it:
// the folder that has it pinned is its own. The root's word is asked only where no folder has it. Without a root, a
// layout that had none decides where it is pinned.
func (p pins) inForce(r *Root) (uint64, error) {
	all, err := p.layouts()
	if err != nil {
		return 0, err
	}
	if r != nil {
		id, err := r.Next()
		if err != nil {
			return 0, err
		}
		if id == 0 && slices.Contains(all, layoutRootless) {
			return layoutRootless, nil
		}
		for _, number := range all {
			if _, err := os.Lstat(pins{p.folder, number}.pair(id)); err == nil {
				return number, nil
			}
		}
		if number := r.Layout(); number != 0 || id == 0 {
			return number, nil
		}
		return 0, &ForeignError{Folder: p.folder}
	}
	switch {
	case slices.Contains(all, layoutRootless):
		return layoutRootless, nil
	case len(all) > 0 && !slices.Contains(all, layout): // the root went, and what is left is another build's
		return all[len(all)-1], nil
	}
	return 0, nil
}

// number is the layout of the folder that is meant.
func (p pins) number() uint64 {
	if p.of != 0 {
		return p.of
	}
	return layout
}

func (p pins) base() string { return filepath.Join(p.folder, fmt.Sprintf("v%d", p.number())) }
