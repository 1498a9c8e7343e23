// SPDX-License-Identifier: Apache-2.0

package stages

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
	chance func() bool
	kernel bool // the kernel part refuses now and then
	disk   bool // the disk does
	killIn int  // calls until the process dies; 0: it does not
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

// lane is what the kernel compares, and what it counted.
type lane struct {
	on     bool
	to     loader.Comparison
	counts loader.LaneCounts
}

// fakeKernel is the kernel part: it outlives processes, and a reboot empties it.
type fakeKernel struct {
	*trouble
	mono      *time.Duration
	control   loader.Control
	slots     [bpf.Slots]*compile.Image
	host      *compile.HostInfo
	lease     time.Duration // by mono; 0: none
	tripped   uint32
	spent     [loader.Lanes][2]uint32
	lanes     [loader.Lanes]lane
	beside    uint8
	bypass    bool
	meanwhile int // how often the word is another by the time a host file was built
}

func (k *fakeKernel) Control() loader.Control { return k.control }

func (k *fakeKernel) Generations() ([]loader.GenerationInfo, error) {
	if err := k.touch(k.kernel, unix.EAGAIN); err != nil {
		return nil, err
	}
	var all []loader.GenerationInfo
	for slot := uint8(1); slot < bpf.Slots; slot++ {
		if img := k.slots[slot]; img != nil {
			all = append(all, loader.GenerationInfo{Slot: slot, Role: k.control.Role(slot), Number: img.Number(),
				Digest: img.Digest(), Rows: config.Counts{"rules": 2}})
		}
	}
	return all, nil
}

func (k *fakeKernel) Host() (*compile.HostInfo, error) {
	if k.meanwhile > 0 {
		k.meanwhile--
		k.control.Epoch++
	}
	return k.host, k.touch(k.kernel, unix.EAGAIN)
}

func (k *fakeKernel) Attachments() ([]loader.Attachment, error) { return nil, nil }
func (k *fakeKernel) RootID() (uint32, error)                   { return 3, nil }
func (k *fakeKernel) ServiceBypass(uint8) loader.Deadline       { return 0 }
func (k *fakeKernel) Heartbeat() time.Duration                  { return 0 }
func (k *fakeKernel) VerifyWiring() ([]compile.Drift, error)    { return nil, nil }
func (k *fakeKernel) Tripped() loader.Trips                     { return k.trips() }
func (k *fakeKernel) SetTripped(number uint32)                  { k.tripped = number }
func (k *fakeKernel) SetBaked(uint32)                           {}
func (k *fakeKernel) Conntrack() error                          { return nil }
func (k *fakeKernel) Unanswered() (map[int]bool, error)         { return nil, nil }

func (k *fakeKernel) trips() loader.Trips { return loader.Trips{Ended: k.tripped, Spent: k.spent} }

// spend has a generation use up its budget.
func (k *fakeKernel) spend(number uint32) { k.spent[loader.LaneMain][0] = number }

func (k *fakeKernel) Bypass() loader.Deadline {
	if k.bypass {
		return loader.DeadlineForever
	}
	return 0
}

func (k *fakeKernel) Lease() loader.Deadline {
	if k.lease == 0 {
		return 0
	}
	return loader.Present() + loader.Deadline(k.lease-*k.mono)
}

func (k *fakeKernel) Build(img *compile.Image, beside ...uint8) (uint8, error) {
	if err := k.touch(k.kernel, unix.ENOMEM); err != nil {
		return 0, err
	}
	for slot := uint8(1); slot < bpf.Slots; slot++ {
		if k.control.Role(slot) != loader.RoleIdle || slices.Contains(beside, slot) || slot == k.beside {
			continue
		}
		k.slots[slot] = img
		return slot, nil
	}
	return 0, errors.New("no spare slot")
}

func (k *fakeKernel) BuildHost(*compile.HostImage) (uint8, error) {
	return 3 - max(1, k.control.Host), k.touch(k.kernel, unix.ENOMEM)
}

func (k *fakeKernel) VerifyHost(*compile.HostImage) ([]compile.Drift, error) { return nil, nil }

func (k *fakeKernel) NextNumber() (uint32, error) {
	highest := uint32(0)
	for _, img := range k.slots {
		if img != nil {
			highest = max(highest, img.Number())
		}
	}
	return highest + 1, k.touch(k.kernel, unix.EAGAIN)
}

// change is one compare-and-swap: a process dies before it or after it.
func (k *fakeKernel) change(next loader.Control, err error) (loader.Control, error) {
	if err = errors.Join(err, k.touch(k.kernel, unix.EPERM)); err != nil {
		return k.control, err
	}
	k.control = next
	_ = k.touch(false, nil)
	return next, nil
}

func (k *fakeKernel) Publish(c loader.Change) (loader.Control, error) {
	next, err := k.change(k.control.Publish(c))
	if err == nil && c.Host != nil {
		k.host = &compile.HostInfo{Number: 1,
			Services: []compile.ServiceInfo{{ID: 1, Name: "web", Kind: "tls", Tag: loader.TagOf("web")}}}
	}
	return next, err
}

func (k *fakeKernel) Promote() (loader.Control, error)  { return k.change(k.control.Promote()) }
func (k *fakeKernel) Withdraw() (loader.Control, error) { return k.change(k.control.Withdraw()) }

func (k *fakeKernel) DropGenerations() (loader.Control, error) {
	return k.change(k.control.DropGenerations())
}

func (k *fakeKernel) Compare(l loader.Lane, to loader.Comparison) error {
	if err := k.touch(k.kernel, unix.EAGAIN); err != nil {
		return err
	}
	was := &k.lanes[l]
	if was.to.New != to.New {
		was.counts = loader.LaneCounts{New: to.New, Arms: was.counts.Arms}
	}
	if was.to.Run != to.Run {
		was.counts = loader.LaneCounts{New: to.New}
	}
	was.on, was.to = true, to
	return nil
}

func (k *fakeKernel) Stop(l loader.Lane) error {
	k.lanes[l].on = false
	return k.touch(k.kernel, unix.EAGAIN)
}

func (k *fakeKernel) Running(l loader.Lane) (loader.Comparison, bool) {
	return k.lanes[l].to, k.lanes[l].on
}

func (k *fakeKernel) Counts(l loader.Lane) (loader.LaneCounts, error) {
	c := k.lanes[l].counts
	c.Pairs = slices.Clone(c.Pairs)
	return c, k.touch(k.kernel, unix.EAGAIN)
}

func (k *fakeKernel) SetBeside(slot uint8) error {
	if err := k.touch(k.kernel, unix.EAGAIN); err != nil {
		return err
	}
	k.beside = slot
	return nil
}

func (k *fakeKernel) Beside() uint8 { return k.beside }

// number is that of the generation in a slot.
func (k *fakeKernel) number(slot uint8) uint32 {
	if img := k.slots[slot]; img != nil {
		return img.Number()
	}
	return 0
}

// decides is the candidate's share as packets meet it.
func (k *fakeKernel) decides() (number uint32, share uint16) {
	if k.control.Candidate == bpf.SlotEmpty || k.lease <= *k.mono || k.tripped == k.number(k.control.Candidate) {
		return 0, 0
	}
	return k.number(k.control.Candidate), k.control.Canary
}

// reboot leaves nothing but the disk.
func (k *fakeKernel) reboot() {
	*k = fakeKernel{trouble: k.trouble, mono: k.mono}
}

// fakeLease is the heartbeat, by the simulation's clock.
type fakeLease struct {
	k      *fakeKernel
	number uint32
	length time.Duration
	until  time.Duration
	lapsed uint32
	slept  time.Duration
}

func (l *fakeLease) begin(number uint32, lease time.Duration, until loader.Deadline) {
	l.number, l.length, l.until = number, lease, *l.k.mono+until.Left().Round(time.Millisecond)
}

func (l *fakeLease) Hold(number uint32, lease time.Duration, until loader.Deadline) {
	l.begin(number, lease, until)
	l.k.lease = min(*l.k.mono+lease, l.until)
}

func (l *fakeLease) GoOn(number uint32, lease time.Duration, until loader.Deadline) bool {
	l.begin(number, lease, until)
	l.Renew()
	return l.lapsed != number
}

func (l *fakeLease) Renew() {
	switch {
	case l.length <= 0:
	case l.k.lease > *l.k.mono:
		l.k.lease = min(*l.k.mono+l.length, l.until)
	case l.k.lease < l.until:
		l.k.tripped, l.lapsed, l.length = l.number, l.number, 0
	}
}

func (l *fakeLease) Release()             { l.length, l.k.lease = 0, 0 }
func (l *fakeLease) Lapsed() uint32       { return l.lapsed }
func (l *fakeLease) Stopped() bool        { return false }
func (l *fakeLease) Slept() time.Duration { return l.slept }

func (l *fakeLease) TakeSlept() time.Duration {
	defer func() { l.slept = 0 }()
	return l.slept
}
