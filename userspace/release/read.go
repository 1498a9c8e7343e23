// SPDX-License-Identifier: Apache-2.0

package release

import (
	"net/netip"
	"sync"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	engine "github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/view"
)

// reader reads what is asked for.
type reader struct {
	*site
	parser
	use      func() (Kernel, func(), error)
	judge    func(view.Kernel) view.Verdict
	archive  *archive
	guard    *guard
	hostPath string // where the next host file is
	traffic  func() engine.Traffic
}

// parser reads uploaded bundles. Its lock is held while one is read or compared, one at a time; never while change is.
type parser struct {
	mu  sync.Mutex
	own func() ([]netip.Addr, error)
}

// alone is parse, one at a time.
func (re *reader) alone(name string, files api.Files) (*config.Bundle, error) {
	re.mu.Lock()
	defer re.mu.Unlock()
	return re.parse(name, files)
}

// parse validates a bundle as this host must see it. The lock parsing is held: a large bundle takes memory.
func (re *reader) parse(name string, files api.Files) (*config.Bundle, error) {
	own, err := re.own()
	if err != nil {
		return nil, err // without them a bundle could block this host
	}
	if name == "" {
		name = config.BundleFile
	}
	b, err := config.ParseBundle(name, files[config.BundleFile], files, re.host(),
		config.BundleOptions{Own: own, Now: re.ledger.Now()})
	if err != nil {
		return nil, api.Refuse("the bundle is refused; what is in force goes on", err)
	}
	return b, nil
}

// wishOf reads what a rollout asks for. Faults of the bundle are told at once, whatever else waits.
func (re *reader) wishOf(r api.RolloutRequest, files api.Files,
	parse func(string, api.Files) (*config.Bundle, error)) (wish, error) {
	w := wish{remove: r.Remove}
	if r.Stored != "" {
		var err error
		if w.bundle, err = re.archive.storedBundle(r.Stored); err == nil && r.Remove == w.bundle.Name {
			w.remove = ""
		}
		return w, err
	}
	if files == nil {
		if r.Remove == "" {
			return w, &api.Error{Code: api.CodeInvalid, Message: "the request has no bundle, and names none to take out"}
		}
		return w, nil
	}
	var err error
	if w.bundle, err = parse(r.Name, files); err != nil {
		return w, err
	}
	if r.Remove == w.bundle.Name { // it takes its own place
		w.remove = ""
	}
	return w, nil
}
