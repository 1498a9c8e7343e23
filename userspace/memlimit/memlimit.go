// SPDX-License-Identifier: Apache-2.0

// Package memlimit gives Go's collector a limit, so that a large bundle does not become the end of the agent.
package memlimit

import (
	"bytes"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// How much memory the Go part may take. The collector works the harder the nearer it comes to this, so that a large
// bundle does not become the end of the agent:
//
//	GOMEMLIMIT of the environment, when somebody set it; else
//	3/4 of what the smallest memory limit of its cgroups leaves beside the kernel's maps, which the same cgroup pays for;
//	or 1/2 of the host's memory, when that is less or there is no limit;
//	but at least minMemory: with less it would only collect.
const minMemory = 64 << 20

// Set sets the limit and returns it; 0 when the environment has one.
func Set(c config.Capacity) int64 { return limitMemory(os.DirFS("/"), os.Getenv, c) }

func limitMemory(fsys fs.FS, getenv func(string) string, c config.Capacity) int64 {
	if getenv("GOMEMLIMIT") != "" {
		return 0
	}
	var maps uint64
	if plan, err := loader.PlanMemory(c, runtime.NumCPU()); err == nil {
		maps = plan.Total
	}
	limit := memoryFor(cgroupLimit(fsys), hostMemory(fsys), maps)
	debug.SetMemoryLimit(limit)
	return limit
}

// memoryFor computes the limit; math.MaxUint64 stands for what is not known or not limited.
func memoryFor(cgroup, host, maps uint64) int64 {
	limit := host / 2
	if cgroup < host {
		limit = min(limit, (cgroup-min(maps, cgroup))/4*3)
	}
	return int64(min(max(limit, minMemory), math.MaxInt64))
}

// hostMemory reads MemTotal.
func hostMemory(fsys fs.FS) uint64 {
	text, err := fs.ReadFile(fsys, "proc/meminfo")
	if err != nil {
		return math.MaxUint64
	}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line) // MemTotal: 2046364 kB
		if len(fields) > 1 && string(fields[0]) == "MemTotal:" {
			if kib, err := strconv.ParseUint(string(fields[1]), 10, 44); err == nil {
				return kib << 10
			}
		}
	}
	return math.MaxUint64
}

// cgroupLimit returns the smallest memory limit of this process's cgroup and those around it, of version 2 or 1.
func cgroupLimit(fsys fs.FS) uint64 {
	limit := uint64(math.MaxUint64)
	text, err := fs.ReadFile(fsys, "proc/self/cgroup")
	if err != nil {
		return limit
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // 0::/system.slice/spillway.service, 5:memory:/system.slice
		if len(parts) != 3 {
			continue
		}
		root, files := "", []string(nil)
		switch {
		case parts[0] == "0" && parts[1] == "":
			root, files = "sys/fs/cgroup", []string{"memory.max", "memory.high"}
		case parts[1] == "memory":
			root, files = "sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}
		default:
			continue
		}
		for at := path.Clean("/" + parts[2]); ; at = path.Dir(at) {
			for _, f := range files {
				limit = min(limit, readBytes(fsys, path.Join(root, at, f)))
			}
			if at == "/" {
				break
			}
		}
	}
	return limit
}

// readBytes reads a file with one number; "max", and what cannot be read, is no limit.
func readBytes(fsys fs.FS, name string) uint64 {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return math.MaxUint64
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return n
}
