// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"slices"
	"strings"

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
	linked := a.linked(d, i.Name)
	if until := a.attachHeld(i.Name); !linked && !until.IsZero() {
		a.notAttached(i.Name, heldAttach(i.Name, until))
		return false
	}
	got, err := d.Attach(i.Name, i.Attach)
	if err != nil {
		a.notAttached(i.Name, &api.Problem{Code: "attach", Message: err.Error(), Fix: fixOf(err)})
		return false
	}
	a.noteAttached(got, i.Name, !linked)
	a.mu.Lock()
	p := a.place(i.Name)
	repaired := p.ever && !p.attached
	*p = place{attached: true, ever: true}
	if repaired {
		a.repairs["link"]++
	}
	a.mu.Unlock()
	a.log.Info("attached", "interface", i.Name, "mode", got.Mode, "program", got.ProgramID, "link", got.LinkID)
	return true
}

// notAttached keeps why an interface is not protected, and says it once.
func (a *agent) notAttached(name string, problem *api.Problem) {
	a.mu.Lock()
	p := a.place(name)
	first := p.problem == nil || p.problem.Message != problem.Message
	problem.Since = a.now().UTC()
	if p.problem != nil {
		problem.Since = p.problem.Since
	}
	p.attached, p.problem = false, problem
	p.retry.failed(a.now())
	a.mu.Unlock()
	if first {
		a.log.Error("an interface is not protected", "interface", name, "error", problem.Message, "fix", problem.Fix)
	}
}

// linked reports whether an interface has a link that holds: to attach is then to adopt it.
func (a *agent) linked(d dataplane, name string) bool {
	all, err := d.Attachments()
	return err == nil && slices.ContainsFunc(all, func(at loader.Attachment) bool {
		return at.Interface == name && at.State == loader.StateAttached && a.sameDevice(at)
	})
}

// watchLinks attaches again where a link was cut: a device that was deleted and came back.
func (a *agent) watchLinks(d dataplane, hurry bool) error {
	all, err := d.Attachments()
	if err != nil {
		return err
	}
	live := map[string]bool{}
	for _, at := range all {
		live[at.Interface] = at.State == loader.StateAttached && a.sameDevice(at)
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

// sameDevice reports whether a link holds the device that has its name now, and netlink agrees. A device may be renamed or
// go to another network namespace, and another take its name; the link goes with the device.
func (a *agent) sameDevice(at loader.Attachment) bool {
	d, err := a.opts.network.DeviceByName(at.Interface)
	return err == nil && d.Index == at.Index && at.Here
}

// unnamed returns the pinned links to interfaces that the host file does not name.
func (a *agent) unnamed(d dataplane) ([]loader.Attachment, error) {
	all, err := d.Attachments()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(at loader.Attachment) bool {
		return slices.ContainsFunc(a.hostFile().Interfaces, func(i config.Interface) bool { return i.Name == at.Interface })
	}), nil
}

// detachUnnamed does what reload does with an interface that was taken out of the host file, when it was taken out while
// no agent ran, or could not be detached then. It leaves a link alone that this state did not make: whoever made it may
// still need it. The change lock is held.
func (a *agent) detachUnnamed(d dataplane) {
	links, err := a.unnamed(d)
	if err != nil || len(links) == 0 {
		if err == nil {
			a.clearProblem(problemUnnamed)
		}
		return
	}
	e := a.entry(itself(), "reload", "the host file no longer names what was attached")
	var left []string
	for _, at := range links {
		if !a.made(at) {
			left = append(left, at.Interface+": this state did not attach it")
			continue
		}
		if err := d.DetachInterface(at.Interface); err != nil {
			left = append(left, err.Error())
			continue
		}
		a.forgetAttached(at.Interface)
		e.Detail = append(e.Detail, "detached from "+at.Interface)
	}
	if len(left) > 0 {
		a.setProblem(problemUnnamed, "still attached, although the host file does not name it: "+strings.Join(left, "; "),
			"name it in the host file, or stop the agent and run `spillway detach`")
	} else {
		a.clearProblem(problemUnnamed)
	}
	if len(e.Detail) > 0 {
		e.Outcome = api.OutcomeDone
		a.audit(e)
	}
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
