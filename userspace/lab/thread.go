// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// goLocked runs fn on a goroutine locked to a thread that is not the main
// thread. A thread whose fn returns without runtime.UnlockOSThread dies, and
// with it whatever namespace it is in. The main thread cannot die, and
// /proc/self shows its namespace to the whole process: it must never move.
func goLocked(fn func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			fn()
			return
		}
		// Holding the main thread, the next goroutine cannot land on it.
		started := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(started)
			fn()
		}()
		<-started
		runtime.UnlockOSThread()
	}()
}

// openThreadNetns opens the network namespace of the calling thread.
func openThreadNetns() (*os.File, error) {
	return os.Open("/proc/thread-self/ns/net")
}
