// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader/kernel"
)

// ErrStale: this process remembers a failure of the kernel that may be over. Only another process can do better.
//
// The library asks the kernel for each of its features once, by trying, and remembers the answer for the life of the
// process. An answer that came in a bad moment (ENOMEM, E2BIG, EPERM under a lock that goes away) is remembered, too:
//
//	the token      no map can be made and no program be loaded any more
//	program BTF    the dataplane is loaded without function information, and then the verifier walks every global
//	               function at every call, up to its limit of a million instructions: more than a minute
//	object names   maps and programs have none
//
// So the library is made to ask before anything depends on the answers, with small objects that are gone afterwards,
// and what comes out is compared with what Linux 6.1 has. A good answer is remembered as well, so once is enough.
var ErrStale = errors.New("this process remembers a failure of the kernel that may be over, and cannot ask again")

var asked struct {
	sync.Mutex
	well bool
}

// ask makes the library ask for what the dataplane needs. A failure that is not remembered is over at the second try.
func ask() error {
	asked.Lock()
	defer asked.Unlock()
	if asked.well {
		return nil
	}
	first := askOnce()
	if first == nil {
		asked.well = true
		return nil
	}
	err := askOnce()
	switch {
	case err == nil:
		asked.well = true
		return nil
	case len(kernel.MissingCapabilities()) > 0 || !remembered(err):
		return kernel.Explain("ask the kernel what it can", err)
	}
	return fmt.Errorf("ask the kernel what it can: %w (%v)", ErrStale, err)
}

// errLacks: the library goes on without something that Linux 6.1 has.
var errLacks = errors.New("the library takes the kernel for one without")

// remembered reports whether a failure is the library's memory. Where the kernel does what the library says it cannot,
// it is; and a kernel of 6.1 has what is asked for.
func remembered(err error) bool {
	major, minor, verr := kernel.Version()
	if verr != nil || major < 6 || major == 6 && minor < 1 {
		return false
	}
	if errors.Is(err, errLacks) || errors.Is(err, ebpf.ErrNotSupported) {
		return true
	}
	return makesMaps() == nil
}

const probeName = "spillway_probe"

func askOnce() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: probeName, Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("make a map: %w", err)
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return fmt.Errorf("look at a map: %w", err)
	}
	if info.Name != probeName {
		return fmt.Errorf("%w object names", errLacks)
	}
	// Without linkage the global functions would be verified where they are called, not once.
	if o := btf.KernelMarshalOptions(); o.StripFuncLinkage || o.ReplaceEnum64 {
		return fmt.Errorf("%w linkage of functions, or ENUM64", errLacks)
	}
	return askProgram()
}

func askProgram() error {
	function := &btf.Func{Name: probeName, Linkage: btf.GlobalFunc, Type: &btf.FuncProto{
		Return: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}, Params: []btf.FuncParam{{Name: "ctx",
			Type: &btf.Pointer{Target: (*btf.Void)(nil)}}}}}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: probeName, Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{
			btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 2).WithSymbol(probeName), function), // XDP_PASS
			asm.Return(),
		}})
	if err != nil {
		return fmt.Errorf("load a program: %w", err)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return fmt.Errorf("look at a program: %w", err)
	}
	if _, ok := info.BTFID(); !ok {
		return fmt.Errorf("%w function information", errLacks)
	}
	return nil
}

// makesMaps makes a map without the library.
func makesMaps() error {
	// of union bpf_attr, linux/bpf.h
	attr := struct{ kind, key, value, entries, flags uint32 }{unix.BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return errno
	}
	return unix.Close(int(fd))
}
