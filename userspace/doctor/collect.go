// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// Options say what to look at.
type Options struct {
	// HostFile is the path of the host file; it need not exist.
	HostFile string
	// Interfaces to look at; empty means those of the host file, or else those with a default route.
	Interfaces []string
	// Fallback are the interfaces with a default route.
	Fallback []string
}

// Collect gathers the facts. It changes nothing; with the capabilities for it, it loads the dataplane for a try, at its
// smallest, attached to nothing. What cannot be read stays unknown.
func Collect(o Options) Facts {
	f := Facts{
		Kernel: release(), Arch: runtime.GOARCH, HostFile: o.HostFile, MissingCapabilities: loader.MissingCapabilities(),
		JIT: line("/proc/sys/net/core/bpf_jit_enable"), Lockdown: chosen(line("/sys/kernel/security/lockdown")),
		Clock: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
	}
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	f.BTF = err == nil
	host := f.readHostFile(o.HostFile)
	f.PinsRoot, f.BPFFS, f.PinsReadOnly = bpffs(host.Paths.Pins)
	f.collectMemory(host)
	if len(f.MissingCapabilities) == 0 && f.BTF {
		f.LoadTried, f.Load = true, tryLoad()
	}
	f.collectInterfaces(host, o)
	return f
}

// readHostFile returns the host file, or the defaults when it is missing or faulty.
func (f *Facts) readHostFile(path string) *config.Host {
	if path == "" {
		return config.DefaultHost()
	}
	host, err := config.LoadHost(path)
	switch {
	case err == nil:
		f.HostFileState = FileSound
		return host
	case errors.Is(err, fs.ErrNotExist):
		f.HostFileState = FileMissing
	default:
		f.HostFileState, f.HostFaults = FileFaulty, 1
		var faults *config.Faults
		if errors.As(err, &faults) {
			f.HostFaults = faults.Total
		}
	}
	return config.DefaultHost()
}

func (f *Facts) collectMemory(host *config.Host) {
	plan, err := loader.PlanMemory(host.Capacity, runtime.NumCPU())
	if err != nil {
		return
	}
	f.MemoryNeeded, f.MemoryAvailable = plan.Total, memoryAvailable()
	for _, m := range plan.Maps {
		f.BiggestMaps = append(f.BiggestMaps, MapSize{m.Name, m.Bytes})
	}
	slices.SortStableFunc(f.BiggestMaps, func(a, b MapSize) int { return cmp.Compare(b.Bytes, a.Bytes) })
	f.BiggestMaps = f.BiggestMaps[:min(len(f.BiggestMaps), 3)]
	if d, err := loader.Adopt(host.Paths.Pins); err == nil {
		f.MemoryHeld = true
		d.Close()
	}
}

// tryLoad asks the kernel whether it accepts the programs, with maps of one row.
func tryLoad() error {
	d, err := loader.Open(loader.Options{Capacity: config.Capacity{
		Prefixes4: 1, Prefixes6: 1, TCPFingerprints: 1, JA4s: 1, TCPSignatures: 1, Rules: 1,
		Flows: 64, Syns: 64, Hellos: 1, Shapes: 64, Bans: 1, Vouched: 1, Allowlist: 1, Services: 1,
	}})
	if err != nil {
		return err
	}
	return d.Close()
}

// bpffs finds the nearest existing folder at or above the pins and says whether it is in a BPF file system, and
// whether that is read-only.
func bpffs(pins string) (root string, mounted, readOnly bool) {
	dir := pins
	var st unix.Statfs_t
	for unix.Statfs(dir, &st) != nil && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	if st.Type == unix.BPF_FS_MAGIC {
		return mountPoint(dir), true, st.Flags&unix.ST_RDONLY != 0
	}
	if strings.HasPrefix(pins, "/sys/fs/bpf/") {
		return "/sys/fs/bpf", false, false
	}
	return filepath.Dir(pins), false, false
}

// mountPoint climbs to the root of the BPF file system, so that the finding names what is mounted.
func mountPoint(dir string) string {
	for {
		up := filepath.Dir(dir)
		var st unix.Statfs_t
		if up == dir || unix.Statfs(up, &st) != nil || st.Type != unix.BPF_FS_MAGIC {
			return dir
		}
		dir = up
	}
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// line returns the first line of a file, or "".
func line(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(first)
}

// chosen returns the word in brackets of "none [integrity] confidentiality".
func chosen(s string) string {
	_, s, _ = strings.Cut(s, "[")
	s, _, _ = strings.Cut(s, "]")
	return s
}

// memoryAvailable is MemAvailable of /proc/meminfo: what can be had without swapping.
func memoryAvailable() uint64 {
	data, _ := os.ReadFile("/proc/meminfo")
	for row := range strings.Lines(string(data)) {
		f := strings.Fields(row)
		if len(f) == 3 && f[0] == "MemAvailable:" {
			kib, _ := strconv.ParseUint(f[1], 10, 64)
			return kib * 1024
		}
	}
	return 0
}
