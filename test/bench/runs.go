// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A number of one process on one processor may be that of a lucky place in memory. So what targets are about is
// measured again by several processes, on each processor in turn, each of which has other code loaded before its own:
// where a processor's caches and predictors meet ours is another place each time.

// repeat measures rows in as many fresh processes.
func repeat(ctx context.Context, self string, keys []string, runs, rounds int) ([]series, error) {
	var quoted []string
	for _, key := range keys {
		quoted = append(quoted, "^"+regexp.QuoteMeta(key)+"$")
	}
	rows := strings.Join(quoted, "|")
	var out []series
	for i := range runs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		run := series{}
		err := func() (err error) {
			o, err := meet(rows, "taskset", "-c", strconv.Itoa(i%runtime.NumCPU()), self, "-shuffle",
				strconv.Itoa(seed+i))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.part()) }()
			for range rounds {
				round, err := o.round()
				if err != nil {
					return err
				}
				for key, ns := range round {
					run[key] = append(run[key], ns)
				}
			}
			return nil
		}()
		if err != nil {
			return nil, fmt.Errorf("run %d of %d: %w", i+1, runs, err)
		}
		out = append(out, run)
	}
	return out, nil
}

// shuffle loads up to 64 programs of up to 4,096 instructions, by a number; they stay for as long as this process. All
// that is loaded afterwards lies elsewhere in the kernel's memory for code.
func shuffle(number uint64) error {
	r := rand.New(rand.NewPCG(number, 3))
	for range 1 + r.IntN(64) {
		body := slices.Repeat(asm.Instructions{asm.Mov.Reg(asm.R1, asm.R1)}, r.IntN(4096))
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL",
			Instructions: append(body, asm.Mov.Imm(asm.R0, actionPass), asm.Return())})
		if err != nil {
			return fmt.Errorf("shuffle: %w", err)
		}
		shuffled = append(shuffled, program)
	}
	return nil
}

var shuffled []*ebpf.Program
