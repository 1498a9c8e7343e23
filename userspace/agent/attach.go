// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"github.com/vishvananda/netlink"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

// place is an interface of the host file, and how attaching to it went.
type place struct {
	attached bool
	ever     bool // it was attached before: another attach is a repair
	problem  *api.Problem
	retry    retry
}

// place returns the place of an interface; mu must be held.
func (a *agent) place(name string) *place {
	p := a.places[name]
	if p == nil {
		p = &place{}
		a.places[name] = p
	}
	return p
}

// attach attaches to one interface, or adopts the link that is there.
func (a *agent) attach(d dataplane, i config.Interface) bool {
	got, err := d.Attach(i.Name, i.Attach)
	a.mu.Lock()
	p := a.place(i.Name)
	if err == nil {
		repaired := p.ever && !p.attached
		*p = place{attached: true, ever: true}
		if repaired {
			a.repairs["link"]++
		}
		a.mu.Unlock()
		a.log.Info("attached", "interface", i.Name, "mode", got.Mode, "program", got.ProgramID, "link", got.LinkID)
		return true
	}
	first := p.problem == nil || p.problem.Message != err.Error()
	since := a.now().UTC()
	if p.problem != nil {
		since = p.problem.Since
	}
	p.attached = false
	p.problem = &api.Problem{Code: "attach", Message: err.Error(), Fix: fixOf(err), Since: since}
	p.retry.failed(a.now())
	a.mu.Unlock()
	if first {
		a.log.Error("an interface is not protected", "interface", i.Name, "error", err, "fix", fixOf(err))
	}
	return false
}

// watchLinks attaches again where a link was cut: a device that was deleted and came back.
func (a *agent) watchLinks(d dataplane, hurry bool) error {
	all, err := d.Attachments()
	if err != nil {
		return err
	}
	live := map[string]bool{}
	for _, at := range all {
		live[at.Interface] = at.State == loader.StateAttached
	}
	for _, i := range a.hostFile().Interfaces {
		a.mu.Lock()
		p := a.place(i.Name)
		if live[i.Name] {
			p.attached, p.ever, p.problem = true, true, nil
			a.mu.Unlock()
			continue
		}
		if p.attached {
			a.log.Error("the link of an interface was cut", "interface", i.Name)
			p.attached = false
			p.retry.reset()
		}
		due := p.retry.due(a.now()) || hurry
		a.mu.Unlock()
		if due {
			a.attach(d, i)
		}
	}
	return nil
}

// linkEvents tells when a network interface came, went or changed. A nil channel, when the kernel will not tell, leaves
// it to the poll.
func linkEvents(ctx context.Context) <-chan struct{} {
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
