// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/state"
)

// learnResident reads the names of the bundles that the kernel has.
func (a *agent) learnResident() {
	d, done, err := a.use()
	if err != nil {
		return
	}
	defer done()
	if all, err := d.Generations(); err == nil {
		a.ledger.LearnResident(all)
	}
}

// compiled is what must be kept to compile the same image again: expiries became kernel time at that moment. The sums tell
// whether the kernel still holds it.
func compiled(img *loader.Image, at loader.Clock, host loader.Context, rows int, because []netip.Prefix) state.Compiled {
	return state.Compiled{Number: img.Number(), Digest: img.Compiled(), LeftOutRows: rows, LeftOut: because, Wall: at.Wall.Round(0).UTC(), MonotonicNS: at.MonotonicNS,
		Services: host.Services, Resets: host.Resets, Allowlist: host.Allowlist, Sums: img.Sums()}
}

// isResident says whether a number is that of a generation in the kernel. However many candidates came and went, the
// stable one must still be verifiable after a restart.
func isResident(all []loader.GenerationInfo, number uint32) bool {
	return slices.ContainsFunc(all, func(g loader.GenerationInfo) bool { return g.Number == number })
}

// imageOf returns the image of a resident generation: the one that was built, or, after a restart, the same compiled
// again from disk.
func (a *agent) imageOf(g loader.GenerationInfo, host *loader.HostImage) (*loader.Image, error) {
	a.mu.Lock()
	img := a.images[g.Number]
	a.mu.Unlock()
	if img != nil && img.Digest() == g.Digest {
		return img, nil
	}
	for _, c := range a.ledger.Record().Compiled {
		if c.Number != g.Number {
			continue
		}
		b, err := a.ledger.Store().Bundle(g.Digest)
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
		a.keepImage(img)
		return img, nil
	}
	return nil, fmt.Errorf("nobody here knows when generation %d was compiled", g.Number)
}

// keptRows is how large an image is that stays in memory: one of a million rows takes some 30 MiB, and is compiled again
// when somebody asks for it.
const keptRows = 50_000

// keepImage remembers a small image for verification, and the last few at most.
func (a *agent) keepImage(img *loader.Image) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if img.Rows() <= keptRows {
		a.images[img.Number()] = img
	}
	for n := range a.images {
		if n+2 < img.Number() {
			delete(a.images, n)
		}
	}
}
