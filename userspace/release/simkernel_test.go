// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
)

// killed is thrown where a process dies.
type killed struct{}

// trouble decides, at each call of the kernel part or the disk, whether it fails or the process dies in it.
type trouble struct {
	chance func() bool // it fails
	kernel bool        // the kernel part refuses now and then
	disk   bool        // the disk does
	killIn int         // calls until the process dies; 0: it does not
}

func (t *trouble) touch(bad bool, err error) error {
	if t.killIn > 0 {
		if t.killIn--; t.killIn == 0 {
			panic(killed{})
		}
	}
	if bad && t.chance() {
		return err
	}
	return nil
}

// simKernel is the kernel part: it outlives processes, and a reboot empties it.
type simKernel struct {
	*trouble
	plant   string // the fault that is planted
	mono    *time.Duration
	control loader.Control
	slots   [bpf.Slots]*compile.Image
	host    *compile.HostInfo
	built   *config.Host // in the spare slot of host files
	shown   *config.Host // published
	next    func() *config.Host
	lease   time.Duration // by mono; 0: none
	tripped uint32
}

func (k *simKernel) Control() loader.Control { return k.control }

func (k *simKernel) Generations() ([]loader.GenerationInfo, error) {
	if err := k.touch(k.kernel, unix.EAGAIN); err != nil {
		return nil, err
	}
	var all []loader.GenerationInfo
	for slot := uint8(1); slot < bpf.Slots; slot++ {
		if img := k.slots[slot]; img != nil {
			all = append(all,
				loader.GenerationInfo{Slot: slot, Role: k.control.Role(slot), Number: img.Number(), Digest: img.Digest(),
					Rows: config.Counts{"rules": 2}})
		}
	}
	return all, nil
}

func (k *simKernel) Host() (*compile.HostInfo, error) { return k.host, k.touch(k.kernel, unix.EAGAIN) }

func (k *simKernel) Attachments() ([]loader.Attachment, error) { return nil, nil }
func (k *simKernel) RootID() (uint32, error)                   { return 3, nil }
func (k *simKernel) Bypass() loader.Deadline                   { return 0 }
func (k *simKernel) ServiceBypass(uint8) loader.Deadline       { return 0 }
func (k *simKernel) Heartbeat() time.Duration                  { return 0 }
func (k *simKernel) VerifyWiring() ([]compile.Drift, error)    { return nil, nil }
func (k *simKernel) Tripped() loader.Trips                     { return loader.Trips{Ended: k.tripped} }
func (k *simKernel) SetTripped(number uint32)                  { k.tripped = number }
func (k *simKernel) SetBaked(uint32)                           {}
func (k *simKernel) Conntrack() error                          { return nil }
func (k *simKernel) Unanswered() (map[int]bool, error)         { return nil, nil }

func (k *simKernel) Compare(loader.Lane, loader.Comparison) error        { return nil }
func (k *simKernel) Stop(loader.Lane) error                              { return nil }
func (k *simKernel) Running(loader.Lane) (c loader.Comparison, is bool)  { return c, false }
func (k *simKernel) Counts(loader.Lane) (c loader.LaneCounts, err error) { return c, nil }
func (k *simKernel) SetBeside(uint8) error                               { return nil }
func (k *simKernel) Beside() uint8                                       { return bpf.SlotEmpty }

func (k *simKernel) Lease() loader.Deadline {
	if k.lease == 0 {
		return 0
	}
	return loader.Present() + loader.Deadline(k.lease-*k.mono)
}

func (k *simKernel) Build(img *compile.Image, beside ...uint8) (uint8, error) {
	if err := k.touch(k.kernel, unix.ENOMEM); err != nil {
		return 0, err
	}
	for slot := uint8(1); slot < bpf.Slots; slot++ {
		if k.control.Role(slot) != loader.RoleIdle || slices.Contains(beside, slot) {
			continue
		}
		k.slots[slot] = img
		if k.plant == "a slot is not filled" && img.Number()%3 == 0 {
			k.slots[slot] = nil
		}
		return slot, nil
	}
	return 0, errors.New("no spare slot")
}

func (k *simKernel) BuildHost(*compile.HostImage) (uint8, error) {
	k.built = k.next()
	return 3 - max(1, k.control.Host), k.touch(k.kernel, unix.ENOMEM)
}

func (k *simKernel) VerifyHost(*compile.HostImage) ([]compile.Drift, error) {
	if k.shown != k.next() {
		return []compile.Drift{{Where: "host"}}, nil
	}
	return nil, k.touch(k.kernel, unix.EAGAIN)
}

func (k *simKernel) NextNumber() (uint32, error) {
	highest := uint32(0)
	for _, img := range k.slots {
		if img != nil {
			highest = max(highest, img.Number())
		}
	}
	return highest + 1, k.touch(k.kernel, unix.EAGAIN)
}

// change is one compare-and-swap: a process dies before it or after it.
func (k *simKernel) change(next loader.Control, err error) (loader.Control, error) {
	if err = errors.Join(err, k.touch(k.kernel, unix.EPERM)); err != nil {
		return k.control, err
	}
	k.control = next
	_ = k.touch(false, nil)
	return next, nil
}

func (k *simKernel) Publish(c loader.Change) (loader.Control, error) {
	next, err := k.change(k.control.Publish(c))
	if err == nil && c.Host != nil {
		k.shown = k.built
		k.host = &compile.HostInfo{Number: 1,
			Services: []compile.ServiceInfo{{ID: 1, Name: "web", Kind: "tls", Tag: loader.TagOf("web")}}}
	}
	return next, err
}

func (k *simKernel) Promote() (loader.Control, error) { return k.change(k.control.Promote()) }

func (k *simKernel) Withdraw() (loader.Control, error) {
	next, err := k.control.Withdraw()
	if k.plant == "a withdrawal changes nothing" {
		return next, err
	}
	return k.change(next, err)
}

func (k *simKernel) DropGenerations() (loader.Control, error) {
	if k.plant == "slots are emptied before the word" {
		k.slots = [bpf.Slots]*compile.Image{}
		return k.control, nil
	}
	return k.change(k.control.DropGenerations())
}

// reboot leaves nothing but the disk.
func (k *simKernel) reboot() {
	k.control, k.slots, k.host, k.shown, k.lease, k.tripped = loader.Control{}, [bpf.Slots]*compile.Image{}, nil, nil, 0, 0
}

// simLease is the heartbeat, by the simulation's clock.
type simLease struct {
	k      *simKernel
	number uint32
	length time.Duration
	until  time.Duration
	lapsed uint32
	slept  time.Duration
}

func (l *simLease) begin(number uint32, lease time.Duration, until loader.Deadline) {
	l.number, l.length, l.until = number, lease, *l.k.mono+until.Left()
}

func (l *simLease) Hold(number uint32, lease time.Duration, until loader.Deadline) {
	l.begin(number, lease, until)
	l.k.lease = min(*l.k.mono+lease, l.until)
}

func (l *simLease) GoOn(number uint32, lease time.Duration, until loader.Deadline) bool {
	l.begin(number, lease, until)
	if l.k.plant == "a dead lease goes on" {
		l.k.lease = min(*l.k.mono+lease, l.until)
	}
	l.Renew()
	return l.lapsed != number
}

func (l *simLease) Renew() {
	switch {
	case l.length <= 0:
	case l.k.lease > *l.k.mono:
		l.k.lease = min(*l.k.mono+l.length, l.until)
	case l.k.lease < l.until-time.Second: // In and Left read the real clock in between
		l.k.tripped, l.lapsed, l.length = l.number, l.number, 0
	}
}

func (l *simLease) Release()             { l.length, l.k.lease = 0, 0 }
func (l *simLease) Lapsed() uint32       { return l.lapsed }
func (l *simLease) Stopped() bool        { return false }
func (l *simLease) Slept() time.Duration { return l.slept }

func (l *simLease) TakeSlept() time.Duration {
	defer func() { l.slept = 0 }()
	return l.slept
}
