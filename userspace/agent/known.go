// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/state"
)

// knownBundle is what people need to read of a resident bundle: the kernel has only numbers.
type knownBundle struct {
	name  string
	rules []config.Rule
	// missing: it is not on disk, or reading it takes more memory than there is.
	missing bool
}

// learn remembers the names of a bundle.
func (a *agent) learn(d config.Digest, name string, rules []config.Rule) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known[d] = &knownBundle{name: name, rules: rules}
}

// learnResident reads the names of resident bundles that this process did not apply, and forgets those that left.
func (a *agent) learnResident() {
	d, done, err := a.use()
	if err != nil {
		return
	}
	defer done()
	all, err := d.Generations()
	if err != nil {
		return
	}
	resident := map[config.Digest]bool{}
	var unread error
	for _, g := range all {
		resident[g.Digest] = true
		a.ensureKnown(g.Digest)
		if a.knows(g.Digest) == nil {
			unread = errors.Join(unread, a.readWhole(g.Digest))
		}
	}
	if unread != nil {
		a.setProblem(problemBundle, unread.Error(), "repair the disk or the rights of the file; the kernel enforces the bundle, and its rules have no names until it can be read")
	} else {
		a.clearProblem(problemBundle)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for digest := range a.known {
		if !resident[digest] {
			delete(a.known, digest)
		}
	}
}

// ensureKnown reads a bundle's names now, if nobody has yet: a small file, whatever the size of the bundle.
func (a *agent) ensureKnown(d config.Digest) {
	if a.knows(d) != nil {
		return
	}
	if n, err := a.store.Names(d); err == nil {
		a.learn(d, n.Name, n.Rules)
	}
}

// readWhole reads the names out of a bundle that was saved without them. One of a million rows may take more memory than
// this process may have, and names are not worth dying for. An error says that it is on disk and cannot be read now.
func (a *agent) readWhole(d config.Digest) error {
	err := a.optional(workNames, func() error {
		b, err := a.store.Bundle(d)
		if err != nil {
			return err
		}
		a.learn(d, b.Name, b.Rules)
		return a.store.SaveNames(b)
	})
	if a.knows(d) != nil {
		return nil
	}
	if state.Unreadable(err) {
		return err
	}
	a.mu.Lock()
	a.known[d] = &knownBundle{missing: true}
	a.mu.Unlock()
	a.log.Warn("the bundle of a resident generation cannot be read: its rules have no names", "digest", d.Short(), "error", err)
	return nil
}

func (a *agent) knows(d config.Digest) *knownBundle {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known[d]
}

// nameOf returns the name of a bundle, "" when nobody here knows it.
func (a *agent) nameOf(d config.Digest) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.known[d]; k != nil && k.name != "" {
		return k.name
	}
	g, _ := a.record.Known(d)
	return g.Name()
}

// ruleOf returns a rule of a bundle by its index in the kernel: the bundle's rules in the order of their ids.
func (a *agent) ruleOf(d config.Digest, index uint16) (config.Rule, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.known[d]
	if k == nil || int(index) >= len(k.rules) {
		return config.Rule{}, false
	}
	return k.rules[index], true
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
	for _, c := range a.state().Compiled {
		if c.Number != g.Number {
			continue
		}
		b, err := a.store.Bundle(g.Digest)
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
