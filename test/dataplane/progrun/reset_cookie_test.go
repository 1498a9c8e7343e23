// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// elsewhere runs do where no socket is: for the kernel's eyes the connections of the room do not exist yet.
func elsewhere(t *testing.T, do func()) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the namespace ends with the thread
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			do()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
}

// Behind a SYN cookie the first part of a ClientHello can come before there is a socket, when the bare ACK got lost:
// that part makes it. The rest resets the connection then; a whole ClientHello without a socket is dropped, and makes
// none.
func TestResetOfAHelloThatBeganBehindACookie(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		p.swap(denyJA4(helloJA4, false))
		k := r.connect(l, f.visitor, true)
		first, rest := k.at(0, hello[:20]), k.at(20, hello[20:])
		elsewhere(t, func() {
			p.want("a whole hello before there is a socket", k.at(0, hello), drops("ja4"))
			p.wantNoFlow("nobody vouches yet")
			p.want("the first part before there is a socket", first, passes("unconfirmed"))
		})
		k.write(hello[:20])
		p.wantReset("the rest", rest.Bytes(), resets("ja4"), k.toServer(rest, k.isn+21))
		k.reset()
		p.wantReset("the first part again", first.Bytes(), answered("ja4"), toClient(first))
	})
}
