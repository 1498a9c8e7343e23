// SPDX-License-Identifier: Apache-2.0

package pins

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
	"github.com/spillway/spillway/loader/kernel"
)

// layoutVariable names the variable of the environment that gives this build another ABI number. No release has one:
// tests that upgrade from one binary to the next set it, go build -ldflags "-X
// github.com/spillway/spillway/loader/pins.layoutVariable=NAME".
var layoutVariable string

// Layout is the ABI number of this build: which folder below the pins is its own.
var Layout = func() uint64 {
	if layoutVariable != "" {
		if n, err := strconv.ParseUint(os.Getenv(layoutVariable), 10, 32); err == nil {
			return n
		}
	}
	return bpf.ABIVersion
}()

// The layouts before the one whose ABI number was frozen with them: package migrate reads them.
const (
	Layout2 = 2 // the last one without a root of its own: its root program, words and links were in its folder
	Layout3 = 3
	Layout4 = 4
	Layout5 = 5
	Layout6 = 6
	Layout7 = 7
)

// TakesOver reports whether this build can carry over what a dataplane of another layout knows. Whoever changes a
// layout says here that the one before it is read, and in package migrate how.
func TakesOver(number uint64) bool {
	return number >= Layout2 && number <= Layout7 || number >= bpf.ABIVersion && number < Layout
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
	return fmt.Sprintf("%v: a dataplane of %s decides below %s, and this build reads layout %d", kernel.ErrForeignABI,
		what,
		e.Folder, Layout)
}

func (e *ForeignError) Unwrap() error { return kernel.ErrForeignABI }

// Newer reports whether a later build made it.
func (e *ForeignError) Newer() bool { return e.Layout > Layout }

// TakenOver reports whether an agent of this build takes over from it by itself.
func (e *ForeignError) TakenOver() bool { return TakesOver(e.Layout) }

// Relinks reports whether that updates the links: once, from the last layout without a root.
func (e *ForeignError) Relinks() bool { return e.Layout == Layout2 }

// Layouts lists the numbers of the dataplanes that have a folder below the pins, the lowest first.
func (p Folder) Layouts() ([]uint64, error) {
	entries, err := os.ReadDir(p.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, kernel.Explain("look for pinned state", err)
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

// behind is what the root says of the dataplane that decides.
type behind interface {
	Next() (uint32, error)
	Layout() uint64
}

// InForce returns the layout of the dataplane that decides, 0 for none. The program behind the root program says it:
// the folder that has it pinned is its own. The root's word is asked only where no folder has it. Without a root, a
// layout that had none decides where it is pinned.
func (p Folder) InForce(r behind) (uint64, error) {
	all, err := p.Layouts()
	if err != nil {
		return 0, err
	}
	if r != nil {
		id, err := r.Next()
		if err != nil {
			return 0, err
		}
		if id == 0 && slices.Contains(all, Layout2) {
			return Layout2, nil
		}
		for _, number := range all {
			if _, err := os.Lstat(Folder{Path: p.Path, Of: number}.Pair(id)); err == nil {
				return number, nil
			}
		}
		if number := r.Layout(); number != 0 || id == 0 {
			return number, nil
		}
		return 0, &ForeignError{Folder: p.Path}
	}
	switch {
	case slices.Contains(all, Layout2):
		return Layout2, nil
	case len(all) > 0 && !slices.Contains(all, Layout): // the root went, and what is left is another build's
		return all[len(all)-1], nil
	}
	return 0, nil
}

// number is the layout of the folder that is meant.
func (p Folder) number() uint64 {
	if p.Of != 0 {
		return p.Of
	}
	return Layout
}

func (p Folder) Base() string { return filepath.Join(p.Path, fmt.Sprintf("v%d", p.number())) }
