// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
)

// room is a network namespace of the test's own, with a web server's sockets in it:
//
//	the test, playing any client ── program run ──pass──> tun ── the kernel's TCP ── listener on webPort
//
// The test's goroutine lives in it, on a thread that dies with the test. What the program drops never reaches the
// sockets, as if it were attached.
type room struct {
	p        *plane
	t        *testing.T
	tun      *os.File
	listener *net.TCPListener
	synACK   []byte // the last one that the server sent, from its TCP header on
}

var (
	server4 = netip.MustParseAddr("192.0.2.1")
	server6 = netip.MustParseAddr("2001:db8:0:1::1")
)

// enter puts the calling test into a room. Settings are of net.ipv4, by name.
func enter(t *testing.T, p *plane, settings map[string]string) *room {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread, and with it the namespace, ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	for name, value := range settings {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
			t.Fatalf("set %s: %v", name, err)
		}
	}
	r := &room{p: p, t: t}
	r.openTun()
	config := net.ListenConfig{}
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), "tcp", netip.AddrPortFrom(netip.IPv6Unspecified(), webPort).String())
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	r.listener = l.(*net.TCPListener)
	t.Cleanup(func() { _ = l.Close() })
	return r
}

// openTun makes the interface behind which all clients are.
func (r *room) openTun() {
	r.t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		r.t.Fatalf("open a tun device: %v", err)
	}
	request, err := unix.NewIfreq("clients")
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = errors.Join(unix.IoctlIfreq(fd, unix.TUNSETIFF, request), unix.SetNonblock(fd, true))
	}
	if err != nil {
		r.t.Fatalf("make a tun device: %v", err)
	}
	r.tun = os.NewFile(uintptr(fd), "tun")
	r.t.Cleanup(func() { _ = r.tun.Close() })
	link, err := netlink.LinkByName("clients")
	if err != nil {
		r.t.Fatal(err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		r.t.Fatal(err)
	}
	err = errors.Join(netlink.LinkSetUp(lo), netlink.LinkSetUp(link))
	for _, a := range []netip.Addr{server4, server6} {
		ip := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())},
			Flags: unix.IFA_F_NODAD}
		all := &net.IPNet{IP: make(net.IP, a.BitLen()/8), Mask: net.CIDRMask(0, a.BitLen())}
		err = errors.Join(err, netlink.AddrAdd(link, ip),
			netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: all}))
	}
	if err != nil {
		r.t.Fatalf("set up the tun device: %v", err)
	}
}

// client is one connection to web, played by the test.
type client struct {
	visitor
	r      *room
	server *net.TCPConn
}

// dial sends a SYN and takes the server's answer. The handshake's ACK is the test's to send.
func (r *room) dial(source string, port uint16, stream []byte) *client {
	r.t.Helper()
	return r.dialAs(source, port, 0x77000000+uint32(port)<<8, stream)
}

// dialAs is dial with an ISN of the test's: a port that is used again needs another one.
func (r *room) dialAs(source string, port uint16, isn uint32, stream []byte) *client {
	r.t.Helper()
	from := netip.AddrPortFrom(netip.MustParseAddr(source), port)
	to := netip.AddrPortFrom(server4, webPort)
	if from.Addr().Is6() {
		to = netip.AddrPortFrom(server6, webPort)
	}
	c := &client{visitor: visitor{r.p, clienthello.Connection{Source: from, Dest: to, ISN: isn}, stream}, r: r}
	c.knock(c.k.SYN())
	return c
}

// knock sends a SYN, as often as a client would, and takes the server's answer.
func (c *client) knock(syn []byte) {
	c.r.t.Helper()
	c.untilAnswered(func() { c.p.wants("a SYN", "XDP_PASS", c.feed(syn)) })
}

// untilAnswered asks for a connection, as often as a client would, until the server answers.
func (c *client) untilAnswered(ask func()) {
	c.r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		ask()
		if number, ok := c.r.answer(c.k.Source); ok {
			c.k.Ack = number + 1
			return
		}
		if time.Now().After(deadline) {
			c.r.t.Fatalf("the server does not answer the SYN of %s", c.k.Source)
		}
	}
}

// connect is dial with the rest of the handshake.
func (r *room) connect(source string, port uint16, stream []byte) *client {
	r.t.Helper()
	c := r.dial(source, port, stream)
	c.ack()
	return c
}

// ack finishes the handshake and takes the server's socket.
func (c *client) ack() {
	c.r.t.Helper()
	c.r.p.wants("the handshake's ACK", "XDP_PASS", c.feed(c.emptyACK()))
	c.accept()
}

func (c *client) accept() {
	c.r.t.Helper()
	_ = c.r.listener.SetDeadline(time.Now().Add(10 * time.Second))
	for {
		s, err := c.r.listener.AcceptTCP()
		if err != nil {
			c.r.t.Fatalf("accept: %v", err)
		}
		c.r.t.Cleanup(func() { _ = s.SetLinger(0); _ = s.Close() })
		if from := s.RemoteAddr().(*net.TCPAddr).AddrPort(); from.Addr().Unmap() == c.k.Source.Addr() &&
			from.Port() == c.k.Source.Port() {
			c.server = s
			return
		} // else a bot's, whose hello the server will never have
	}
}

func (c *client) emptyACK() []byte {
	return packet.Frame{Source: c.k.Source.Addr(), Dest: c.k.Dest.Addr(), Body: packet.TCP{SourcePort: c.k.Source.Port(),
		DestPort: c.k.Dest.Port(), Seq: c.k.ISN + 1, Ack: c.k.Ack, Flags: packet.ACK, Window: 64240}}.Bytes()
}

// feed runs a frame through the program, and lets the kernel have it if it passes.
func (c *client) feed(frame []byte) string {
	c.r.t.Helper()
	action := c.p.run(frame)
	if action == "XDP_PASS" {
		if _, err := c.r.tun.Write(frame[packet.EthernetLen:]); err != nil {
			c.r.t.Fatalf("write to the tun device: %v", err)
		}
	}
	return action
}

func (c *client) bytes(from, to int) string { return c.data(from, c.stream[from:to]) }

func (c *client) data(at int, data []byte) string {
	c.r.t.Helper()
	return c.feed(c.k.Frame(clienthello.Segment{Offset: at, Data: data}))
}

func (c *client) all(cuts ...int) (last string) {
	c.r.t.Helper()
	for _, s := range clienthello.Segments(c.stream, cuts...) {
		last = c.data(s.Offset, s.Data)
	}
	return last
}

// hasRead waits until the server has read n bytes and compares them.
func (c *client) hasRead(what string, n int) {
	c.r.t.Helper()
	got := make([]byte, n)
	_ = c.server.SetReadDeadline(time.Now().Add(10 * time.Second))
	for at := 0; at < n; {
		m, err := c.server.Read(got[at:])
		if err != nil {
			c.r.t.Fatalf("%s: the server read %d of %d bytes: %v", what, at, n, err)
		}
		at += m
	}
	if string(got) != string(c.stream[:n]) {
		c.r.t.Errorf("%s: the server read other bytes than were sent", what)
	}
}

// answer waits for the server's SYN-ACK to a client, a second at most, and returns its sequence number.
func (r *room) answer(to netip.AddrPort) (number uint32, ok bool) {
	r.t.Helper()
	_ = r.tun.SetReadDeadline(time.Now().Add(time.Second))
	for {
		buf := make([]byte, 2048)
		n, err := r.tun.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, false
		}
		r.p.must(err)
		ip, tcp := buf[:n], []byte(nil)
		dst := netip.Addr{}
		switch {
		case n >= 40 && ip[0]>>4 == 4:
			dst, tcp = netip.AddrFrom4([4]byte(ip[16:20])), ip[int(ip[0]&15)*4:]
		case n >= 60 && ip[0]>>4 == 6 && ip[6] == unix.IPPROTO_TCP:
			dst, tcp = netip.AddrFrom16([16]byte(ip[24:40])), ip[40:]
		default:
			continue
		}
		if dst == to.Addr() && binary.BigEndian.Uint16(tcp[2:]) == to.Port() && tcp[13] == packet.SYN|packet.ACK {
			r.synACK = tcp
			return binary.BigEndian.Uint32(tcp[4:]), true
		}
	}
}

// families are a visitor's and a bot's address of each.
var families = []struct{ name, visitor, bot, other string }{
	{"IPv4", visitorIP, botIP, "198.18.0.1"},
	{"IPv6", "2001:db8:a::10", "2001:db8:bad::66", "2001:db8:b::1"},
}

func eachFamily(t *testing.T, test func(t *testing.T, visitor, bot, other string)) {
	t.Helper()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) { test(t, f.visitor, f.bot, f.other) })
	}
}
