// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
)

// AsRoot is the command that reads and switches what only root may open.
const AsRoot = "run as root: sudo spillway status; to let everything pass: sudo spillway bypass on"

// interfaces compares each interface with netlink: only its word says what packets meet there.
func (j *judge) interfaces() {
	for _, i := range j.Interfaces {
		out := j.interfaceOf(i)
		if p, ok := j.Attach[i.Name]; ok && out.State != loader.StateAttached && out.State != api.InterfaceUnknown {
			if out.State != api.InterfaceForeign {
				out.State = api.InterfaceFailed
			}
			out.Problem, out.Fix = p.Message, p.Fix
			j.v.Problems = append(j.v.Problems, p)
		} else if out.Problem != "" {
			code := map[string]string{api.InterfaceForeign: "foreign_program", api.InterfaceUnknown: "kernel_read"}[out.State]
			if code == "" {
				code = "not_attached"
			}
			j.problem(code, out.Problem, out.Fix)
		}
		j.v.Interfaces = append(j.v.Interfaces, out)
	}
	if len(j.Interfaces) == 0 {
		j.problem("not_attached", "no interface is attached, and no host file names one", j.start())
	}
	j.decide()
}

// decide says of each interface whether its packets are decided upon, and whether that protects.
func (j *judge) decide() {
	if j.Behind != "" {
		return
	}
	k := *j
	k.idle()
	k.bundleIdle()
	reads := len(k.unreadParts()) == 0 && !k.rewired()
	for n := range j.v.Interfaces {
		i := &j.v.Interfaces[n]
		i.Decides = i.State == loader.StateAttached && reads && (k.v.Idle == "" && k.v.BundleIdle == "" || k.observes())
		i.Protected = i.Decides && k.v.Idle == ""
	}
}

// observes reports whether all is as in enforce but for the mode, which lets pass what would be blocked.
func (j *judge) observes() bool {
	enforcing := *j
	enforcing.Control.Mode = modeEnforce
	enforcing.v = Verdict{}
	enforcing.idle()
	enforcing.bundleIdle()
	return enforcing.v.BundleIdle == ""
}

func (j *judge) interfaceOf(i Interface) api.Interface {
	out := api.Interface{Name: i.Name, Index: i.Device.Index}
	if i.Device.Name != "" && i.Device.Name != i.Name {
		out.Now = i.Device.Name
		j.problem("renamed",
			fmt.Sprintf("interface %s of the host file is called %s now; what is attached to it goes on", i.Name, out.Now),
			fmt.Sprintf("write %s into the host file, then: spillway reload (nothing is attached anew)", out.Now))
	}
	link, linked := j.link(i)
	if linked {
		out.LinkID = link.LinkID
	}
	mode, ours := i.Device.Has(j.Root)
	switch {
	case errors.Is(i.Err, loader.ErrNoDevice):
		out.State, out.Problem = loader.StateMissing, "there is no interface "+i.Name+" here"
		if linked && link.State == loader.StateAttached {
			out.Problem += fmt.Sprintf(
				"; its link holds a device with index %d, in another network namespace or under another name",
				link.Index)
		}
		out.Fix = "it is attached as soon as the interface appears; correct its name in the host file if it never will"
		if j.Agent != Answers { // nobody is there to attach
			out.Fix = j.start() + "; it attaches as soon as the interface appears; or correct its name in the host file"
		}
		j.bare = append(j.bare, i.Name)
	case i.Err != nil:
		out.State, out.Fix = api.InterfaceUnknown, FixOf(i.Err)
		out.Problem = fmt.Sprintf("netlink does not say what is attached to %s: %v", i.Name, i.Err)
		j.uncertain = append(j.uncertain, i.Name)
	case len(i.Device.Programs) == 0:
		out.State, out.Problem, out.Fix = loader.StateMissing, "nothing is attached to "+i.Name+
			": everything passes there", j.start()
		if linked && link.State == loader.StateSevered {
			out.State = loader.StateSevered
		}
		j.bare = append(j.bare, i.Name)
	case ours && !i.Device.ReadsFrames():
		out.State, out.Mode, out.ProgramID, out.LinkID = api.InterfaceFailed, mode, j.Root, link.LinkID
		out.Problem, out.Fix = i.Device.WithoutMAC(), loader.FixWithoutMAC
		j.bare = append(j.bare, i.Name)
	case ours && len(i.Device.Programs) == 1:
		out.State, out.Mode, out.ProgramID = loader.StateAttached, mode, j.Root
		out.ResetIsDrop = j.Unanswered[i.Device.Index] && j.resets()
		j.attached = append(j.attached, i.Name)
		return out
	default:
		out.State, out.Mode, out.ProgramID = api.InterfaceForeign, i.Device.Programs[0].Mode, i.Device.Programs[0].ID
		out.Problem, out.Fix = j.foreign(i), AsRoot
		j.uncertain = append(j.uncertain, i.Name)
	}
	j.v.Gaps = append(j.v.Gaps, out.Problem)
	if out.State == api.InterfaceForeign || out.State == api.InterfaceUnknown {
		j.v.Unknown = append(j.v.Unknown, out.Problem)
	}
	return out
}

// resets reports whether a policy in force resets.
func (j *judge) resets() bool {
	g, ok := j.inForce()
	return ok && slices.ContainsFunc(j.services(), func(s compile.ServiceInfo) bool { return g.Blocking.Resets[s.Tag] })
}

// foreign says that something else is on the card than what is pinned: what it does is not known.
func (j *judge) foreign(i Interface) string {
	if j.Unread[PartRoot] != nil {
		return fmt.Sprintf("program %d is attached to %s, and the pinned one cannot be read to compare: "+
			"whether it is that one is not known", i.Device.Programs[0].ID, i.Name)
	}
	var ids []string
	for _, p := range i.Device.Programs {
		if p.ID != j.Root {
			ids = append(ids, fmt.Sprint(p.ID))
		}
	}
	return fmt.Sprintf("another program (id %s) is attached to %s, and it cannot be read from here",
		strings.Join(ids, ", "), i.Name)
}

// link returns the pinned link of a device: the one that holds its number, else the one that has its name.
func (j *judge) link(i Interface) (loader.Attachment, bool) {
	for _, l := range j.Links {
		if i.Err == nil && l.State == loader.StateAttached && l.Index == i.Device.Index {
			return l, true
		}
	}
	for _, l := range j.Links {
		if l.Interface == i.Name {
			return l, true
		}
	}
	return loader.Attachment{}, false
}
