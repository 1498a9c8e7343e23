// SPDX-License-Identifier: Apache-2.0

package memlimit

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"

	"github.com/spillway/spillway/config"
)

func TestMemoryLimit(t *testing.T) {
	const mib = 1 << 20
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, row := range map[string]struct {
		fsys         fstest.MapFS
		cgroup, host uint64
	}{
		"nothing": {fstest.MapFS{}, math.MaxUint64, math.MaxUint64},
		"no limit": {fstest.MapFS{"proc/meminfo": file("MemTotal:        2097152 kB\nMemFree: 1 kB\n"),
			"proc/self/cgroup": file("0::/system.slice/spillway.service\n"),
			"sys/fs/cgroup/system.slice/spillway.service/memory.max": file("max\n")}, math.MaxUint64, 2048 * mib},
		"its own": {fstest.MapFS{"proc/self/cgroup": file("0::/system.slice/spillway.service\n"),
			"sys/fs/cgroup/system.slice/spillway.service/memory.max": file("536870912\n"),
			"sys/fs/cgroup/system.slice/memory.max":                  file("max\n")}, 512 * mib, math.MaxUint64},
		"around it": {fstest.MapFS{"proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("536870912\n"),
			"sys/fs/cgroup/a/memory.high": file("268435456\n")}, 256 * mib, math.MaxUint64},
		"version 1": {fstest.MapFS{"proc/self/cgroup": file("7:cpu:/x\n5:memory:/docker/1\n"),
			"sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": file("134217728\n")}, 128 * mib, math.MaxUint64},
		"outside": {fstest.MapFS{"proc/self/cgroup": file("0::/../../etc\n"), "etc/memory.max": file("1\n")},
			math.MaxUint64, math.MaxUint64},
	} {
		if got := cgroupLimit(row.fsys); got != row.cgroup {
			t.Errorf("%s: cgroup %d, want %d", name, got, row.cgroup)
		}
		if got := hostMemory(row.fsys); got != row.host {
			t.Errorf("%s: host %d, want %d", name, got, row.host)
		}
	}
	for _, row := range []struct {
		cgroup, host, maps uint64
		want               int64
	}{
		{math.MaxUint64, 2048 * mib, 100 * mib, 1024 * mib}, {512 * mib, 2048 * mib, 112 * mib, 300 * mib},
		{4096 * mib, 2048 * mib, 0, 1024 * mib},
		{100 * mib, 2048 * mib, 200 * mib, minMemory}, {math.MaxUint64, math.MaxUint64, 0, math.MaxInt64},
		{512 * mib, math.MaxUint64, 0, 384 * mib},
	} {
		if got := memoryFor(row.cgroup, row.host, row.maps); got != row.want {
			t.Errorf("%+v: %d", row, got)
		}
	}
}

// F8: the agent sets the limit; one that somebody set stays.
func TestF8MemoryLimitIsSet(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	fsys := fstest.MapFS{"proc/meminfo": &fstest.MapFile{Data: []byte("MemTotal: 4194304 kB\n")}}
	if got := limitMemory(fsys, func(string) string { return "" }, config.DefaultHost().Capacity); got != 2<<30 ||
		debug.SetMemoryLimit(-1) != got {
		t.Errorf("limit %d, set %d", got, debug.SetMemoryLimit(-1))
	}
	debug.SetMemoryLimit(before)
	if got := limitMemory(fsys, func(string) string { return "1GiB" }, config.DefaultHost().Capacity); got != 0 ||
		debug.SetMemoryLimit(-1) != before {
		t.Errorf("somebody's limit was changed: %d", got)
	}
}
