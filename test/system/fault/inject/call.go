// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif of linux/seccomp.h.
type notification struct {
	id    uint64
	tid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	errno int32 // negative
	flags uint32
}

// commands of bpf(2), by number.
var commands = strings.Fields(
	`MAP_CREATE MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM MAP_GET_NEXT_KEY PROG_LOAD OBJ_PIN
	OBJ_GET PROG_ATTACH PROG_DETACH PROG_TEST_RUN PROG_GET_NEXT_ID MAP_GET_NEXT_ID PROG_GET_FD_BY_ID MAP_GET_FD_BY_ID
	OBJ_GET_INFO_BY_FD PROG_QUERY RAW_TRACEPOINT_OPEN BTF_LOAD BTF_GET_FD_BY_ID TASK_FD_QUERY MAP_LOOKUP_AND_DELETE_ELEM
	MAP_FREEZE BTF_GET_NEXT_ID MAP_LOOKUP_BATCH MAP_LOOKUP_AND_DELETE_BATCH MAP_UPDATE_BATCH MAP_DELETE_BATCH LINK_CREATE
	LINK_UPDATE LINK_GET_FD_BY_ID LINK_GET_NEXT_ID ENABLE_STATS ITER_CREATE LINK_DETACH PROG_BIND_MAP TOKEN_CREATE`)

// name says what the call does, for people; "" when it touches nothing below the folders.
func (n *notification) name(folders []string) string {
	if n.nr == unix.SYS_BPF {
		if n.args[0] < uint64(len(commands)) {
			return commands[n.args[0]]
		}
		return fmt.Sprintf("command %d", n.args[0])
	}
	verb, path := n.file()
	for _, folder := range folders {
		if path != folder && !strings.HasPrefix(path, folder+"/") {
			continue
		}
		inside := strings.TrimPrefix(path, folder)
		if temporary := strings.Index(inside, "/.new-"); temporary >= 0 { // its number differs each time
			inside = inside[:temporary] + "/.new"
		}
		return verb + " " + cmp.Or(inside, "/")
	}
	return ""
}

// process is the number of the process that made the call.
func (n *notification) process() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.tid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, "Tgid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(number))
			return pid
		}
	}
	return 0
}

func (n *notification) file() (verb, path string) {
	switch n.nr {
	case unix.SYS_OPENAT:
		if n.args[2]&unix.O_CREAT == 0 {
			return "", ""
		}
		return "create", n.path(n.args[0], n.args[1])
	case unix.SYS_MKDIRAT:
		return "mkdir", n.path(n.args[0], n.args[1])
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return "rename to", n.path(n.args[2], n.args[3])
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		verb = "sync"
	default:
		verb = "write"
	}
	return verb, n.descriptor(n.args[0])
}

// path is what a call names, from the folder that it says or from the root.
func (n *notification) path(folder, at uint64) string {
	path := n.text(at)
	if filepath.IsAbs(path) || int32(folder) == unix.AT_FDCWD {
		return path
	}
	return filepath.Join(n.descriptor(folder), path)
}

func (n *notification) descriptor(fd uint64) string {
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.tid, fd))
	return path
}

// text reads a string of the process.
func (n *notification) text(at uint64) string {
	var out []byte
	for len(out) < unix.PathMax {
		chunk := make([]byte, 4096-at%4096) // never across the end of a page
		got, err := n.memory(at, chunk)
		if err != nil {
			return ""
		}
		if end := bytes.IndexByte(chunk[:got], 0); end >= 0 {
			return string(append(out, chunk[:end]...))
		}
		out, at = append(out, chunk[:got]...), at+uint64(got)
	}
	return ""
}

func (n *notification) memory(at uint64, to []byte) (int, error) {
	local := []unix.Iovec{{Base: &to[0]}}
	local[0].SetLen(len(to))
	return unix.ProcessVMReadv(int(n.tid), local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(to)}}, 0)
}

// tear does half of a write on behalf of the process and returns how much that was.
func (n *notification) tear(pid int) (int, error) {
	if n.nr != unix.SYS_WRITE || n.args[2] < 2 {
		return 0, nil
	}
	half := make([]byte, n.args[2]/2)
	if _, err := n.memory(n.args[1], half); err != nil {
		return 0, err
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(process)
	fd, err := unix.PidfdGetfd(process, int(n.args[0]), 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.Write(fd, half)
}
