// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/retry"
)

// Links are the root program on the interfaces of the host file: attached, watched, attached again, and taken off.
type Links struct {
	*Options

	mu      sync.Mutex
	all     map[string]*place // by interface
	repairs map[string]uint64

	// These belong to the goroutine that ticks.
	lastWhole  time.Time           // when all of the wiring was looked at
	unsound    bool                // something was wrong with it at the last look
	links      []loader.Attachment // as they were then, without what netlink says
	live       map[string]bool     // interfaces, and whether their links held then
	lastEgress time.Time
	egressOn   []string // interfaces, then
}

// Repairs returns how often what was repaired.
func (ln *Links) Repairs() map[string]uint64 {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return maps.Clone(ln.repairs)
}

// problems say why an interface could not be attached to.
func (ln *Links) problems() map[string]api.Problem {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	out := map[string]api.Problem{}
	for name, p := range ln.all {
		if p.problem != nil {
			out[name] = *p.problem
		}
	}
	return out
}

// place is an interface of the host file, and how attaching to it went.
type place struct {
	attached bool
	ever     bool // it was attached before: another attach is a repair
	problem  *api.Problem
	retry    retry.Retry
}

// place returns the place of an interface; mu must be held.
func (ln *Links) place(name string) *place {
	p := ln.all[name]
	if p == nil {
		p = &place{}
		ln.all[name] = p
	}
	return p
}

// Attach attaches to one interface, or adopts the link that is there.
func (ln *Links) Attach(d Wiring, i config.Interface) bool {
	got, linked := ln.linked(d, i.Name)
	if !linked {
		if until := ln.attachHeld(i.Name); !until.IsZero() {
			ln.notAttached(i.Name, heldAttach(i.Name, until))
			return false
		}
		var err error
		if got, err = d.Attach(i.Name, i.Attach); err != nil {
			ln.notAttached(i.Name, &api.Problem{Code: "attach", Message: err.Error(), Fix: ledger.Fix(err)})
			return false
		}
	}
	ln.noteAttached(got, i.Name, !linked)
	ln.mu.Lock()
	p := ln.place(i.Name)
	repaired := p.ever && !p.attached
	*p = place{attached: true, ever: true}
	if repaired {
		ln.repairs["link"]++
	}
	ln.mu.Unlock()
	ln.Log.Info("attached", "interface", i.Name, "mode", got.Mode, "program", got.ProgramID, "link", got.LinkID)
	return true
}

// notAttached keeps why an interface is not protected, and says it once.
func (ln *Links) notAttached(name string, problem *api.Problem) {
	ln.mu.Lock()
	p := ln.place(name)
	first := p.problem == nil || p.problem.Message != problem.Message
	problem.Since = ln.Ledger.Now().UTC()
	if p.problem != nil {
		problem.Since = p.problem.Since
	}
	p.attached, p.problem = false, problem
	p.retry.Failed(ln.Ledger.Now())
	ln.mu.Unlock()
	if first {
		ln.Log.Error("an interface is not protected", "interface", name, "error", problem.Message, "fix", problem.Fix)
	}
}

// linked finds the link of an interface that has one which holds.
func (ln *Links) linked(d Wiring, name string) (loader.Attachment, bool) {
	all, err := d.Attachments()
	if err != nil {
		return loader.Attachment{}, false
	}
	i := slices.IndexFunc(all, func(at loader.Attachment) bool {
		return at.State == loader.StateAttached && ln.isLinkOf(at, name)
	})
	if i < 0 {
		return loader.Attachment{}, false
	}
	return all[i], true
}

// isLinkOf reports whether a link is that of an interface of the host file. Its name is resolved at the time: the
// device that has it now counts, and netlink must agree. Where no device has it, the one that was attached under it was
// renamed, and is followed by its number: a rename takes nothing off the card. A link whose device is gone is that of
// its old name.
func (ln *Links) isLinkOf(at loader.Attachment, name string) bool {
	if at.State != loader.StateAttached {
		return at.Names(name)
	}
	d, err := ln.Network.DeviceByName(name)
	if errors.Is(err, loader.ErrNoDevice) {
		return at.Here && at.Names(name)
	}
	return err == nil && at.Here && at.Index == d.Index
}

// liveOf are the interfaces of the host file, and whether their links hold.
func (ln *Links) liveOf(all []loader.Attachment) map[string]bool {
	live := map[string]bool{}
	for _, i := range ln.Host().Interfaces {
		live[i.Name] = slices.ContainsFunc(all, func(at loader.Attachment) bool {
			return at.State == loader.StateAttached && ln.isLinkOf(at, i.Name)
		})
	}
	return live
}

// differ reports whether links or interfaces are others than those that netlink was asked about last. A name or a
// device that changed under a link is an event, which hurries.
func (ln *Links) differ(links []loader.Attachment) bool {
	return !slices.Equal(links, ln.links) || slices.ContainsFunc(ln.Host().Interfaces, func(i config.Interface) bool {
		_, asked := ln.live[i.Name]
		return !asked
	})
}

// attachAgain attaches where a link was cut: a device that was deleted and came back. It reports whether there was
// nothing to do: netlink is asked again about what was attached now.
func (ln *Links) attachAgain(d Wiring, hurry bool) (allHeld bool) {
	allHeld = true
	for _, i := range ln.Host().Interfaces {
		ln.mu.Lock()
		p := ln.place(i.Name)
		if ln.live[i.Name] {
			p.attached, p.ever, p.problem = true, true, nil
			ln.mu.Unlock()
			continue
		}
		if p.attached {
			ln.Log.Error("the link of an interface was cut", "interface", i.Name)
			p.attached = false
			p.retry.Reset()
		}
		due := p.retry.Due(ln.Ledger.Now()) || hurry
		ln.mu.Unlock()
		allHeld = false
		if due && !ln.waits(d, i.Name) {
			ln.Attach(d, i)
		}
	}
	return allHeld
}

// unnamed returns the pinned links to interfaces that the host file does not name.
func (ln *Links) unnamed(d Wiring) ([]loader.Attachment, error) {
	all, err := d.Attachments()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(at loader.Attachment) bool {
		return slices.ContainsFunc(ln.Host().Interfaces, func(i config.Interface) bool { return ln.isLinkOf(at, i.Name) })
	}), nil
}

// DetachUnnamed does what reload does with an interface that was taken out of the host file, when it was taken out
// while no agent ran, or could not be detached then. It leaves a link alone that this state did not make: whoever made
// it may still need it. The change lock is held.
func (ln *Links) DetachUnnamed(d Wiring) {
	links, err := ln.unnamed(d)
	if err != nil || len(links) == 0 {
		if err == nil {
			ln.Ledger.ClearProblem(ledger.ProblemUnnamed)
		}
		return
	}
	e := ln.Ledger.Entry(ledger.Itself(), "reload", "the host file no longer names what was attached")
	var left []string
	for _, at := range links {
		if !ln.made(at) {
			left = append(left, at.Interface+": this state did not attach it")
			continue
		}
		if err := d.DetachInterface(at.Pin); err != nil {
			left = append(left, err.Error())
			continue
		}
		ln.forgetAttached(at.Interface)
		e.Detail = append(e.Detail, "detached from "+at.Interface)
	}
	if len(left) > 0 {
		ln.Ledger.SetProblem(ledger.ProblemUnnamed,
			"still attached, although the host file does not name it: "+strings.Join(left, "; "),
			"name it in the host file, or stop the agent and run `spillway detach`")
	} else {
		ln.Ledger.ClearProblem(ledger.ProblemUnnamed)
	}
	if len(e.Detail) > 0 {
		e.Outcome = api.OutcomeDone
		ln.Ledger.Audit(e)
	}
}

// LinkEvents tells when a network interface came, went or changed. A nil channel, when the kernel will not tell, leaves
// it to the poll.
func LinkEvents(ctx context.Context) <-chan struct{} {
	updates := make(chan netlink.LinkUpdate, 64)
	if err := netlink.LinkSubscribe(updates, ctx.Done()); err != nil {
		return nil
	}
	out := make(chan struct{}, 1)
	go func() {
		for range updates {
			select {
			case out <- struct{}{}:
			default: // one is waiting already, and it stands for all
			}
		}
	}()
	return out
}
