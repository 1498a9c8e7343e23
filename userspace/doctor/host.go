// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/rights"
	"github.com/spillway/spillway/userspace/sockets"
)

// Check judges the facts.
func Check(f Facts) Report {
	var r Report
	for _, check := range []func(Facts) Finding{
		checkKernel, checkBTF, checkBPFFS, checkPins, checkCapabilities, checkUser, checkLoad, checkSockets,
		checkJIT, checkLockdown,
		checkClock, checkHostFile, checkMemory,
	} {
		if one := check(f); one.Check != "" {
			r.Findings = append(r.Findings, one)
		}
	}
	r.Findings = append(r.Findings, checkServices(f)...)
	for _, i := range f.Interfaces {
		for _, one := range checkInterface(f, i) {
			one.Interface = i.Name
			r.Findings = append(r.Findings, one)
		}
	}
	return r
}

// kernelAtLeast compares the first two numbers of a release; a release that cannot be read is old.
func kernelAtLeast(release string, major, minor int) bool {
	a, rest, _ := strings.Cut(release, ".")
	b := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		b = rest[:i]
	}
	m, err1 := strconv.Atoi(a)
	n, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && (m > major || m == major && n >= minor)
}

func checkKernel(f Facts) Finding {
	says := fmt.Sprintf("Linux %s, %s", f.Kernel, f.Arch)
	switch {
	case f.Arch != "amd64" && f.Arch != "arm64":
		return mistake("kernel", says+": only amd64 and arm64 are supported", "run Spillway on an amd64 or arm64 host")
	case !kernelAtLeast(f.Kernel, 6, 1):
		return mistake("kernel", says+": older than 6.1", "install a kernel 6.1 or newer (Debian 12 has one)")
	}
	return ok("kernel", says)
}

func checkBTF(f Facts) Finding {
	if !f.BTF {
		return mistake("btf", "the kernel has no type information (/sys/kernel/btf/vmlinux)",
			"use a kernel built with CONFIG_DEBUG_INFO_BTF=y; distribution kernels are")
	}
	return ok("btf", "type information is there")
}

func checkBPFFS(f Facts) Finding {
	if !f.BPFFS {
		return mistake("bpffs", "no BPF file system is mounted on "+f.PinsRoot,
			"mount -t bpf -o mode=0700 bpf "+f.PinsRoot+"   (inside of `ip netns exec`, which hides it, too)")
	}
	if f.PinsReadOnly {
		return mistake("bpffs", "the BPF file system on "+f.PinsRoot+" is read-only", "mount -o remount,rw "+f.PinsRoot)
	}
	return ok("bpffs", "mounted on "+f.PinsRoot)
}

func checkPins(f Facts) Finding {
	switch {
	case f.PinsFault == nil:
		return Finding{}
	case errors.Is(f.PinsFault, loader.ErrPermission):
		return mistake("pins", f.PinsFault.Error(), "sudo spillway prepare   (the unit does it before each start)")
	}
	return mistake("pins", f.PinsFault.Error(), "remove it as root, and start the agent again")
}

func checkCapabilities(f Facts) Finding {
	if n := len(f.MissingCapabilities); n > 0 {
		return mistake("capabilities", "this process lacks "+strings.Join(f.MissingCapabilities, ", "),
			"run it with sudo, or give its unit AmbientCapabilities="+strings.Join(rights.Names(), " "))
	}
	if f.Root {
		return ok("capabilities", "this is root; the unit gives the agent "+rights.Sentence())
	}
	return ok("capabilities", rights.Sentence())
}

func checkUser(f Facts) Finding {
	if f.UserMissing {
		return warn("user", "there is no user "+rights.User+", as which the unit runs the agent", rights.MakeUser)
	}
	return ok("user", rights.User)
}

func checkLoad(f Facts) Finding {
	as := "with the rights of this process"
	if f.LoadAsUnit {
		as = "with the rights of the unit"
	}
	switch {
	case !f.LoadTried:
		return Finding{}
	case f.Load != nil:
		return mistake("load", fmt.Sprintf("%s the kernel refuses the dataplane: %v", as, f.Load),
			"mend what the message names; if it names nothing you can change, report it with this output")
	}
	return ok("load", "the kernel accepts the dataplane "+as+" (for a try, attached to nothing)")
}

// checkSockets says whether the agent can close what a blocked client leaves behind.
func checkSockets(f Facts) Finding {
	switch {
	case !f.CloseTried:
		return Finding{}
	case errors.Is(f.Close, sockets.ErrUnsupported):
		return warn("sockets", "this kernel closes no socket for another process (CONFIG_INET_DIAG_DESTROY): "+
			"a blocked client that says nothing more holds its socket until the server's own timeout",
			"set short timeouts for a first request in the server (nginx: client_header_timeout), or use a kernel that has it; "+
				"distribution kernels do")
	case f.Close != nil:
		return warn("sockets", fmt.Sprintf("sockets of blocked clients that say nothing more cannot be closed: %v", f.Close),
			"the server's own timeouts close them")
	}
	return ok("sockets", "the server's sockets of blocked clients can be closed")
}

func checkJIT(f Facts) Finding {
	switch f.JIT {
	case "":
		return Finding{}
	case "0":
		return warn("jit", "the BPF compiler is off: every packet costs several times more",
			"sysctl -w net.core.bpf_jit_enable=1")
	}
	return ok("jit", "on")
}

// Spillway reads no kernel memory, so neither kind of lockdown stops it (security/lockdown, LOCKDOWN_BPF_READ_KERNEL).
func checkLockdown(f Facts) Finding {
	switch f.Lockdown {
	case "", "none":
		return Finding{}
	}
	return ok("lockdown", f.Lockdown+": Spillway needs nothing that it forbids")
}

func checkClock(f Facts) Finding {
	switch f.Clock {
	case "":
		return Finding{}
	case "hpet", "acpi_pm", "jiffies", "refined-jiffies":
		return warn("clock", f.Clock+" is a slow clock source: each reading costs about a microsecond",
			"add clocksource=tsc to the kernel's command line, if the file available_clocksource in "+
				"/sys/devices/system/clocksource/clocksource0 lists tsc")
	}
	return ok("clock", f.Clock)
}

func checkHostFile(f Facts) Finding {
	switch {
	case f.HostFile == "":
		return Finding{}
	case f.HostFileState == FileMissing:
		return warn("host_file", "there is no host file "+f.HostFile,
			"spillway init "+f.anInterface()+" --output "+f.HostFile)
	case f.HostFileState == FileFaulty:
		return mistake("host_file",
			fmt.Sprintf("%s is refused (%d %s)", f.HostFile, f.HostFaults, plural(f.HostFaults, "fault")),
			"spillway config check "+f.HostFile)
	}
	return ok("host_file", f.HostFile)
}

// anInterface is one that a host file could name.
func (f Facts) anInterface() string {
	for _, i := range f.Interfaces {
		if !i.Missing {
			return i.Name
		}
	}
	return "INTERFACE"
}

func checkMemory(f Facts) Finding {
	if f.MemoryNeeded == 0 || f.MemoryAvailable == 0 {
		return Finding{}
	}
	says := fmt.Sprintf("maps take %s of %s available", Bytes(f.MemoryNeeded), Bytes(f.MemoryAvailable))
	fix := "lower `capacity` in the host file"
	if len(f.BiggestMaps) > 0 {
		var big []string
		for _, m := range f.BiggestMaps {
			big = append(big, fmt.Sprintf("%s %s", m.Name, Bytes(m.Bytes)))
		}
		fix += " (biggest: " + strings.Join(big, ", ") + ")"
	}
	switch {
	case f.MemoryHeld:
		return ok("memory",
			fmt.Sprintf("maps hold %s; %s more are available", Bytes(f.MemoryNeeded), Bytes(f.MemoryAvailable)))
	case f.MemoryNeeded > f.MemoryAvailable:
		return mistake("memory", says, fix)
	case f.MemoryNeeded > f.MemoryAvailable/2:
		return warn("memory", says+", more than half", fix)
	}
	return ok("memory", says)
}

// Bytes prints a size for people, in binary units.
func Bytes(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n), -1
	for v >= unit && i < 4 {
		v /= unit
		i++
	}
	if v >= 100 {
		return fmt.Sprintf("%.0f %ciB", v, "KMGTP"[i])
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTP"[i])
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
