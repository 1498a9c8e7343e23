// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"errors"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// Predecessor is the dataplane of an earlier layout that decides, while this build's is made beside it. It goes on to
// decide until the new one takes over.
type Predecessor struct {
	Layout uint64
	Mode   bpf.Mode
	// Stable and Previous are what its generations were compiled from; nil for none. Where Known is false its slots could
	// not be read (up to layout 2 they had no pins, and opening them otherwise wants CAP_SYS_ADMIN).
	Known            bool
	Stable, Previous *Resident
	// Links are the interfaces whose link the take-over changes, because their root program is not the one that stays for
	// ever. Some drivers close and open the card for that.
	Links []string
	// Bypasses of services, by name: until when, by CLOCK_MONOTONIC.
	Bypasses map[string]uint64
	Source
}

// Resident is a generation of a predecessor.
type Resident struct {
	Number uint32
	Digest [32]byte
}

// Source is what is read of a predecessor's maps.
type Source interface {
	Seed() [2]uint64
	Bans() (map[bpf.Prefix6Key]bpf.Ban, error)
	Vouched() (map[bpf.VouchedKey]uint64, error)
	Flows(visit func(bpf.FlowKey, bpf.Flow)) error // visits connections
	Close() error
}

// Open opens the dataplane of a layout whose maps are not of this build's shape; nil when it is another's.
func Open(folder pins.Folder, number uint64) (*Predecessor, error) {
	if number == pins.Layout2 {
		return openRootless(folder)
	}
	if of, ok := shapes[number]; ok {
		return openRooted(folder, of)
	}
	return nil, nil
}

// CopyBans copies what is banned, and returns how many rows that were.
func CopyBans(from Source, to *ebpf.Map) (int, error) {
	bans, err := from.Bans()
	if err != nil {
		return 0, err
	}
	for key, ban := range bans {
		if err := to.Put(key, ban); err != nil {
			return 0, kernel.Explain("carry over the ban of "+compile.FormatPrefix(key), err)
		}
	}
	return len(bans), nil
}

// CopyVouched copies the sources that are vouched for, and returns the last moment at which one of them is.
func CopyVouched(from Source, to *ebpf.Map) (last uint64, err error) {
	vouched, err := from.Vouched()
	if err != nil {
		return 0, err
	}
	for key, end := range vouched {
		if err := to.Put(key, end); err != nil {
			return 0, kernel.Explain("carry over a vouched source", err)
		}
		last = max(last, end)
	}
	return last, nil
}

// CopyBlocked copies the connections that a predecessor blocks, as judged at another time: with its next packet each is
// scored again by what is in force then. Connections that pass need not be copied: no new block begins in the middle of
// one. keys are those of the dataplane whose map it is.
func CopyBlocked(from Source, to *ebpf.Map, keys *bpf.NameKeys) error {
	var blocked []bpf.FlowName
	var values []bpf.Flow
	err := from.Flows(func(key bpf.FlowKey, f bpf.Flow) {
		if f.Verdict == uint8(bpf.VerdictPass) {
			return
		}
		f.Epoch = ^uint32(0) // of no control word
		f.BanEpoch = ^uint32(0)
		f.Saddr, f.Daddr = key.Saddr, key.Daddr
		blocked, values = append(blocked, key.Name(keys)), append(values, f)
	})
	if err != nil {
		return kernel.Explain("read the blocked connections", err)
	}
	for i, name := range blocked {
		err := to.Update(name, values[i], ebpf.UpdateNoExist)
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return kernel.Explain("carry over a blocked connection", err)
		}
	}
	return nil
}
