// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"

	"github.com/spillway/spillway/loader"
)

// imageOf returns the image of a resident generation: the one that was built, or, after a restart, the same compiled
// again from disk.
func (pl *Plane) imageOf(g loader.GenerationInfo, host *loader.HostImage) (*loader.Image, error) {
	pl.images.mu.Lock()
	img := pl.images.byNumber[g.Number]
	pl.images.mu.Unlock()
	if img != nil && img.Digest() == g.Digest {
		return img, nil
	}
	for _, c := range pl.Ledger.Record().Compiled {
		if c.Number != g.Number {
			continue
		}
		b, err := pl.Disk.Bundle(g.Digest)
		if err != nil {
			return nil, err
		}
		if c.Services != nil {
			host = loader.Context{Services: c.Services, Resets: c.Resets, Allowlist: c.Allowlist}.Image()
		}
		here, _ := b.LeaveOut(c.LeftOut)
		img, err := loader.CompileBundle(here, host, g.Number, loader.Clock{Wall: c.Wall, MonotonicNS: c.MonotonicNS})
		if err != nil {
			return nil, err
		}
		pl.KeepImage(img)
		return img, nil
	}
	return nil, fmt.Errorf("nobody here knows when generation %d was compiled", g.Number)
}

// keptRows is how large an image is that stays in memory: one of a million rows takes some 30 MiB, and is compiled again
// when somebody asks for it.
const keptRows = 50_000

// KeepImage remembers a small image for verification, and the last few at most.
func (pl *Plane) KeepImage(img *loader.Image) {
	pl.images.mu.Lock()
	defer pl.images.mu.Unlock()
	if img.Rows() <= keptRows {
		pl.images.byNumber[img.Number()] = img
	}
	for n := range pl.images.byNumber {
		if n+2 < img.Number() {
			delete(pl.images.byNumber, n)
		}
	}
}
