// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// describeMachine returns what the numbers depend on, a line each.
func describeMachine() []string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	lines := []string{
		fmt.Sprintf("processor: %s, %d of them", field("/proc/cpuinfo", "model name"), runtime.NumCPU()),
		fmt.Sprintf("memory: %s", field("/proc/meminfo", "MemTotal")),
		fmt.Sprintf("kernel: Linux %s, %s", unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])),
	}
	if strings.Contains(field("/proc/cpuinfo", "flags"), "hypervisor") {
		lines = append(lines, "a virtual machine: neighbours and the hypervisor's page tables are in the numbers")
	}
	for _, name := range []string{"spectre_v2", "spec_rstack_overflow", "retbleed"} {
		if state, err := os.ReadFile("/sys/devices/system/cpu/vulnerabilities/" + name); err == nil {
			lines = append(lines, fmt.Sprintf("%s: %s", name, strings.TrimSpace(string(state))))
		}
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		lines = append(lines, "load average when it began: "+strings.Join(strings.Fields(string(load))[:3], ", "))
	}
	return append(lines, fmt.Sprintf("Spillway: %s; %s", revision(), runtime.Version()))
}

// field returns the first value of that name in a file of "name : value" lines.
func field(path, name string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(content)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// revision names what was measured: by the build, or, under `go run`, by git.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value[:min(len(s.Value), 12)]
			}
		}
	}
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown revision"
	}
	return strings.TrimSpace(string(out))
}
