// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/migrate"
	"github.com/spillway/spillway/loader/pins"
)

// Links are the places of the root program on interfaces, and of the program that sees what leaves by them.
type Links struct {
	*site
	words  *Words
	egress *ebpf.Program            // nil when nothing was loaded
	fresh  atomic.Pointer[[]string] // see SetFresh; nil: nobody said
}

// The states of an attachment.
const (
	StateAttached = "attached"
	StateSevered  = "severed" // the device went away under the link
	StateMissing  = "missing" // no link is pinned
)

// Attachment is the root program's place on one interface.
type Attachment struct {
	Interface string // its name when it was attached; the device may have another by now
	Pin       string // of the link, as DetachInterface takes it
	Index     int
	Mode      string // native or generic
	ProgramID uint32
	LinkID    uint32
	State     string
	// Here is true when netlink names the same program on the device of that index: a link says nothing of the network
	// namespace in which its device is.
	Here bool
}

// Attach puts the root program on an interface and pins the link, or adopts the link that is there. It never replaces
// another XDP program. Errors: ErrNoDevice, ErrNoMAC, ErrForeignProgram, ErrPermission, ErrUnsupported.
func (ls *Links) Attach(name string, mode config.Attach) (Attachment, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return Attachment{}, fmt.Errorf("attach to %s: %w", name, ErrNoDevice)
	}
	all, err := attachments(ls.pins)
	if err != nil {
		return Attachment{}, err
	}
	pin := linkPin(iface.Index, name)
	for _, a := range all {
		if a.State == StateAttached && a.Here && a.Index == iface.Index {
			return a, nil // also when the device had another name then
		}
		// The pin outlives its device. A severed link holds nothing, and one to a device of that number elsewhere less.
		if a.Pin == pin || a.State == StateSevered && a.Names(name) {
			if err := pins.Remove(ls.pins.Link(a.Pin)); err != nil {
				return Attachment{}, err
			}
		}
	}
	if err := refuseWithoutMAC(iface.Index); err != nil {
		return Attachment{}, err
	}
	if err := refuseForeign(name, iface.Index); err != nil {
		return Attachment{}, err
	}
	if err := ls.provePinning(); err != nil {
		return Attachment{}, err
	}
	if err := ls.noteInterface(iface.Index); err != nil {
		return Attachment{}, err
	}
	flags := link.XDPDriverMode
	if mode == config.AttachGeneric {
		if err := genericIsSafe(); err != nil {
			return Attachment{}, fmt.Errorf("attach to %s: %w", name, err)
		}
		flags = link.XDPGenericMode
	}
	var l link.Link
	ls.words.unseen(func() {
		l, err = link.AttachXDP(link.XDPOptions{Program: ls.root.Program(), Interface: iface.Index, Flags: flags})
	})
	if err != nil {
		return Attachment{}, explainAttach(name, mode, err)
	}
	defer func() { _ = l.Close() }()
	if err := l.Pin(ls.pins.Link(pin)); err != nil {
		return Attachment{}, kernel.Explain("pin the link of "+name, err)
	}
	if err := ls.pins.KeepOwner(); err != nil {
		return Attachment{}, err
	}
	return attachmentAt(pin, ls.pins.Link(pin))
}

// linkPin is what the pin of a link is called: the device's number, which stays when it is renamed, and its name of
// then, for people and for a device that is gone. bpffs takes no dot in a name; VLAN devices have one.
func linkPin(index int, name string) string { return fmt.Sprintf("%d-%s", index, pinName(name)) }

func pinName(name string) string { return strings.ReplaceAll(name, ".", "_") }

// nameOfPin is the way back. Older pins have no number.
func nameOfPin(pin string) string {
	if number, name, ok := strings.Cut(pin, "-"); ok && name != "" {
		if _, err := strconv.ParseUint(number, 10, 31); err == nil {
			return name
		}
	}
	return pin
}

// Names reports whether the link was made under the name.
func (a Attachment) Names(name string) bool {
	return a.Interface == name || a.Interface == pinName(name)
}

// provePinning makes sure that a link could be pinned. An attached link that cannot be is detached again at once, and a
// first attach and a last detach reset the rings of most cards: that must not happen with every try.
func (ls *Links) provePinning() error {
	if err := ls.pins.Check(); err != nil {
		return fmt.Errorf("the pins went away under the agent; start it again: %w", err)
	}
	if err := os.MkdirAll(ls.pins.Links(), 0o700); err != nil {
		return kernel.Explain("make the pin folder", err)
	}
	trial := filepath.Join(ls.pins.Base(), "trial")
	if err := pins.Remove(trial); err != nil {
		return err
	}
	root, err := ls.root.Program().Clone()
	if err != nil {
		return kernel.Explain("try to pin", err)
	}
	defer func() { _ = root.Close() }()
	if err := root.Pin(trial); err != nil {
		return kernel.Explain("try to pin", err)
	}
	return pins.Remove(trial)
}

func explainAttach(name string, mode config.Attach, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("attach to %s: %w: %v", name, ErrForeignProgram, err)
	case mode != config.AttachGeneric && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) ||
		errors.Is(err, unix.ERANGE)):
		return fmt.Errorf("attach to %s: %w: its driver refuses native XDP here (%v): `spillway doctor %s` says why; `attach: generic` in the host file works on any interface, slower",
			name, kernel.ErrUnsupported, kernel.RootCause(err), name)
	}
	return kernel.Explain("attach to "+name, err)
}

// refuseForeign names whoever sits on the interface already.
func refuseForeign(name string, index int) error {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	xdp := l.Attrs().Xdp
	if xdp == nil || !xdp.Attached {
		return nil
	}
	whose := "of unknown name" // opening it by its id wants CAP_SYS_ADMIN
	if p, err := ebpf.NewProgramFromID(ebpf.ProgramID(xdp.ProgId)); err == nil {
		if info, err := p.Info(); err == nil {
			whose = fmt.Sprintf("%q", info.Name)
		}
		_ = p.Close()
	}
	return fmt.Errorf("attach to %s: %w: program %s, id %d: it is left alone; take it off with the tool that put it there",
		name, ErrForeignProgram, whose, xdp.ProgId)
}

// attachments are what the pinned links and netlink say, also of interfaces that are gone.
func attachments(p pins.Folder) ([]Attachment, error) { return eachLink(p, attachmentAt) }

// linked are what the pinned links alone say.
func linked(p pins.Folder) ([]Attachment, error) { return eachLink(p, linkedAt) }

func eachLink(p pins.Folder, at func(pin, path string) (Attachment, error)) ([]Attachment, error) {
	if p.Path == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(p.Links())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, kernel.Explain("list the pinned links", err)
	}
	var all []Attachment
	for _, e := range entries {
		a, err := at(e.Name(), p.Link(e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	old, err := migrate.RootlessLinks(p)
	if err != nil {
		return nil, err
	}
	for _, name := range old {
		a, err := at(name, migrate.RootlessLink(p, name))
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

func attachmentAt(pin, path string) (Attachment, error) {
	a, err := linkedAt(pin, path)
	if err != nil || a.State != StateAttached {
		return a, err
	}
	dev, err := DeviceByIndex(a.Index)
	if err != nil && !errors.Is(err, ErrNoDevice) {
		return a, err // whoever took the link for another device's would cut it
	}
	a.Mode, a.Here = dev.Has(a.ProgramID)
	return a, nil
}

func linkedAt(pin, path string) (Attachment, error) {
	name := nameOfPin(pin)
	a := Attachment{Interface: name, Pin: pin, State: StateMissing}
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return a, kernel.Explain("open the pinned link of "+name, err)
	}
	defer func() { _ = l.Close() }()
	info, err := l.Info()
	if err != nil {
		return a, kernel.Explain("look at the link of "+name, err)
	}
	a.LinkID, a.ProgramID, a.State = uint32(info.ID), uint32(info.Program), StateSevered
	if xdp := info.XDP(); xdp != nil && xdp.Ifindex != 0 {
		a.Index, a.State = int(xdp.Ifindex), StateAttached
	}
	return a, nil
}

// DetachInterface takes the root program off an interface that the host file no longer lists, by the pin of its link.
func (ls *Links) DetachInterface(pin string) (err error) {
	ls.words.unseen(func() { err = detachLink(ls.pins.Link(pin)) })
	if err != nil {
		return err
	}
	return ls.noteInterfaces()
}

// genericIsSafe refuses generic XDP below Linux 6.9, where it drops what it cannot linearise.
func genericIsSafe() error {
	major, minor, err := kernel.Version()
	if err != nil {
		return err
	}
	if major < 6 || major == 6 && minor < 9 {
		return fmt.Errorf("generic XDP: %w: below Linux 6.9 it drops packets that it cannot linearise", kernel.ErrUnsupported)
	}
	return nil
}
