// SPDX-License-Identifier: Apache-2.0

package releasetest

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

// Kernel is the kernel part: it outlives processes, and a reboot empties it.
type Kernel struct {
	*Trouble
	Mono      *time.Duration // the machine's clock
	Word      loader.Control
	Images    [bpf.Slots]*compile.Image
	HostFile  *compile.HostInfo
	Hosts     [bpf.Slots]*compile.HostImage
	LeaseEnds time.Duration // by Mono; 0: none
	Trips     loader.Trips
	Lanes     [loader.Lanes]Lane
	Stands    uint8 // the slot beside the candidate's
	Bypassed  bool
	Full      bool   // no prefix that is not known finds room
	Above     uint32 // numbers of generations begin above it
	Meanwhile int    // how often the word is another by the time a host file was built
	nobody    uint64
}

// Control returns the control word.
func (k *Kernel) Control() loader.Control { return k.Word }

// Generations are what is in slots.
func (k *Kernel) Generations() ([]loader.GenerationInfo, error) {
	if err := k.Touch(k.Trouble.Kernel, unix.EAGAIN); err != nil {
		return nil, err
	}
	var all []loader.GenerationInfo
	for slot := uint8(1); slot < bpf.Slots; slot++ {
		if img := k.Images[slot]; img != nil {
			all = append(all, loader.GenerationInfo{Slot: slot, Role: k.Word.Role(slot), Number: img.Number(),
				Digest: img.Digest(), Rows: config.Counts{"rules": 2}})
		}
	}
	return all, nil
}

// Host is the host file.
func (k *Kernel) Host() (*compile.HostInfo, error) {
	if k.Meanwhile > 0 {
		k.Meanwhile--
		k.Word.Epoch++
	}
	return k.HostFile, k.Touch(k.Trouble.Kernel, unix.EAGAIN)
}

// Attachments are none.
func (k *Kernel) Attachments() ([]loader.Attachment, error) { return nil, nil }

// RootID is that of the root program.
func (k *Kernel) RootID() (uint32, error) { return 3, nil }

// ServiceBypass is none.
func (k *Kernel) ServiceBypass(uint8) loader.Deadline { return 0 }

// Heartbeat is now.
func (k *Kernel) Heartbeat() time.Duration { return 0 }

// Linked are none, too.
func (k *Kernel) Linked() ([]loader.Attachment, error) { return nil, nil }

// VerifyWiring finds no fault.
func (k *Kernel) VerifyWiring() ([]compile.Drift, error) { return nil, nil }

// VerifyDeciding finds none either.
func (k *Kernel) VerifyDeciding() ([]compile.Drift, error) { return nil, nil }

// Tripped are those that decide no more.
func (k *Kernel) Tripped() loader.Trips { return k.Trips }

// SetTripped ends a candidate.
func (k *Kernel) SetTripped(number uint32) { k.Trips.Ended = number }

// SetBaked changes nothing here.
func (k *Kernel) SetBaked(uint32) {}

// Conntrack is there.
func (k *Kernel) Conntrack() error { return nil }

// Unanswered are none.
func (k *Kernel) Unanswered() (map[int]bool, error) { return nil, nil }

// Bypass is for ever, or off.
func (k *Kernel) Bypass() loader.Deadline {
	if k.Bypassed {
		return loader.DeadlineForever
	}
	return 0
}

// Lease is the candidate's deadline, by the real clock.
func (k *Kernel) Lease() loader.Deadline {
	if k.LeaseEnds == 0 {
		return 0
	}
	return loader.Present() + loader.Deadline(k.LeaseEnds-*k.Mono)
}

// Now is the machine's clock.
func (k *Kernel) Now() time.Duration { return *k.Mono }

// Ends is when the lease does.
func (k *Kernel) Ends() time.Duration { return k.LeaseEnds }

// SetEnds grants a lease, or takes it.
func (k *Kernel) SetEnds(at time.Duration) { k.LeaseEnds = at }

// Build puts a generation into a slot that nothing names.
func (k *Kernel) Build(img *compile.Image, beside ...uint8) (uint8, error) {
	if err := k.Touch(k.Trouble.Kernel, unix.ENOMEM); err != nil {
		return 0, err
	}
	for slot := uint8(1); slot < bpf.Slots; slot++ {
		if k.Word.Role(slot) != loader.RoleIdle || slices.Contains(beside, slot) || slot == k.Stands {
			continue
		}
		k.Images[slot] = img
		return slot, nil
	}
	return 0, errors.New("no spare slot")
}

// Adopt takes what a child built.
func (k *Kernel) Adopt(t loader.Tasted, beside ...uint8) (uint8, error) {
	img, err := compile.Bundle(&config.Bundle{Digest: t.Digest}, compile.Context{}.Image(), t.Number, compile.Clock{})
	if err != nil {
		return 0, err
	}
	return k.Build(img, beside...)
}

// Capacity is the default's.
func (k *Kernel) Capacity() config.Capacity { return config.DefaultHost().Capacity }

// BuildHost puts a host file into the spare slot.
func (k *Kernel) BuildHost(img *compile.HostImage) (uint8, error) {
	slot := 3 - max(1, k.Word.Host)
	err := k.Touch(k.Trouble.Kernel, unix.ENOMEM)
	if err == nil {
		k.Hosts[slot] = img
	}
	return slot, err
}

// VerifyHost compares with what is published.
func (k *Kernel) VerifyHost(img *compile.HostImage) ([]compile.Drift, error) {
	err := k.Touch(k.Trouble.Kernel, unix.EAGAIN)
	if err != nil || img.Same(k.Hosts[k.Word.Host]) {
		return nil, err
	}
	return []compile.Drift{{Where: "the host file"}}, nil
}

// NextNumber is the next one.
func (k *Kernel) NextNumber() (uint32, error) {
	highest := k.Above
	for _, img := range k.Images {
		if img != nil {
			highest = max(highest, img.Number())
		}
	}
	return highest + 1, k.Touch(k.Trouble.Kernel, unix.EAGAIN)
}

// change is one compare-and-swap: a process dies before it or after it.
func (k *Kernel) change(next loader.Control, err error) (loader.Control, error) {
	if err = errors.Join(err, k.Touch(k.Trouble.Kernel, unix.EPERM)); err != nil {
		return k.Word, err
	}
	k.Word = next
	_ = k.Touch(false, nil)
	return next, nil
}

// Publish makes a change of the word.
func (k *Kernel) Publish(c loader.Change) (loader.Control, error) {
	next, err := k.change(k.Word.Publish(c))
	if err == nil && c.Host != nil {
		img := k.Hosts[*c.Host]
		k.HostFile = &compile.HostInfo{Number: img.Number()}
		for id := range uint8(bpf.ServicesMax) {
			if s := img.Service(id); s.Tag != 0 {
				k.HostFile.Services = append(k.HostFile.Services, compile.Service(id, s))
			}
		}
	}
	return next, err
}

// Promote makes the candidate stable.
func (k *Kernel) Promote() (loader.Control, error) { return k.change(k.Word.Promote()) }

// Withdraw ends the candidate.
func (k *Kernel) Withdraw() (loader.Control, error) { return k.change(k.Word.Withdraw()) }

// DropGenerations leaves nothing in force.
func (k *Kernel) DropGenerations() (loader.Control, error) {
	return k.change(k.Word.DropGenerations())
}

// SetBeside keeps the slot of the second candidate.
func (k *Kernel) SetBeside(slot uint8) error {
	if err := k.Touch(k.Trouble.Kernel, unix.EAGAIN); err != nil {
		return err
	}
	k.Stands = slot
	return nil
}

// Beside is that slot.
func (k *Kernel) Beside() uint8 { return k.Stands }

// Number is that of the generation in a slot; 0: none.
func (k *Kernel) Number(slot uint8) uint32 {
	if img := k.Images[slot&(bpf.Slots-1)]; img != nil {
		return img.Number()
	}
	return 0
}

// Decides is the candidate that decides, and for how many of a thousand sources.
func (k *Kernel) Decides() (number uint32, share uint16) {
	if k.Word.Candidate == bpf.SlotEmpty || k.LeaseEnds <= *k.Mono || k.Trips.Has(k.Number(k.Word.Candidate)) {
		return 0, 0
	}
	return k.Number(k.Word.Candidate), k.Word.Canary
}

// Reboot leaves nothing.
func (k *Kernel) Reboot() { *k = Kernel{Trouble: k.Trouble, Mono: k.Mono} }
