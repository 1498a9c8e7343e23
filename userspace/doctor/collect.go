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
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/folder"
	"github.com/spillway/spillway/userspace/forward"
	"github.com/spillway/spillway/userspace/rights"
	"github.com/spillway/spillway/userspace/sockets"
)

// Options say what to look at.
type Options struct {
	// HostFile is the path of the host file; it need not exist.
	HostFile string
	// Interfaces to look at; empty means those of the host file, or else those with a default route.
	Interfaces []string
	// Fallback are the interfaces with a default route.
	Fallback []string
	// Rehearse does loader.Rehearse as the unit would, in another process; nil: this process does it itself.
	Rehearse func() error
	// Forwards is what sends connections to ports of this host elsewhere; nil when nobody looked.
	Forwards *forward.Found
}

// Collect gathers the facts. It changes nothing; with the capabilities for it, the dataplane is tried at its smallest,
// pinned nowhere and attached to nothing, by root with the rights of the unit. What cannot be read stays unknown.
func Collect(o Options) Facts {
	f := Facts{
		Kernel: release(), Arch: runtime.GOARCH, HostFile: o.HostFile, MissingCapabilities: kernel.MissingCapabilities(),
		JIT: line("/proc/sys/net/core/bpf_jit_enable"), Lockdown: chosen(line("/sys/kernel/security/lockdown")),
		Clock: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
	}
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	f.BTF = err == nil
	host := f.readHostFile(o.HostFile)
	f.PinsRoot, f.BPFFS, f.PinsReadOnly = bpffs(host.Paths.Pins)
	f.collectMemory(host)
	f.collectServices(host, o)
	f.collectMultipath()
	f.collectRights(host, o)
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
		var faults *yaml.Faults
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

// collectRights asks whether this process, and the agent as its unit runs it, could work here.
func (f *Facts) collectRights(host *config.Host, o Options) {
	f.Root = os.Geteuid() == 0
	_, _, err := rights.Lookup(rights.User)
	f.UserMissing = errors.Is(err, rights.ErrNoUser)
	if f.BPFFS && !f.PinsReadOnly {
		var users []int
		if owner, err := folder.Owner(host.Paths.State); err == nil {
			users = append(users, owner)
		}
		f.PinsFault = pins.Fault(host.Paths.Pins, users...)
	}
	if len(f.MissingCapabilities) > 0 || !f.BTF {
		return
	}
	if err := sockets.Probe(); !errors.Is(err, sockets.ErrNoTrial) {
		f.CloseTried, f.Close = true, err
	}
	f.LoadTried, f.LoadAsUnit = true, f.Root && o.Rehearse != nil
	if f.LoadAsUnit {
		f.Load = o.Rehearse()
	} else {
		f.Load = loader.Rehearse()
	}
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
