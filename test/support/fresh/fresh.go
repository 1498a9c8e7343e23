// SPDX-License-Identifier: Apache-2.0

// Package fresh is for the part of a random test that no run had before. What it finds is filed, not a failure: `make
// test` fails for what was changed.
package fresh

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Folder names the environment's variable that asks for fresh parts and says where finds are filed; `make test` sets
// it.
const Folder = "SPILLWAY_FINDS"

// Part is one with a seed of its own.
type Part struct {
	t      *testing.T
	tell   func(format string, args ...any) // what .ci/tell reads
	folder string
	Seed   uint64 // below 2⁶³
	found  int
}

// Begin begins one where the environment asks for it.
func Begin(t *testing.T) (p *Part, ok bool) {
	t.Helper()
	folder := os.Getenv(Folder)
	if folder == "" {
		return nil, false
	}
	p = &Part{t: t, tell: t.Logf, folder: folder, Seed: rand.Uint64() >> 1}
	t.Logf("a fresh part: SPILLWAY_SEED=%d", p.Seed)
	return p, true
}

// Find files a row, which is all that somebody needs to play it again, and tells where.
func (p *Part) Find(row string) {
	p.t.Helper()
	p.found++
	name := strings.ReplaceAll(p.t.Name(), "/", "-") + "-" + strconv.FormatUint(p.Seed, 10) + "-" + strconv.Itoa(p.found)
	path := filepath.Join(p.folder, name)
	if err := os.MkdirAll(p.folder, 0o755); err != nil {
		p.t.Fatalf("file a find: %v\n%s", err, row)
	}
	text := fmt.Sprintf("# %s, SPILLWAY_SEED=%d\n%s\n", p.t.Name(), p.Seed, row)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatalf("file a find: %v\n%s", err, row)
	}
	first, _, _ := strings.Cut(row, "\n")
	p.tell("a find: %s (%s)", path, first)
}

// Found is how many there were.
func (p *Part) Found() int { return p.found }
