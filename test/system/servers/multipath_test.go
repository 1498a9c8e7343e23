// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/world"
)

// A listener and a client that both speak Multipath TCP, which is Go's default: where the host file says `mptcp: strip`
// they go on in plain TCP, and where it does not they do not. The hello of an ordinary client is read either way; only
// with strip nothing can be hidden in the order of the data.
func TestMultipath(t *testing.T) {
	s := newSite(t, 1)
	pair, port := s.certificate(), servers[0].port
	for _, p := range places {
		for network, host := range map[string]string{"tcp4": "0.0.0.0", "tcp6": "[::]"} {
			var l net.Listener
			world.Must(t, s.namespace(p).Do(func() (err error) {
				var c net.ListenConfig
				c.SetMultipathTCP(true)
				l, err = c.Listen(context.Background(), network, fmt.Sprintf("%s:%d", host, port))
				return err
			}))
			t.Cleanup(func() { _ = l.Close() })
			go acceptTLS(l, pair)
		}
	}
	bot, visitor := hello(t), hello(t, "http/1.1")
	for _, strip := range []bool{false, true} {
		for i := range s.Host.Services {
			if s.Host.Services[i].MPTCP = config.MPTCPPass; strip {
				s.Host.Services[i].MPTCP = config.MPTCPStrip
			}
		}
		s.publish(deny(t, bot))
		for _, p := range places {
			for _, f := range families {
				t.Run(fmt.Sprintf("strip: %v, %s, %s", strip, p.name, f.name), func(t *testing.T) {
					stripped := s.Packets(int(bpf.ReasonMPTCPStripped), -1)
					c := s.dialMultipath(f.visitor, f, p.port(port))
					if is, err := c.MultipathTCP(); err != nil || is == strip {
						t.Errorf("Multipath TCP: %v, %v", is, err)
					}
					if n := s.Packets(int(bpf.ReasonMPTCPStripped), -1) - stripped; (n > 0) != strip {
						t.Errorf("%d SYNs were stripped", n)
					}
					world.Must(t, says(c, visitor))
					if ok, err := served(c); !ok || err != nil {
						t.Fatalf("the visitor is not served: %v", err)
					}
					if got, want := readOf(s.flowOf(c)), ja4Of(visitor); got != want {
						t.Errorf("read of the visitor: %s, want %s", got, want)
					}
					c = s.dialMultipath(f.bot(), f, p.port(port))
					world.Must(t, says(c, bot))
					if !until(func() bool { return s.isBlocked(c) }) {
						t.Errorf("the bot is not blocked: %s", readOf(s.flowOf(c)))
					}
				})
			}
		}
	}
}

func (s *site) dialMultipath(from netip.Addr, f family, port uint16) (c *net.TCPConn) {
	s.t.Helper()
	world.Must(s.t, s.Out.Do(func() error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: patience}
		d.SetMultipathTCP(true)
		conn, err := d.Dial("tcp", netip.AddrPortFrom(f.edge, port).String())
		if err == nil {
			c = conn.(*net.TCPConn)
		}
		return err
	}))
	s.t.Cleanup(func() { _ = c.SetLinger(0); _ = c.Close() })
	return c
}
