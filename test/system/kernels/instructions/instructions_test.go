// SPDX-License-Identifier: Apache-2.0

// Package instructions tells what the verifier of the running kernel makes of each program. The runner of
// test/system/kernels compares it with what is committed, on the kernels named there.
package instructions

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
)

// refused loads each program by itself: of several that are refused, a person wants to know all at once. The
// log of a million instructions would take ten minutes to write here, and say little.
func refused(t *testing.T, spec *ebpf.CollectionSpec, quiet ebpf.CollectionOptions) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		alone := spec.Copy()
		maps.DeleteFunc(alone.Programs, func(other string, _ *ebpf.ProgramSpec) bool { return other != name })
		c, err := ebpf.NewCollectionWithOptions(alone, quiet)
		if err != nil && !errors.Is(err, unix.E2BIG) {
			c, err = ebpf.NewCollection(alone)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, lastWords(err))
			continue
		}
		c.Close()
	}
}

// lastWords is the end of what the verifier said: the way to the instruction that it refuses.
func lastWords(err error) string {
	var refused *ebpf.VerifierError
	if !errors.As(err, &refused) {
		return ""
	}
	return strings.Join(refused.Log[max(0, len(refused.Log)-60):], "\n")
}

func TestPrintInstructions(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("loading programs needs root")
		}
		t.Skip("left out: loading programs needs root")
	}
	for _, load := range []func() (*ebpf.CollectionSpec, error){bpf.LoadRoot, bpf.LoadDataplane, bpf.LoadConntrack} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		printInstructions(t, spec)
	}
}

func printInstructions(t *testing.T, spec *ebpf.CollectionSpec) {
	t.Helper()
	quiet := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogDisabled: true}}
	if types, err := btf.LoadKernelModuleSpec("nf_conntrack"); err == nil {
		quiet.Programs.ExtraRelocationTargets = []*btf.Spec{types}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, quiet)
	if err != nil {
		refused(t, spec, quiet)
		t.Fatal(err)
	}
	defer c.Close()
	var names []string
	for name := range c.Programs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		info, err := c.Programs[name].Info()
		if err != nil {
			t.Fatal(err)
		}
		verified, ok := info.VerifiedInstructions()
		if !ok || verified == 0 {
			t.Errorf("%s: the kernel does not tell how many instructions it verified", name)
		}
		jited, err := info.JitedSize()
		if err != nil || jited == 0 {
			t.Errorf("%s: no machine code: %v", name, err)
		}
		fmt.Printf("instructions: %s %d %d\n", name, verified, jited)
	}
}
