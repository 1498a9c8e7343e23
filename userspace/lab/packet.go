// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// maxFrame is the longest frame that is read or sent: no jumbo frames here.
const maxFrame = 2048

// packetSocket is a raw AF_PACKET socket on one link. One that was opened
// without a filter only sends.
type packetSocket struct{ file *os.File }

// openPacket opens a packet socket. It sees only what arrives at the link, not
// what leaves it, and of that only what filter lets through.
func (n *Namespace) openPacket(index int, filter []unix.SockFilter) (*packetSocket, error) {
	fd := -1
	err := n.call(func() (err error) {
		// Protocol 0 receives nothing: the filter must be there before bind.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open packet socket in %s: %w", n.name, err)
	}
	addr := &unix.SockaddrLinklayer{Ifindex: index}
	if filter != nil {
		addr.Protocol = htons(unix.ETH_P_ALL)
		prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
		}
	}
	if err == nil {
		err = unix.Bind(fd, addr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("prepare packet socket in %s: %w", n.name, err)
	}
	return &packetSocket{os.NewFile(uintptr(fd), "packet")}, nil
}

// send sends one frame, waiting at most a second for room in the queue.
func (s *packetSocket) send(frame []byte) error {
	if len(frame) > maxFrame {
		return fmt.Errorf("send frame: %d bytes, at most %d", len(frame), maxFrame)
	}
	deadline := time.Now().Add(time.Second)
	for {
		_, err := s.file.Write(frame)
		// ENOBUFS is a full device queue: poll would say writable, so retry.
		if !errors.Is(err, unix.ENOBUFS) || time.Now().After(deadline) {
			return err
		}
	}
}

func (s *packetSocket) Close() error { return ignore(s.file.Close(), os.ErrClosed) }

// SendFrame sends raw bytes, from the Ethernet header on, out of out0 towards
// the edge. Nothing is added or corrected. A flood has no place here: it wants
// XDP live frames and a file of its own.
func (l *Lab) SendFrame(frame []byte) error {
	if err := l.sender.send(frame); err != nil {
		return fmt.Errorf("send frame of %d bytes: %w", len(frame), err)
	}
	return nil
}

// captureFrames is how many frames a Capture keeps for its reader.
const captureFrames = 1024

// Capture collects the frames that arrive at a link. On edge0 it sees what XDP
// has passed; on out0 what the edge has sent.
type Capture struct {
	sock   *packetSocket
	frames chan []byte
	lost   atomic.Uint64
	done   chan struct{}
}

// CaptureEdge captures what arrives at edge0. Frames for which keep is false
// are not kept; nil keeps all.
func (l *Lab) CaptureEdge(keep func(frame []byte) bool) (*Capture, error) {
	return l.capture(l.Edge, l.EdgeIndex, keep)
}

// CaptureOut captures what arrives at out0; keep is as for CaptureEdge.
func (l *Lab) CaptureOut(keep func(frame []byte) bool) (*Capture, error) {
	return l.capture(l.Out, l.OutIndex, keep)
}

func (l *Lab) capture(n *Namespace, index int, keep func([]byte) bool) (*Capture, error) {
	all := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: maxFrame}}
	sock, err := n.openPacket(index, all)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	c := &Capture{sock: sock, frames: make(chan []byte, captureFrames), done: make(chan struct{})}
	go c.read(keep)
	if err := l.add(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Capture) read(keep func([]byte) bool) {
	defer close(c.done)
	buf := make([]byte, maxFrame)
	for {
		n, err := c.sock.file.Read(buf)
		if err != nil {
			return // closed, or the link went
		}
		if keep != nil && !keep(buf[:n]) {
			continue
		}
		select {
		case c.frames <- append([]byte(nil), buf[:n]...):
		default:
			c.lost.Add(1)
		}
	}
}

// Next returns the oldest frame that was not returned yet, waiting for one
// until ctx ends. After Close it returns what is left, then ErrClosed.
func (c *Capture) Next(ctx context.Context) ([]byte, error) {
	select {
	case f := <-c.frames:
		return f, nil
	default:
	}
	select {
	case f := <-c.frames:
		return f, nil
	case <-c.done:
		select {
		case f := <-c.frames:
			return f, nil
		default:
			return nil, fmt.Errorf("capture: %w", ErrClosed)
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a frame: %w", ctx.Err())
	}
}

// Lost returns how many frames were thrown away because nobody read.
func (c *Capture) Lost() uint64 { return c.lost.Load() }

// Close stops the capture. It may be called again.
func (c *Capture) Close() error {
	err := c.sock.Close()
	<-c.done
	return err
}

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
