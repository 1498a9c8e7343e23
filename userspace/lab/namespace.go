// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// netnsDir is where iproute2 keeps named namespaces, so that `ip netns` shows
// the lab's too.
const netnsDir = "/run/netns"

// ErrClosed is returned by the methods of a Namespace or Lab that was closed.
var ErrClosed = errors.New("closed")

// Namespace is one named network namespace of a lab. One thread lives in it
// until Close: sockets and children are made there, so that no other thread
// has to move, and a child's parent-death signal means the lab's death and not
// that of some short-lived thread.
type Namespace struct {
	name string
	file *os.File // the namespace, through its bind mount
	work chan func()
	quit chan struct{}
	gone chan struct{} // closed when the thread has left

	mu       sync.Mutex // guards closed and children
	closed   bool
	children []child
}

// newNamespace makes a network namespace and binds it to netnsDir/name. On an
// error nothing is left.
func newNamespace(name string) (*Namespace, error) {
	n := &Namespace{
		name: name,
		work: make(chan func()),
		quit: make(chan struct{}),
		gone: make(chan struct{}),
	}
	started := make(chan error, 1)
	goLocked(func() { n.live(started) })
	if err := <-started; err != nil {
		<-n.gone
		return nil, fmt.Errorf("make namespace %s: %w", name, err)
	}
	return n, nil
}

// live is the namespace's own thread. It returns locked: the thread dies.
func (n *Namespace) live(started chan<- error) {
	defer close(n.gone)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		started <- fmt.Errorf("unshare: %w", err)
		return
	}
	if err := n.bind(); err != nil {
		_ = removeNetnsName(n.name)
		started <- err
		return
	}
	started <- nil
	for {
		select {
		case f := <-n.work:
			f()
		case <-n.quit:
			return
		}
	}
}

// bind gives the calling thread's namespace its name.
func (n *Namespace) bind() error {
	if err := shareNetnsDir(); err != nil {
		return err
	}
	f, err := os.OpenFile(n.Path(), os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	src := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
	if err := unix.Mount(src, n.Path(), "none", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind mount on %s: %w", n.Path(), err)
	}
	n.file, err = os.Open(n.Path())
	return err
}

// shareNetnsDir makes netnsDir a shared mount of its own, as ip-netns(8) does
// with its first name. Names below a folder that is no mount point would be
// hidden by that: the first `ip netns add` of anybody binds the folder onto
// itself, and removing a hidden name fails for ever. The lock is iproute2's.
func shareNetnsDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", netnsDir, err)
	}
	err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // no mount point yet
		if err := unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s: %w", netnsDir, err)
		}
		err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	}
	if err != nil {
		return fmt.Errorf("share %s: %w", netnsDir, err)
	}
	return nil
}

// Name returns the name that `ip netns` shows.
func (n *Namespace) Name() string { return n.name }

// Path returns the file that stands for the namespace; setns(2) takes it.
func (n *Namespace) Path() string { return filepath.Join(netnsDir, n.name) }

// call runs fn on the namespace's own thread and waits. fn must be short: all
// sockets and children of the namespace queue behind it.
func (n *Namespace) call(fn func() error) error {
	done := make(chan error, 1)
	select {
	case n.work <- func() { done <- fn() }:
		return <-done
	case <-n.gone:
		return fmt.Errorf("namespace %s: %w", n.name, ErrClosed)
	}
}

// Do runs fn on a locked thread inside the namespace and returns its error. It
// may block as long as it likes. Goroutines that fn starts are outside the
// namespace; sockets that fn opens stay inside, whoever uses them later. A
// panic or runtime.Goexit (as in t.FailNow) continues in the caller.
func (n *Namespace) Do(fn func() error) error {
	n.mu.Lock()
	closed := n.closed
	n.mu.Unlock()
	if closed {
		return fmt.Errorf("namespace %s: %w", n.name, ErrClosed)
	}
	o := outcome{exited: true}
	done := make(chan struct{})
	goLocked(func() {
		defer close(done)
		n.visit(fn, &o)
	})
	<-done
	switch {
	case o.panicked != nil:
		panic(o.panicked)
	case o.exited:
		runtime.Goexit()
	}
	return o.err
}

// outcome says how a function ended: exited is true when it never returned.
type outcome struct {
	err      error
	panicked any
	exited   bool
}

// visit enters the namespace, runs fn, and goes back. If it cannot go back the
// thread stays locked, and dies when visit's caller returns.
func (n *Namespace) visit(fn func() error, o *outcome) {
	home, err := openThreadNetns()
	if err != nil {
		*o = outcome{err: fmt.Errorf("open own namespace: %w", err)}
		return
	}
	defer home.Close()
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		*o = outcome{err: fmt.Errorf("enter namespace %s: %w", n.name, err)}
		return
	}
	defer func() {
		o.panicked = recover()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	err = fn()
	*o = outcome{err: err}
}

// Close kills the children that still run, ends the namespace's thread and
// removes the name. The kernel frees the namespace when its last socket is
// closed. Close may be called again, and then does what is left to do.
func (n *Namespace) Close() error {
	n.mu.Lock()
	first := !n.closed
	n.closed = true
	n.mu.Unlock()
	err := n.killChildren()
	if first {
		close(n.quit)
		<-n.gone
		err = errors.Join(err, n.file.Close())
	}
	return errors.Join(err, removeNetnsName(n.name))
}

// removeNetnsName unmounts and removes a name. A name that is gone is no error,
// nor is one that was made and never mounted.
func removeNetnsName(name string) error {
	path := filepath.Join(netnsDir, name)
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove namespace name: %w", err)
	}
	return nil
}
