// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// tracking is how one load asks: its handles of the program and of the array in which it has an entry. The zero value
// asks nobody.
type tracking struct {
	program *ebpf.Program // nil where the pair was opened from its pins
	id      uint32        // of program
	next    *ebpf.Map
	index   uint32
}

func (t *tracker) tracking() (a tracking, err error) {
	if t == nil {
		return a, nil
	}
	a.index = t.index
	if a.id, err = kernel.ProgramID(t.program); err == nil {
		a.program, err = t.program.Clone()
	}
	if err == nil {
		a.next, err = t.next.Clone()
	}
	return a, kernel.Explain("hold what asks connection tracking", err)
}

func (a tracking) close() error {
	var errs []error
	if a.program != nil {
		errs = append(errs, a.program.Close())
	}
	if a.next != nil {
		errs = append(errs, a.next.Close())
	}
	return errors.Join(errs...)
}

// parts are what is pinned with the pair. The kernel empties a PROG_ARRAY when its last user reference goes, also while
// another set is pinned in its place.
func (a tracking) parts() []part {
	if a.next == nil {
		return nil
	}
	return []part{{pins.PinNext, func() (pinned, error) { return a.next.Clone() }}}
}

// fill puts the pair's payload program where the program goes on, and then the program where the pair asks.
func (a tracking) fill(p *pair) error {
	if a.program == nil {
		return nil
	}
	if err := a.next.Put(a.index, p.behind[behindPayload]); err != nil {
		return kernel.Explain("put the payload program behind what asks connection tracking", err)
	}
	return kernel.Explain("put what asks connection tracking behind the dataplane",
		p.array.Put(uint32(bpf.ProgramConntrack), a.program))
}

// sweep empties the entries of all other loads, once no packet is in them.
func (a tracking) sweep(log *slog.Logger) {
	if a.next == nil {
		return
	}
	var others []uint32
	for i := range uint32(bpf.ConntrackNextMax) {
		if id, err := kernel.EntryOf(a.next, i); err == nil && id != 0 && i != a.index {
			others = append(others, i)
		}
	}
	if len(others) == 0 {
		return
	}
	err := waitForPackets()
	for _, i := range others {
		if err == nil {
			err = a.next.Delete(i)
		}
	}
	if err != nil {
		log.Warn("what asks connection tracking knows programs of an earlier start", "error", err)
	}
}

// verify looks whether the pair still asks, and is gone on with.
func (a tracking) verify(p *pair) ([]compile.Drift, error) {
	if a.program == nil {
		return nil, nil
	}
	for _, look := range []struct {
		what string
		in   *ebpf.Map
		at   uint32
		want uint32
	}{
		{"what asks connection tracking", p.array, bpf.ProgramConntrack, a.id},
		{"the payload program behind what asks connection tracking", a.next, a.index, p.ids[behindPayload]},
	} {
		got, err := kernel.EntryOf(look.in, look.at)
		if err != nil {
			return nil, kernel.Explain("look for "+look.what, err)
		}
		if got != look.want {
			return []compile.Drift{drifted(compile.WherePrograms, fmt.Sprintf("%s, program %d", look.what, look.want),
				fmt.Sprintf("program %d", got))}, nil
		}
	}
	return nil, nil
}
