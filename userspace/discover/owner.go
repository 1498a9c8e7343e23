// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"io/fs"
	"strconv"
	"strings"
)

// Owners maps the inode of each socket to the name of a process that holds it. Without root the processes of other
// users cannot be read; their sockets have no owner.
func Owners(proc fs.FS) map[uint64]string {
	owners := map[uint64]string{}
	processes, err := fs.ReadDir(proc, ".")
	if err != nil {
		return owners
	}
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		name, err := fs.ReadFile(proc, p.Name()+"/comm")
		if err != nil {
			continue // it has ended meanwhile
		}
		for _, inode := range socketsOf(proc, p.Name()+"/fd") {
			comm := strings.TrimSpace(string(name))
			// Socket activation: systemd holds the socket too; the program behind it says more.
			if have := owners[inode]; have == "" || have == "systemd" {
				owners[inode] = comm
			}
		}
	}
	return owners
}

func socketsOf(proc fs.FS, dir string) []uint64 {
	var inodes []uint64
	fds, err := fs.ReadDir(proc, dir)
	if err != nil {
		return nil
	}
	for _, fd := range fds {
		target, err := fs.ReadLink(proc, dir+"/"+fd.Name())
		if err != nil {
			continue
		}
		digits, ok := strings.CutPrefix(target, "socket:[")
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 64); err == nil {
			inodes = append(inodes, n)
		}
	}
	return inodes
}
