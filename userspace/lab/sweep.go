// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Sweep removes what labs of dead owners left: processes in their namespaces,
// links, namespaces, files. Labs whose owner lives are not touched, nor is
// anything that is not a lab's.
func Sweep() error {
	ids, err := labIDs()
	if err != nil {
		return fmt.Errorf("sweep labs: %w", err)
	}
	var errs []error
	for _, id := range ids {
		if err := sweepLab(id); err != nil {
			errs = append(errs, fmt.Errorf("sweep lab %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// labIDs lists the labs of which anything is left.
func labIDs() ([]string, error) {
	seen := map[string]bool{}
	var ids []string
	for _, dir := range []string{stateDir, netnsDir} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			id, ok := labID(e.Name())
			if ok && !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// labID takes the lab's id from the name of its folder, of its unborn folder
// or of one of its namespaces.
func labID(name string) (string, bool) {
	name = strings.TrimPrefix(name, ".")
	rest, ok := strings.CutPrefix(name, idPrefix)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) < 2 || len(parts) > 3 {
		return "", false
	}
	if len(parts) == 3 && !slices.Contains([]string{"edge", "out", "behind"}, parts[2]) {
		return "", false
	}
	if _, err := strconv.ParseUint(parts[0], 10, 31); err != nil {
		return "", false
	}
	if _, err := strconv.ParseUint(parts[1], 16, 32); err != nil || len(parts[1]) != 8 {
		return "", false
	}
	return idPrefix + parts[0] + "-" + parts[1], true
}

// sweepLab removes one lab if its owner is dead. Holding its lock, it is the
// only one who does.
func sweepLab(id string) error {
	r, err := lockRecord(filepath.Join(stateDir, id), os.O_RDWR)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil // the owner lives, or another sweeps
	case errors.Is(err, os.ErrNotExist):
		// Killed while the folder was made, or before the lock existed.
		if ownerAlive(id) {
			return nil
		}
		r = nil
	case err != nil:
		return err
	}
	err = errors.Join(removeNamespace(id+"-behind"), removeNamespace(id+"-edge"), removeNamespace(id+"-out"),
		os.RemoveAll(filepath.Join(stateDir, "."+id)))
	if r == nil {
		return errors.Join(err, os.RemoveAll(filepath.Join(stateDir, id)))
	}
	if err != nil {
		return errors.Join(err, r.lock.Close()) // keep the folder: sweep again
	}
	return r.Close()
}

// ownerAlive asks by the process id in the name, which is all there is when a
// lab has no lock.
func ownerAlive(id string) bool {
	pid, err := strconv.Atoi(strings.Split(id, "-")[1])
	return err != nil || !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// removeNamespace ends what runs in a named namespace and removes it.
func removeNamespace(name string) error {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(netnsDir, name), &st); err != nil {
		return ignore(err, unix.ENOENT)
	}
	return errors.Join(killIn(st.Dev, st.Ino), removeLink(name), removeNetnsName(name))
}

// killIn kills the processes whose network namespace is the given one. A name
// that was never mounted is an ordinary file, and no process has that.
func killIn(dev, ino uint64) error {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	var errs []error
	for _, proc := range procs {
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err != nil || pid == os.Getpid() {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // gone meanwhile
		}
		c := child{pid, fd}
		var st unix.Stat_t
		if unix.Stat(proc+"/ns/net", &st) == nil && st.Dev == dev && st.Ino == ino {
			errs = append(errs, ignore(c.signal(unix.SIGKILL), unix.ESRCH))
			if !c.ended(killWait) {
				errs = append(errs, fmt.Errorf("process %d did not end when killed", pid))
			}
		}
		unix.Close(fd)
	}
	return errors.Join(errs...)
}

// removeLink removes the veth pair by whichever end is in the named namespace.
// Without it the kernel would remove the pair later, when the last process or
// socket of the namespace is gone.
func removeLink(name string) error {
	f, err := os.Open(filepath.Join(netnsDir, name))
	if err != nil {
		return ignore(err, os.ErrNotExist)
	}
	defer f.Close()
	done := make(chan error, 1)
	goLocked(func() { // never unlocked: the thread dies in the namespace
		err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		if err != nil {
			done <- ignore(err, unix.EINVAL) // made, but never mounted
			return
		}
		done <- removeVeth()
	})
	if err := <-done; err != nil {
		return fmt.Errorf("remove link in %s: %w", name, err)
	}
	return nil
}

// removeVeth removes the lab's veth from the calling thread's namespace.
func removeVeth() error {
	for _, name := range []string{behindIf, innerIf, edgeIf, outIf} {
		link, err := netlink.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			continue
		}
		if err != nil {
			return err
		}
		// Its other end may be going at the same time.
		if err := ignore(netlink.LinkDel(link), unix.ENODEV); err != nil {
			return err
		}
	}
	return nil
}
