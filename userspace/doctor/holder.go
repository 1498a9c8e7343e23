// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// holder finds who keeps a BPF program: a pin, of the program or of its link, or a process with a handle of either.
// Both are read from fdinfo, which names the program whatever the object is.
func holder(id uint32) string {
	if pin := pinOf("/sys/fs/bpf", id); pin != "" {
		return "pinned at " + pin
	}
	return processOf(id)
}

// maxPins bounds the walk over a BPF file system.
const maxPins = 20_000

func pinOf(root string, id uint32) string {
	found, seen := "", 0
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if seen++; err != nil || seen > maxPins {
			return fs.SkipAll
		}
		if e.Type().IsRegular() && programOfPin(path) == id {
			found = path
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// bpfObjGet is BPF_OBJ_GET of linux/bpf.h, with the attributes that it reads.
const bpfObjGet = 7

type objGetAttr struct {
	pathname  uint64
	fd, flags uint32
	_         uint64
}

// programOfPin opens a pin, whatever it holds, and returns the program that its fdinfo names; 0 for maps.
func programOfPin(path string) uint32 {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return 0
	}
	attr := objGetAttr{pathname: uint64(uintptr(unsafe.Pointer(name)))}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, bpfObjGet, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(name)
	if errno != 0 {
		return 0
	}
	defer unix.Close(int(fd))
	return programOfInfo(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
}

func processOf(id uint32) string {
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		dir := filepath.Join("/proc", p.Name())
		fds, _ := os.ReadDir(filepath.Join(dir, "fd"))
		for _, fd := range fds {
			target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
			if err != nil || !strings.HasPrefix(target, "anon_inode:bpf") {
				continue
			}
			if programOfInfo(filepath.Join(dir, "fdinfo", fd.Name())) == id && p.Name() != strconv.Itoa(os.Getpid()) {
				return fmt.Sprintf("held by %s (pid %s)", line(filepath.Join(dir, "comm")), p.Name())
			}
		}
	}
	return ""
}

func programOfInfo(path string) uint32 {
	data, _ := os.ReadFile(path)
	for row := range strings.Lines(string(data)) {
		if digits, ok := strings.CutPrefix(row, "prog_id:"); ok {
			id, _ := strconv.ParseUint(strings.TrimSpace(digits), 10, 32)
			return uint32(id)
		}
	}
	return 0
}
