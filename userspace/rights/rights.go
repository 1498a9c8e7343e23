// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/spillway/spillway/loader/kernel"
)

// User is the agent's user and group.
const User = "spillway"

// Nice is the highest priority that the unit allows (LimitNICE), for the thread of the heartbeat: starving the agent
// must not be an attack. A limit is enough, so CAP_SYS_NICE is not needed.
const Nice = -10

// Names of the capabilities, as capabilities(7) writes them.
func Names() []string {
	var names []string
	for _, c := range kernel.Capabilities {
		names = append(names, c.Name)
	}
	return names
}

// Sentence names them for people: "CAP_A, CAP_B and CAP_C".
func Sentence() string {
	names := Names()
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// Mask is the capabilities as the kernel shows a set of them: CapEff of /proc/PID/status.
func Mask() uint64 {
	var mask uint64
	for _, c := range kernel.Capabilities {
		mask |= 1 << c.Bit
	}
	return mask
}

// Take makes a command of root's run as this user and group with exactly these rights. What limits it has is the
// caller's to set.
func Take(cmd *exec.Cmd, uid, gid int) {
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	attr.AmbientCaps = nil
	for _, c := range kernel.Capabilities {
		attr.AmbientCaps = append(attr.AmbientCaps, uintptr(c.Bit))
	}
	cmd.SysProcAttr = &attr
}

// Setpriv is the command line that does the same with setpriv(1), and drops what could be had again, as the unit does.
// A test that asks what happens when one is missing leaves that out.
func Setpriv(uid, gid int, without ...string) []string {
	all := ""
	for _, name := range Names() {
		if !slices.Contains(without, name) {
			all += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
		}
	}
	return []string{"setpriv", fmt.Sprintf("--reuid=%d", uid), fmt.Sprintf("--regid=%d", gid), "--clear-groups",
		"--bounding-set=-all" + all, "--inh-caps=-all" + all, "--ambient-caps=-all" + all, "--no-new-privs"}
}
