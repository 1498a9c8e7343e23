// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/packet"
	support "github.com/spillway/spillway/test/support/plane"
)

// room is a network namespace of the test's own:
//
//	client address ── lo ── server address
//	                   │
//	              AF_PACKET: the frames as the kernel made them
//
// The test's goroutine lives in it, on a thread that dies with the test. Program runs from this goroutine find the
// room's sockets. No program is attached: the program sees what the test feeds it, and nothing else.
type room struct {
	t       *testing.T
	f       family
	capture int // packet socket on lo
}

// eachRoom runs a test over both families, in a room of its own and with a borrowed dataplane that blocks nothing yet.
func eachRoom(t *testing.T, test func(t *testing.T, f family, r *room, p *plane)) {
	t.Helper()
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		test(t, f, r, borrow(t).site(f, nothing()))
	})
}

// enter puts the calling test into a room. The kernel makes an IPv6 address usable by a worker of its own, after the
// answer to who adds it: enter waits until each can be bound and reached.
func enter(t *testing.T, f family) *room {
	t.Helper()
	support.Need(t)
	runtime.LockOSThread() // never unlocked: the thread, and with it the namespace, ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatalf("set lo up: %v", err)
	}
	all := []netip.Addr{f.server, f.visitor, f.other, f.bot, f.protected, f.mild}
	for _, a := range all {
		ip := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
		if err := netlink.AddrAdd(lo, ip); err != nil {
			t.Fatalf("add %s to lo: %v", a, err)
		}
	}
	for _, a := range all {
		awaitAddress(t, a)
	}
	r := &room{t: t, f: f}
	r.openCapture(lo.Attrs().Index)
	return r
}

func awaitAddress(t *testing.T, a netip.Addr) {
	t.Helper()
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0))}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := d.Dial("udp", netip.AddrPortFrom(a, 9).String())
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("use %s on lo: %v", a, err)
		}
	}
}

func (r *room) openCapture(lo int) {
	r.t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.t.Fatalf("open a packet socket: %v", err)
	}
	r.t.Cleanup(func() { _ = unix.Close(fd) })
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1), // lo shows each frame twice
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: lo}))
	if err != nil {
		r.t.Fatalf("capture on lo: %v", err)
	}
	r.capture = fd
}

// frame waits for a captured frame that is a segment from src and for which is says yes.
func (r *room) frame(what string, src netip.AddrPort, is func(tcp []byte) bool) []byte {
	r.t.Helper()
	for {
		buf := make([]byte, 2048)
		n, err := unix.Read(r.capture, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			r.t.Fatalf("wait for %s of %s: %v", what, src, err)
		}
		if tcp, port := tcpOf(buf[:n]); port == src && is(tcp) {
			return buf[:n]
		}
	}
}

// tcpOf returns the segment of a frame without options in its IP header, and who sent it.
func tcpOf(frame []byte) ([]byte, netip.AddrPort) {
	ip := frame[packet.EthernetLen:]
	var src netip.Addr
	switch binary.BigEndian.Uint16(frame[12:]) {
	case packet.EtherIPv4:
		src, ip = netip.AddrFrom4([4]byte(ip[12:16])), ip[packet.IPv4Len:]
	case packet.EtherIPv6:
		src, ip = netip.AddrFrom16([16]byte(ip[8:24])), ip[packet.IPv6Len:]
	}
	if !src.IsValid() || len(ip) < packet.TCPLen {
		return nil, netip.AddrPort{}
	}
	return ip, netip.AddrPortFrom(src, binary.BigEndian.Uint16(ip))
}

// listen opens web's listener.
func (r *room) listen() *net.TCPListener {
	r.t.Helper()
	return r.listenWith(nil, false)
}

// deferring makes a listener wait for data before it makes a socket: the handshake rests in a request socket.
func deferring(_, _ string, c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60)
	}), err)
}

// listenWith opens web's listener. Go speaks multipath TCP by default where the kernel does, most servers do not.
func (r *room) listenWith(control func(_, _ string, c syscall.RawConn) error, multipath bool) *net.TCPListener {
	r.t.Helper()
	config := net.ListenConfig{Control: control}
	config.SetMultipathTCP(multipath)
	l, err := config.Listen(context.Background(), "tcp", netip.AddrPortFrom(r.f.server, webPort).String())
	if err != nil {
		r.t.Fatalf("listen: %v", err)
	}
	r.t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

// conn is one real connection and what the kernel sent to make it.
type conn struct {
	r      *room
	src    netip.Addr
	client *net.TCPConn
	server *net.TCPConn // nil while the listener defers it
	isn    uint32       // the client's
	syn    []byte       // the frames of the handshake as captured
	ack    []byte

	sent    uint32 // bytes that the server has
	pending []byte // written, but not delivered yet
}

// connect makes a connection from src to the listener; accept takes the server's side too.
func (r *room) connect(l *net.TCPListener, src netip.Addr, accept bool) *conn {
	r.t.Helper()
	k := r.dial(src, r.f.server)
	if accept {
		_ = l.SetDeadline(time.Now().Add(10 * time.Second))
		s, err := l.AcceptTCP()
		if err != nil {
			r.t.Fatalf("accept: %v", err)
		}
		r.t.Cleanup(func() { _ = s.Close() })
		k.server = s
	}
	return k
}

// dial connects from src's fixed port to web and captures the handshake. A port in use is tried again: the kernel may
// still be closing it.
func (r *room) dial(src, dst netip.Addr) *conn {
	r.t.Helper()
	from := netip.AddrPortFrom(src, clientPort)
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: 10 * time.Second}
	var c net.Conn
	var err error
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err = d.Dial("tcp", netip.AddrPortFrom(dst, webPort).String())
		if err == nil || !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		r.t.Fatalf("connect from %s: %v", from, err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	k := &conn{r: r, src: src, client: c.(*net.TCPConn)}
	k.handshake()
	return k
}

// handshake takes the frames of the client's handshake from the capture.
func (k *conn) handshake() {
	k.r.t.Helper()
	from := netip.AddrPortFrom(k.src, clientPort)
	k.syn = k.r.frame("the SYN", from, func(tcp []byte) bool { return tcp[13]&(packet.SYN|packet.ACK) == packet.SYN })
	tcp, _ := tcpOf(k.syn)
	k.isn = binary.BigEndian.Uint32(tcp[4:])
	k.ack = k.r.frame("the handshake's ACK", from, func(tcp []byte) bool { return tcp[13]&packet.ACK != 0 })
}

// visit is the usual connection of a visitor or a bot to web.
func (r *room) visit(src netip.Addr) *conn {
	r.t.Helper()
	return r.connect(r.listen(), src, true)
}

// write returns the frame that carries data, as the program would see it: before the server has it, and after it has
// all that was written before.
func (k *conn) write(data []byte) []byte {
	k.r.t.Helper()
	k.deliver()
	k.pending = data
	return k.at(k.sent, data).Bytes()
}

// deliver sends what was written last over the connection, and waits until the server has it.
func (k *conn) deliver() {
	k.r.t.Helper()
	if len(k.pending) == 0 {
		return
	}
	if _, err := k.client.Write(k.pending); err != nil {
		k.r.t.Fatalf("write: %v", err)
	}
	if _, err := io.ReadFull(k.server, make([]byte, len(k.pending))); err != nil {
		k.r.t.Fatalf("read: %v", err)
	}
	k.sent += uint32(len(k.pending))
	k.pending = nil
}

// reset ends the connection at once on both sides, so that its ports are free.
func (k *conn) reset() {
	k.r.t.Helper()
	k.deliver()
	if err := errors.Join(k.client.SetLinger(0), k.client.Close()); err != nil {
		k.r.t.Fatalf("reset the connection: %v", err)
	}
	_ = k.server.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := k.server.Read(make([]byte, 1)); err == nil || errors.Is(err, unix.EAGAIN) {
		k.r.t.Fatalf("the server did not see the reset: %v", err)
	}
	_ = k.server.Close()
}

// at returns a segment of this connection whose first byte is the n-th that the client sends, counted from 0.
func (k *conn) at(n uint32, data []byte) packet.Frame {
	return k.acking(k.r.f.data(k.src, k.isn+1+n, data))
}

// acking returns f with the acknowledgement that the server waits for: it takes no data without.
func (k *conn) acking(f packet.Frame) packet.Frame {
	tcp := f.Body.(packet.TCP)
	ack, _ := tcpOf(k.ack)
	tcp.Ack = binary.BigEndian.Uint32(ack[8:])
	f.Body = tcp
	return f
}

// synAs is the connection's SYN, as if another stack had sent it.
func (k *conn) synAs(f packet.Frame) packet.Frame {
	tcp := f.Body.(packet.TCP)
	tcp.Seq = k.isn
	f.Body = tcp
	return f
}

// scannerKnocks shows the connection's SYN as a scanner would have sent it, and denies scanners from then on.
func (p *plane) scannerKnocks(k *conn) {
	p.t.Helper()
	p.want("the SYN of a scanner", k.synAs(k.r.f.scan(k.src)), passes("no_match"))
	p.swap(denyScanners())
}

// with returns f with other flags.
func with(f packet.Frame, flags uint8) packet.Frame {
	tcp := f.Body.(packet.TCP)
	tcp.Flags = flags
	f.Body = tcp
	return f
}
