// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
)

// imageOf returns the image of a resident generation: the one that was built, or, after a restart, the same compiled
// again from disk.
func (rw *Rows) imageOf(g loader.GenerationInfo, host *compile.HostImage) (*compile.Image, error) {
	rw.images.mu.Lock()
	img := rw.images.byNumber[g.Number]
	rw.images.mu.Unlock()
	if img != nil && img.Digest() == g.Digest {
		return img, nil
	}
	for _, c := range rw.Ledger.Record().Compiled {
		if c.Number != g.Number {
			continue
		}
		b, err := rw.Disk.Bundle(g.Digest)
		if err != nil {
			return nil, err
		}
		if c.Services != nil {
			terms := c.TermsByName()
			if terms == nil {
				terms = host.Context(config.Digest{}).Terms
			}
			host = compile.Context{Services: c.Services, Terms: terms, Allowlist: c.Allowlist, Host: c.Host}.Image()
		}
		if c.Undeclared {
			b = b.Undeclared()
		}
		here, _ := b.LeaveOut(c.LeftOut)
		img, err := compile.Bundle(here, host, g.Number, compile.Clock{Wall: c.Wall, MonotonicNS: c.MonotonicNS})
		if err != nil {
			return nil, err
		}
		img.SetSalt(c.Salt)
		rw.KeepImage(img)
		return img, nil
	}
	return nil, fmt.Errorf("nobody here knows when generation %d was compiled", g.Number)
}

// keptRows is how large an image is that stays in memory: one of a million rows takes some 40 MiB, and is compiled
// again when somebody asks for it.
const keptRows = 50_000

// KeepImage remembers a small image for verification, and the last few at most.
func (rw *Rows) KeepImage(img *compile.Image) {
	rw.images.mu.Lock()
	defer rw.images.mu.Unlock()
	if img.Rows() <= keptRows {
		rw.images.byNumber[img.Number()] = img
	}
	for n := range rw.images.byNumber {
		if n+2 < img.Number() {
			delete(rw.images.byNumber, n)
		}
	}
}
