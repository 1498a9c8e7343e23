// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// wire is a veth pair between a client's namespace and the room, with the program attached to the room's end:
//
//	client's kernel ── far ══ near ── root program ── the room's sockets
type wire struct {
	r    *room
	near netlink.Link
	ask  chan func() error // run on the client's thread
	told chan error
}

const farName = "spwfar"

func (r *room) openWire(name string) *wire {
	r.t.Helper()
	w := &wire{r: r, ask: make(chan func() error), told: make(chan error)}
	thread := make(chan int)
	go func() {
		runtime.LockOSThread() // never unlocked: the namespace ends with the thread
		w.r.p.t.Cleanup(func() { close(w.ask) })
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			thread <- 0
			return
		}
		thread <- unix.Gettid()
		for f := range w.ask {
			w.told <- f()
		}
	}()
	tid := <-thread
	ns, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", tid))
	r.p.must(err)
	defer func() { _ = ns.Close() }()
	r.p.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: farName}))
	far, err := netlink.LinkByName(farName)
	r.p.must(err)
	r.p.must(netlink.LinkSetNsFd(far, int(ns.Fd())))
	w.near, err = netlink.LinkByName(name)
	r.p.must(err)
	r.p.must(errors.Join(addresses(w.near, "10.77.0.1/24", "fd77::1/64"), netlink.LinkSetUp(w.near)))
	w.client(func() error {
		l, err := netlink.LinkByName(farName)
		if err != nil {
			return err
		}
		return errors.Join(addresses(l, "10.77.0.2/24", "fd77::2/64"), netlink.LinkSetUp(l))
	})
	return w
}

// client runs f in the client's namespace.
func (w *wire) client(f func() error) {
	w.r.t.Helper()
	w.ask <- f
	w.r.p.must(<-w.told)
}

func addresses(l netlink.Link, all ...string) error {
	var errs []error
	for _, a := range all {
		ip, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		ip.Flags = unix.IFA_F_NODAD
		errs = append(errs, netlink.AddrAdd(l, ip))
	}
	return errors.Join(errs...)
}

// sum turns the client's transmit checksumming on or off: on, its kernel leaves the sums to a card that a veth does not
// have.
func (w *wire) sum(on bool) {
	w.r.t.Helper()
	w.client(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		value := struct{ cmd, data uint32 }{unix.ETHTOOL_STXCSUM, 0}
		if on {
			value.data = 1
		}
		request := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(request.name[:], farName)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL,
			uintptr(unsafe.Pointer(&request))); errno != 0 {
			return errno
		}
		return nil
	})
}

// says opens a connection of the client's kernel, sends a stream, and returns who it was and what the server read in a
// while.
func (w *wire) says(to string, stream []byte) (from netip.AddrPort, read int) {
	w.r.t.Helper()
	var c net.Conn
	w.client(func() (err error) {
		if c, err = net.DialTimeout("tcp", netip.AddrPortFrom(netip.MustParseAddr(to), webPort).String(),
			10*time.Second); err == nil {
			_, err = c.Write(stream)
		}
		return err
	})
	defer func() { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }()
	_ = w.r.listener.SetDeadline(time.Now().Add(10 * time.Second))
	s, err := w.r.listener.AcceptTCP()
	w.r.p.must(err)
	defer func() { _ = s.SetLinger(0); _ = s.Close() }()
	buf := make([]byte, len(stream))
	_ = s.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	for n := 0; read < len(buf); read += n {
		if n, err = s.Read(buf[read:]); err != nil {
			break
		}
	}
	return c.LocalAddr().(*net.TCPAddr).AddrPort(), read
}

// What kernels send over a veth is read with their transmit checksumming on and off; where the interface is not known
// for it, a listed hello without a whole checksum is dropped all the same, segment by segment.
func TestChecksumsOnTheWire(t *testing.T) {
	denied, harmless := one(browser(1)), harmless()
	p := open(t)
	r := enter(t, p, nil)
	p.swap(against(p.ja4Of(denied)).bundle())
	w := r.openWire("spwnear")
	a, err := p.Attach("spwnear", config.AttachNative)
	p.must(err)
	t.Cleanup(func() { p.must(p.DetachInterface(a.Pin)) })
	m, index := p.maps[bpf.DataplaneMapInterfaces], uint32(w.near.Attrs().Index)
	for _, to := range []string{"10.77.0.1", "fd77::1"} {
		for _, flagged := range []bool{true, false} {
			if !flagged {
				p.must(m.Put(index, bpf.Interface{}))
			} else {
				p.must(m.Put(index, bpf.Interface{Flags: uint32(bpf.InterfacePartialSums)}))
			}
			for _, on := range []bool{true, false} {
				w.sum(on)
				what := fmt.Sprintf("to %s, flagged %v, transmit checksumming %v", to, flagged, on)
				from, read := w.says(to, denied)
				flow, _ := p.flow(from, netip.AddrPortFrom(netip.MustParseAddr(to), webPort))
				if blocked := flow.Verdict != 0; !blocked {
					t.Errorf("%s: the listed hello's flow is blocked %v", what, blocked)
				}
				if read == len(denied) {
					t.Errorf("%s: the listed hello is served", what)
				}
				if _, read := w.says(to, harmless); read != len(harmless) {
					t.Errorf("%s: of a visitor's hello %d bytes arrive", what, read)
				}
			}
		}
	}
}
