// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
)

// Fresh tells the dataplane which interfaces a host file is the first to name, where that is on trial or was not
// accepted.
func (ln *Links) Fresh(d Wiring, f *hostfile.File) error { return d.SetFresh(freshIn(f)) }

func freshIn(f *hostfile.File) []string {
	if f.Since == nil {
		return nil
	}
	return f.Since.Host.NewInterfaces(f.Host)
}

// waits reports whether an interface is not attached yet: what decides would count there, for the kernel does not have
// the host file that is the first to name it.
func (ln *Links) waits(d Wiring, name string) bool {
	f := ln.File()
	if !f.Unpublished || !slices.Contains(freshIn(f), name) {
		return false
	}
	_, linked := ln.linked(d, name)
	return !linked
}

// AttachNamed attaches to all interfaces of the host file.
func (ln *Links) AttachNamed(d Wiring) {
	for _, i := range ln.Host().Interfaces {
		if !ln.waits(d, i.Name) {
			ln.Attach(d, i)
		}
	}
}

// AttachFresh attaches to those that waited for the host file to be in force.
func (ln *Links) AttachFresh(d Wiring) {
	fresh := freshIn(ln.File())
	for _, i := range ln.Host().Interfaces {
		if slices.Contains(fresh, i.Name) {
			ln.Attach(d, i)
		}
	}
}

// AttachNew attaches to interfaces that the new host file adds. One that does not exist yet is attached when it comes;
// any other failure undoes the rest and refuses the file.
func (ln *Links) AttachNew(d Wiring, old, next *config.Host) (attached []string, err error) {
	for _, name := range hostfile.Gone(next, old) {
		i := next.Interfaces[slices.IndexFunc(next.Interfaces, func(i config.Interface) bool { return i.Name == name })]
		got, linked := ln.linked(d, i.Name)
		var err error
		if !linked {
			got, err = d.Attach(i.Name, i.Attach)
		}
		if errors.Is(err, loader.ErrNoDevice) {
			continue
		}
		if err != nil {
			ln.Detach(d, attached)
			return nil, &api.Error{Code: api.CodeRefused, Message: "the old host file goes on: " + err.Error(),
				Fix: ledger.Fix(err)}
		}
		ln.noteAttached(got, name, !linked)
		attached = append(attached, name)
	}
	return attached, nil
}

// Detach takes the root program off interfaces that the host file in force does not name. One that it names under the
// device's new name keeps its link.
func (ln *Links) Detach(d Wiring, names []string) (detail []string) {
	if len(names) == 0 {
		return nil
	}
	links, err := ln.unnamed(d)
	if err != nil {
		return []string{err.Error()}
	}
	for _, name := range names {
		for _, at := range links {
			if !ln.isLinkOf(at, name) {
				continue
			}
			if err := d.DetachInterface(at.Pin); err != nil {
				ln.Log.Error("an interface stays attached", "interface", name, "error", err)
				detail = append(detail, err.Error())
				continue
			}
			detail = append(detail, fmt.Sprintf("detached from %s", name))
		}
		ln.forgetAttached(name)
		ln.mu.Lock()
		delete(ln.all, name)
		ln.mu.Unlock()
	}
	return detail
}
