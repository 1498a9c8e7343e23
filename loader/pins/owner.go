// SPDX-License-Identifier: Apache-2.0

package pins

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader/kernel"
)

// ErrOwned: an agent owns the pins.
var ErrOwned = errors.New("another agent owns the pins")

// OwnedError says whose the pins are. It is an ErrOwned.
type OwnedError struct {
	Folder string
	PID    int // 0 where /proc does not tell
}

func (e *OwnedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%v below %s", ErrOwned, e.Folder)
	}
	return fmt.Sprintf("%v below %s: process %d", ErrOwned, e.Folder, e.PID)
}

func (e *OwnedError) Unwrap() error { return ErrOwned }

// Ownership is the right to change what is pinned below a folder. It is a lock on the folder itself, not on a path
// beside it: two agents with other sockets, other state folders or another name for the same mount still meet there.
// bpffs opens no pinned object as a file, but its folders are ordinary ones (flock, Linux 6.1 to 6.18). The lock is a
// descriptor's: a killed process leaves nothing stale.
type Ownership struct {
	folder string
	dir    *os.File
}

// Own makes the folder where it is missing and locks it for this process. It may belong to root, to this process, or to
// one of the users given. Errors: ErrOwned (an *OwnedError), ErrForeignPins, ErrUnsupported when the folder is not on a
// BPF file system.
func Own(folder string, users ...int) (*Ownership, error) {
	if err := checkBPFFS(folder); err != nil {
		return nil, err
	}
	for range 3 { // the folder may go between the two: whoever detaches removes it last
		if err := makeFolder(folder); err != nil {
			return nil, err
		}
		if err := checkOwner(folder, users...); err != nil {
			return nil, err
		}
		o, err := OwnExisting(folder)
		if !errors.Is(err, kernel.ErrNotPinned) {
			return o, err
		}
	}
	return nil, fmt.Errorf("own the pins: %s comes and goes: %w", folder, kernel.ErrNotPinned)
}

// OwnExisting is Own for whoever makes nothing: ErrNotPinned when there is no folder.
func OwnExisting(folder string) (*Ownership, error) {
	dir, err := os.OpenFile(folder, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", folder, kernel.ErrNotPinned)
	}
	if err != nil {
		return nil, kernel.Explain("open the pin folder", err)
	}
	if removed(dir) {
		_ = dir.Close()
		return nil, fmt.Errorf("%s: %w", folder, ErrRemoved)
	}
	o := &Ownership{folder, dir}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner := lockOwner(dir)
		_ = dir.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &OwnedError{folder, owner}
		}
		return nil, kernel.Explain("lock the pin folder", err)
	}
	if !o.Holds() {
		_ = dir.Close()
		return nil, fmt.Errorf("%s: %w", folder, kernel.ErrNotPinned)
	}
	return o, nil
}

// Holds reports whether the path still leads to the folder that is locked: somebody may have removed it, moved it
// aside, or mounted something over it.
func (o *Ownership) Holds() bool {
	locked, err := o.dir.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(o.folder)
	return err == nil && os.SameFile(locked, there) && !removed(o.dir)
}

// removed reports whether a folder has no name any more: nothing can be made in it.
func removed(dir *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(dir.Fd()), &st) == nil && st.Nlink == 0
}

// Close gives the pins free.
func (o *Ownership) Close() error { return o.dir.Close() }

// OwnerOf reports whether another process owns the pins below a folder, and which: 0 where the kernel's list does not
// say (another PID namespace). It takes no lock, so it keeps nobody from starting. A folder that cannot be opened has
// no owner that anybody could tell.
func OwnerOf(folder string) (pid int, owned bool) {
	dir, err := os.OpenFile(folder, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0, false
	}
	defer dir.Close()
	pid, owned = lockHolder(dir)
	return pid, owned && pid != os.Getpid()
}

// lockOwner finds who holds a lock in the kernel's list, 0 when it does not say (another PID namespace).
func lockOwner(f *os.File) int {
	pid, _ := lockHolder(f)
	return pid
}

func lockHolder(f *os.File) (pid int, held bool) {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 0, false
	}
	list, err := os.Open("/proc/locks")
	if err != nil {
		return 0, false
	}
	defer list.Close()
	id := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for lines := bufio.NewScanner(list); lines.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 14322 fe:00:9978023 0 EOF
		fields := strings.Fields(lines.Text())
		if len(fields) >= 6 && fields[1] == "FLOCK" && fields[5] == id {
			if _, err := fmt.Sscan(fields[4], &pid); err == nil {
				return max(pid, 0), true
			}
		}
	}
	return 0, false
}
