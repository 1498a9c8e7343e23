// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// verb is the first argument by which a test binary knows that it is to become another process.
const verb = "under-injection"

// Main becomes the process under test when this process was started by a Listener's wrapper; otherwise it returns.
// TestMain calls it first.
func Main() {
	if len(os.Args) < 5 || os.Args[1] != verb {
		return
	}
	err := become(os.Args[2], Kind(os.Args[3]), os.Args[4:])
	fmt.Fprintln(os.Stderr, "run under injection:", err)
	os.Exit(70) // EX_SOFTWARE
}

func become(socket string, kind Kind, command []string) error {
	runtime.LockOSThread() // the filter is the thread's, and execve keeps that of the thread that calls it
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	fd, err := install(kind)
	if err != nil {
		return err
	}
	if _, _, err := conn.WriteMsgUnix([]byte{1}, unix.UnixRights(fd), nil); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", path, syscall.Exec(path, command, os.Environ())) // the descriptors close themselves
}
