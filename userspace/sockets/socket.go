// SPDX-License-Identifier: Apache-2.0

package sockets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

var (
	// ErrNoSocket: no connection has these addresses and ports, or not the one that was found any more.
	ErrNoSocket = errors.New("no such socket")
	// ErrUnsupported: this kernel cannot close sockets (CONFIG_INET_DIAG_DESTROY).
	ErrUnsupported = errors.New("this kernel cannot close the sockets of others")
)

// Socket is one connection.
type Socket struct {
	// Idle is for how long nothing that the client sent has been accepted.
	Idle time.Duration

	family uint8
	id     [idSize]byte // struct inet_diag_sockid, cookie included
}

// Sizes and offsets of include/uapi/linux/inet_diag.h and linux/tcp.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	idSize           = 48
	requestSize      = 8 + idSize
	replySize        = 4 + idSize + 20
	diagInfo         = 2  // INET_DIAG_INFO: struct tcp_info
	lastDataReceived = 52 // milliseconds
	lastACKReceived  = 56
	infoSize         = 60
)

// The states of a connection that has an owner, or whose end waits for the client (include/net/tcp_states.h).
const (
	established = 1
	finWait1    = 4
	finWait2    = 5
	closeWait   = 8
	lastACK     = 9
	closing     = 11
)

const closable = 1<<established | 1<<finWait1 | 1<<finWait2 | 1<<closeWait | 1<<lastACK | 1<<closing

// request is struct inet_diag_req_v2.
type request [requestSize]byte

func (r *request) Len() int          { return len(r) }
func (r *request) Serialize() []byte { return r[:] }

// Find returns the connection between two addresses of one family. ErrNoSocket when there is none: a listener, a
// handshake and what is only remembered (TIME_WAIT) are none.
func Find(local, remote netip.AddrPort) (Socket, error) {
	family := uint8(unix.AF_INET6)
	if local.Addr().Unmap().Is4() {
		family = unix.AF_INET
	}
	r := request{family, unix.IPPROTO_TCP, 1 << (diagInfo - 1)}
	binary.NativeEndian.PutUint32(r[4:], closable)
	id := r[8:]
	binary.BigEndian.PutUint16(id[0:], local.Port())
	binary.BigEndian.PutUint16(id[2:], remote.Port())
	copy(id[4:20], local.Addr().Unmap().AsSlice())
	copy(id[20:36], remote.Addr().Unmap().AsSlice())
	for i := range 8 {
		id[40+i] = 0xff // any cookie
	}
	replies, err := ask(sockDiagByFamily, &r)
	if err != nil {
		return Socket{}, fmt.Errorf("look for the socket of %s: %w", remote, err)
	}
	for _, reply := range replies {
		if s, ok := parse(reply, remote.Port()); ok {
			return s, nil
		}
	}
	return Socket{}, fmt.Errorf("look for the socket of %s: %w", remote, ErrNoSocket)
}

func parse(reply []byte, port uint16) (s Socket, ok bool) {
	if len(reply) < replySize {
		return s, false
	}
	state := reply[1]
	copy(s.id[:], reply[4:])
	s.family = reply[0]
	if state >= 32 || closable>>state&1 == 0 || binary.BigEndian.Uint16(s.id[2:]) != port {
		return s, false
	}
	attrs, err := nl.ParseRouteAttr(reply[replySize:])
	if err != nil {
		return s, false
	}
	for _, a := range attrs {
		if a.Attr.Type == diagInfo && len(a.Value) >= infoSize {
			ms := min(binary.NativeEndian.Uint32(a.Value[lastDataReceived:]),
				binary.NativeEndian.Uint32(a.Value[lastACKReceived:]))
			s.Idle = time.Duration(ms) * time.Millisecond
			return s, true
		}
	}
	return s, false
}

// Close ends the socket as if its owner had aborted it: the owner's next call fails with ECONNABORTED, and the client
// is told by an RST. ErrNoSocket when it is gone, ErrUnsupported where the kernel has no such call. It needs
// CAP_NET_ADMIN.
func (s Socket) Close() error {
	r := request{s.family, unix.IPPROTO_TCP}
	binary.NativeEndian.PutUint32(r[4:], closable)
	copy(r[8:], s.id[:])
	if _, err := ask(sockDestroy, &r); err != nil {
		return fmt.Errorf("close a socket: %w", err)
	}
	return nil
}

func ask(what int, r *request) ([][]byte, error) {
	flags := 0
	if what == sockDestroy {
		flags = unix.NLM_F_ACK
	}
	req := nl.NewNetlinkRequest(what, flags)
	req.AddData(r)
	replies, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESTALE):
		return nil, ErrNoSocket
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil, ErrUnsupported
	}
	return replies, err
}
