// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"

	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// What callers can tell apart with errors.Is.
var (
	// ErrNotPinned: there is no pinned state, so nothing of Spillway runs here.
	ErrNotPinned = kernel.ErrNotPinned
	// ErrForeignABI: the pinned state was made by a version whose maps this one cannot read.
	ErrForeignABI = kernel.ErrForeignABI
	// ErrUnsupported: the kernel lacks something.
	ErrUnsupported = kernel.ErrUnsupported
	// ErrPermission: a capability is missing.
	ErrPermission = kernel.ErrPermission
	// ErrNoMAC: the interface's frames have no Ethernet header.
	ErrNoMAC = errors.New("frames without an Ethernet header")
	// ErrForeignProgram: another XDP program sits on the interface. It is never replaced.
	ErrForeignProgram = errors.New("another XDP program is attached")
	// ErrNoDevice: the interface does not exist (now).
	ErrNoDevice = errors.New("no such interface")
	// ErrCapacity: more rows than the host file provides for.
	ErrCapacity = compile.ErrCapacity
	// ErrNoPrevious: there is no previous generation to go back to.
	ErrNoPrevious = errors.New("no previous generation is resident")
	// ErrNoCandidate: there is no candidate to promote.
	ErrNoCandidate = errors.New("no candidate is resident")
	// ErrMoved: the control word was changed since somebody looked.
	ErrMoved = errors.New("somebody else changed the control word meanwhile")
	// ErrReadBack: the kernel does not hold what was written to it.
	ErrReadBack = errors.New("the kernel holds something else than was written")
	// ErrPinDiffers: a pin is not what packets read, so it says nothing about them.
	ErrPinDiffers = errors.New("the pin is not what packets read")
)
