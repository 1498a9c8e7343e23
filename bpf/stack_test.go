// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

package bpf

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// Linux 6.1 counts the stack of a function in steps of 32 bytes, newer kernels in finer ones, and all take 512 for a
// chain of calls. What this kernel's verifier says of each function is added up as 6.1 does it.
const (
	stackStep = 32
	stackMax  = 512
)

var stackDepths = regexp.MustCompile(`stack depth ([0-9+]+)`)

func TestStackFitsLinux61(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: loading programs needs root")
	}
	spec, err := LoadDataplane()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := ebpf.NewCollectionWithOptions(spec.Copy(), ebpf.CollectionOptions{
		Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}})
	if err != nil {
		var refused *ebpf.VerifierError
		if errors.As(err, &refused) && len(refused.Log) > 3 {
			refused.Log = refused.Log[len(refused.Log)-3:]
		}
		t.Fatalf("load the programs: %v", err)
	}
	defer loaded.Close()
	for name, program := range spec.Programs {
		said := stackDepths.FindStringSubmatch(loaded.Programs[name].VerifierLog)
		if said == nil {
			t.Fatalf("%s: the verifier says nothing of the stack", name)
		}
		c := chains{depth: map[string]int{}, calls: map[string][]string{}}
		first := c.read(program, strings.Split(said[1], "+"))
		if depth, chain := c.deepest(first); depth > stackMax {
			t.Errorf("%s: a chain of calls takes %d bytes of stack, %d is the limit:%s", name, depth, stackMax, chain)
		}
	}
}

// chains are the functions of a program, with the stack that each takes.
type chains struct {
	depth map[string]int
	calls map[string][]string
}

// read takes a program apart, and returns its first function. The verifier tells of functions in the order of their
// code.
func (c chains) read(p *ebpf.ProgramSpec, depths []string) (first string) {
	at, n := "", 0
	for _, i := range p.Instructions {
		if s := i.Symbol(); s != "" && n < len(depths) {
			own, _ := strconv.Atoi(depths[n])
			at, n = s, n+1
			c.depth[s] = (max(own, 1) + stackStep - 1) / stackStep * stackStep
			if first == "" {
				first = s
			}
		}
		if i.IsFunctionReference() {
			c.calls[at] = append(c.calls[at], i.Reference())
		}
	}
	return first
}

func (c chains) deepest(name string) (depth int, chain string) {
	for _, called := range c.calls[name] {
		if d, under := c.deepest(called); d > depth {
			depth, chain = d, under
		}
	}
	return depth + c.depth[name], fmt.Sprintf(" %s (%d)%s", name, c.depth[name], chain)
}
