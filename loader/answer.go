// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a device is, packets cannot say. Its frames must begin with an Ethernet header to be read; and whether an answer
// can leave it by XDP_TX decides whether a reset is one.

// ReadsFrames reports whether frames of the device begin with an Ethernet header, as programs read them. A type of 0 is
// not known.
func (d Device) ReadsFrames() bool {
	return d.Type == 0 || d.Type == unix.ARPHRD_ETHER || d.Type == unix.ARPHRD_LOOPBACK
}

// WithoutMAC says why the device is no place for Spillway.
func (d Device) WithoutMAC() string {
	what := d.Kind
	switch {
	case d.Type == unix.ARPHRD_PPP:
		what = "PPP"
	case d.Kind == "tun":
		what = "TUN"
	case what == "":
		what = fmt.Sprintf("type %d", d.Type)
	}
	return fmt.Sprintf("%s is a layer-3 device (%s): its frames have no Ethernet header, so nothing in them could be read and everything would pass",
		d.Name, what)
}

// FixWithoutMAC says what to do instead.
const FixWithoutMAC = "attach to the Ethernet device that its packets come in by, where they are not encrypted or inside a tunnel there; XDP sees no others"

// refuseWithoutMAC returns ErrNoMAC for a device whose frames cannot be read.
func refuseWithoutMAC(index int) error {
	d, err := DeviceByIndex(index)
	if err != nil {
		return err
	}
	if d.ReadsFrames() {
		return nil
	}
	return fmt.Errorf("attach to %s: %w: %s", d.Name, ErrNoMAC, d.WithoutMAC())
}

// Answer says whether what a program answers by XDP_TX leaves the device.
type Answer int

// The values of Answer.
const (
	AnswerLeaves  Answer = iota // as far as is known
	AnswerLost                  // a veth whose peer polls nothing
	AnswerUnknown               // a veth whose peer is in another network namespace
)

// Answers says whether an answer would leave. A veth's peer takes one only where it has a program or GRO on.
func (d Device) Answers() Answer {
	if d.Kind != "veth" {
		return AnswerLeaves
	}
	if d.PeerElsewhere || d.Peer == 0 {
		return AnswerUnknown
	}
	peer, err := DeviceByIndex(d.Peer)
	if err != nil {
		return AnswerUnknown
	}
	if len(peer.Programs) > 0 {
		return AnswerLeaves
	}
	switch on, err := groOf(peer.Name); {
	case err != nil:
		return AnswerUnknown
	case on:
		return AnswerLeaves
	}
	return AnswerLost
}

// groOf asks the driver whether generic receive offload is on.
func groOf(name string) (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("ask %s for GRO: %w", name, err)
	}
	defer unix.Close(fd)
	value := &struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GGRO}
	req := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(value)}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(value)
	if errno != 0 {
		return false, fmt.Errorf("ask %s for GRO: %w", name, errno)
	}
	return value.data != 0, nil
}
