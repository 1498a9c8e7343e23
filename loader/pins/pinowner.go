// SPDX-License-Identifier: Apache-2.0

package pins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader/kernel"
)

// The pin folder has an owner, the agent's user, and mode 0700. Its parent is a BPF file system that everybody may
// write to (mounted by hand, mode 1777) or only root (mounted by systemd, mode 0700). So:
//
//	PrepareFolder root, before the agent: makes the folder, gives it and what lies in it to the owner
//	checkOwner    agent and command: a folder that somebody else made is not used
//	KeepOwner     root, after each pin: what root pins belongs to the folder's owner, too

// ErrForeignPins: the pin folder is somebody else's, or others can write to it. What lies in it is not believed.
var ErrForeignPins = errors.New("the pin folder is not Spillway's own")

// ErrRemoved: the pin folder was removed, and this process goes on seeing the old one: its unit showed it that, and
// only a start shows it another.
var ErrRemoved = errors.New("the pin folder was removed under this process, and only its next start can see another")

// PrepareFolder makes the pin folder for the agent's user, mode 0700, and gives what root pinned in it to that user. It
// makes nothing else. Errors: ErrUnsupported where there is no BPF file system, ErrForeignPins.
func PrepareFolder(folder string, uid, gid int) error {
	if err := checkBPFFS(folder); err != nil {
		return err
	}
	if err := makeFolder(folder); err != nil {
		return err
	}
	if err := checkOwner(folder, uid); err != nil {
		return err
	}
	return kernel.Explain("give the pins to their owner", giveTree(folder, uid, gid))
}

// makeFolder makes the folder, mode 0700, unless it is there, and those above it that are missing: root's, to pass
// through.
func makeFolder(folder string) error {
	err := os.MkdirAll(filepath.Dir(folder), 0o711)
	if err == nil {
		err = os.Mkdir(folder, 0o700)
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return unprepared(folder)
	}
	return kernel.Explain("make the pin folder", err)
}

// unprepared: capabilities do not help where root has to make a folder.
func unprepared(folder string) error {
	return fmt.Errorf("%s: %w: user %d may not make or use it: root has to make it for that user (`spillway prepare`, as the unit does before the agent)",
		folder, kernel.ErrPermission, os.Geteuid())
}

// CheckFolder refuses a pin folder that root must not believe: one that belongs to none of root and the users given, or
// that others can write to. For other users their own rights decide.
func CheckFolder(folder string, users ...int) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return checkOwner(folder, users...)
}

// Fault says why this process could not use the pin folder, or make it; nil when it can. It changes nothing.
func Fault(folder string, users ...int) error {
	if err := checkBPFFS(folder); err != nil {
		return err
	}
	if err := checkOwner(folder, users...); err != nil {
		return err
	}
	at := folder
	if _, err := os.Lstat(at); errors.Is(err, fs.ErrNotExist) {
		at = filepath.Dir(folder)
	}
	if err := unix.Access(at, unix.W_OK|unix.X_OK); errors.Is(err, unix.EACCES) && os.Geteuid() != 0 {
		return unprepared(folder)
	}
	return nil
}

// checkOwner refuses a pin folder that is no folder, that others can write to, or that belongs to none of root, this
// process, and the users given. One that does not exist is nobody's. In a BPF file system of mode 1777 anybody can make
// it first, and what lies in it would be theirs: their maps for ours, their link where the switch looks.
func checkOwner(folder string, others ...int) error {
	var st unix.Stat_t
	err := unix.Lstat(folder, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return unprepared(folder)
	}
	if err != nil {
		return kernel.Explain("look at the pin folder", err)
	}
	owner := int(st.Uid)
	switch {
	case owner == 0 && os.Geteuid() != 0:
		return unprepared(folder)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%w: %s is no folder: %s", ErrForeignPins, folder, removePins(folder))
	case owner != 0 && owner != os.Geteuid() && !slices.Contains(others, owner):
		return fmt.Errorf("%w: %s belongs to user %d: %s", ErrForeignPins, folder, owner, removePins(folder))
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%w: others can write to %s (mode %04o): %s", ErrForeignPins, folder, st.Mode&0o7777,
			removePins(folder))
	}
	return checkParent(filepath.Dir(folder))
}

// checkParent refuses a parent in which others may rename the pin folder and put theirs in its place. In one with the
// sticky bit they may not.
func checkParent(parent string) error {
	var st unix.Stat_t
	if err := unix.Stat(parent, &st); err != nil {
		return kernel.Explain("look at the parent of the pin folder", err)
	}
	if st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 {
		return fmt.Errorf("%w: others can rename what is in %s (mode %04o): `chmod 0755 %s` as root", ErrForeignPins, parent,
			st.Mode&0o7777, parent)
	}
	return nil
}

// mountCommand mounts a BPF file system as systemd does. Without the mode anybody may write to it.
const mountCommand = "`mount -t bpf -o mode=0700 bpf /sys/fs/bpf`"

// removePins is how a person mends it. Links that lie in there lose their last reference, so their interface passes.
func removePins(folder string) string {
	return fmt.Sprintf(
		"look at it, then `rm -r %s` as root, and start the agent again; mounted by %s a BPF file system keeps others out",
		folder, mountCommand)
}

// KeepOwner gives what root made below the pins to the folder's owner: an agent with the unit's rights goes on with it.
func (p Folder) KeepOwner() error {
	if p.Path == "" || os.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(p.Path, &st); err != nil {
		return kernel.Explain("look at the pin folder", err)
	}
	if st.Uid == 0 {
		return nil
	}
	return kernel.Explain("give the pins to their owner", giveTree(p.Path, int(st.Uid), int(st.Gid)))
}

// giveTree gives a folder and what lies in it to a user. It follows no link and leaves what has a second name
// elsewhere: the owner of the folder could have put it there, and it may be somebody else's.
func giveTree(folder string, uid, gid int) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return gone(err)
		}
		info, err := e.Info()
		if err != nil {
			return gone(err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || int(st.Uid) == uid && int(st.Gid) == gid || !e.IsDir() && st.Nlink > 1 {
			return nil
		}
		return gone(root.Lchown(path, uid, gid))
	})
}

// gone takes what went away meanwhile for no error: an agent may be at work.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
