// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Listen listens on a numeric address in the namespace, with the networks of
// net.Listen. The listener may be used from anywhere, also after Close. It is
// plain TCP, as nginx's is: Go's own default would be Multipath TCP.
func (n *Namespace) Listen(network, addr string) (net.Listener, error) {
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	var ln net.Listener
	err := n.call(func() (err error) {
		ln, err = cfg.Listen(context.Background(), network, addr)
		return err
	})
	return ln, err
}

// ListenPacket is Listen for the networks of net.ListenPacket.
func (n *Namespace) ListenPacket(network, addr string) (net.PacketConn, error) {
	var pc net.PacketConn
	err := n.call(func() (err error) {
		pc, err = net.ListenPacket(network, addr)
		return err
	})
	return pc, err
}

// Dialer makes TCP connections out of a namespace from one source address.
type Dialer struct {
	ns     *Namespace
	source netip.Addr
}

// Dialer returns a dialer whose connections come from source; the zero Addr
// leaves the choice to the kernel.
func (n *Namespace) Dialer(source netip.Addr) *Dialer { return &Dialer{n, source} }

// DialContext connects to a numeric "address:port" and fits http.Transport. It
// needs the namespace's thread only to make the socket: many dials may wait at
// the same time, as they do when something drops their packets. Errors are
// *net.OpError, and time-outs are net.Error with Timeout.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, net.UnknownNetworkError(network)
	}
	dst, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	conn, err := d.dial(ctx, dst)
	if err != nil {
		op := &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(dst), Err: err}
		if d.source.IsValid() {
			op.Source = &net.TCPAddr{IP: d.source.AsSlice()}
		}
		return nil, op
	}
	return conn, nil
}

func (d *Dialer) dial(ctx context.Context, dst netip.AddrPort) (net.Conn, error) {
	f, err := d.socket(dst.Addr())
	if err != nil {
		return nil, err
	}
	defer f.Close() // FileConn makes a descriptor of its own
	if deadline, ok := ctx.Deadline(); ok {
		if err := f.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := connect(f, dst); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return net.FileConn(f)
}

// socket makes a non-blocking socket in the namespace, bound to the source.
func (d *Dialer) socket(dst netip.Addr) (*os.File, error) {
	fd := -1
	err := d.ns.call(func() (err error) {
		fd, err = unix.Socket(family(dst), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	if d.source.IsValid() {
		// The port is chosen at connect, when the destination is known: the
		// same port may then serve several destinations.
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err == nil && d.source.Is6() {
			// An address of WidePrefix6 is no interface's.
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
		}
		if err == nil {
			err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(d.source, 0)))
		}
		if err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("bind", err)
		}
	}
	return os.NewFile(uintptr(fd), "tcp"), nil
}

// connect connects f and waits for the answer until f's deadline.
func connect(f *os.File, dst netip.AddrPort) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) { result = unix.Connect(int(fd), sockaddr(dst)) })
	if err != nil || !errors.Is(result, unix.EINPROGRESS) {
		return errors.Join(err, os.NewSyscallError("connect", result))
	}
	err = raw.Write(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if k, err := unix.Poll(fds, 0); k == 0 || err != nil {
			return false
		}
		var errno int
		errno, result = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if result == nil && errno != 0 {
			result = unix.Errno(errno)
		}
		return true
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("connect", result)
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
