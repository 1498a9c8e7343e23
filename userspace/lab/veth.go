// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkReady bounds how long both ends may take to report that they are up.
const linkReady = 5 * time.Second

// addrGenNone is IN6_ADDR_GEN_MODE_NONE: no link-local address, so no router
// solicitations and no duplicate address detection disturb the wire.
const addrGenNone = 1

// makeVeth creates the pair with each end already in its namespace: neither is
// ever visible outside.
func (l *Lab) makeVeth() error {
	veth := &netlink.Veth{
		LinkAttrs:     netlink.NewLinkAttrs(),
		PeerName:      outIf,
		PeerNamespace: netlink.NsFd(int(l.Out.file.Fd())),
	}
	veth.Name = edgeIf
	err := l.Edge.call(func() error { return netlink.LinkAdd(veth) })
	if err != nil {
		return fmt.Errorf("create veth %s: %w", edgeIf, err)
	}
	if l.EdgeIndex, l.EdgeMAC, err = l.Edge.prepareLink(edgeIf); err != nil {
		return err
	}
	l.OutIndex, l.OutMAC, err = l.Out.prepareLink(outIf)
	return err
}

// prepareLink switches off what would disturb and brings lo and the link up.
func (n *Namespace) prepareLink(name string) (index int, mac net.HardwareAddr, err error) {
	err = n.call(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find lo: %w", err)
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			return fmt.Errorf("bring up lo: %w", err)
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		index, mac = link.Attrs().Index, link.Attrs().HardwareAddr
		if err := disableTxChecksum(name); err != nil {
			return err
		}
		if err := netlink.LinkSetIP6AddrGenMode(link, addrGenNone); err != nil {
			return fmt.Errorf("set IPv6 address generation of %s: %w", name, err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring up %s: %w", name, err)
		}
		return nil
	})
	return index, mac, err
}

// waitUp waits until both ends are operational; before that the kernel drops
// what is sent.
func (l *Lab) waitUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, linkReady)
	defer cancel()
	for _, end := range []struct {
		ns    *Namespace
		index int
	}{{l.Edge, l.EdgeIndex}, {l.Out, l.OutIndex}} {
		err := poll(ctx, func() (bool, error) {
			up := false
			err := end.ns.call(func() error {
				link, err := netlink.LinkByIndex(end.index)
				up = err == nil && link.Attrs().OperState == netlink.OperUp
				return err
			})
			return up, err
		})
		if err != nil {
			return fmt.Errorf("wait for the link in %s: %w", end.ns.name, err)
		}
	}
	return nil
}

// poll asks every few milliseconds until ask says yes or fails, or ctx ends.
func poll(ctx context.Context, ask func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := ask(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// address gives both ends their addresses and their one permanent neighbour
// per family.
func (l *Lab) address() error {
	err := l.Edge.addAddrs(l.EdgeIndex, []netip.Prefix{
		netip.PrefixFrom(EdgeAddr4, 30), netip.PrefixFrom(EdgeAddr6, 64),
	})
	if err != nil {
		return err
	}
	out := []netip.Prefix{netip.PrefixFrom(OutAddr4, 30), netip.PrefixFrom(OutAddr6, 64)}
	for _, a := range outAddrs() {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	if err := l.Out.addAddrs(l.OutIndex, out); err != nil {
		return err
	}
	if err := l.Edge.addNeighbours(l.EdgeIndex, l.OutMAC, OutAddr4, OutAddr6); err != nil {
		return err
	}
	return l.Out.addNeighbours(l.OutIndex, l.EdgeMAC, EdgeAddr4, EdgeAddr6)
}

// AddOutAddrs gives the out side more addresses, for a test's own crowd. The
// edge reaches them without further routes.
func (l *Lab) AddOutAddrs(addrs ...netip.Addr) error {
	var hosts []netip.Prefix
	for _, a := range addrs {
		hosts = append(hosts, netip.PrefixFrom(a, a.BitLen()))
	}
	return l.Out.addAddrs(l.OutIndex, hosts)
}

// Widen makes the out side the owner of WidePrefix6, without an address for each of its hosts.
func (l *Lab) Widen() error {
	return l.Out.call(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find lo: %w", err)
		}
		r := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(WidePrefix6), Table: unix.RT_TABLE_LOCAL,
			Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("add a local route of %s: %w", WidePrefix6, err)
		}
		return nil
	})
}

func (n *Namespace) addAddrs(index int, addrs []netip.Prefix) error {
	return n.call(func() error {
		link, err := netlink.LinkByIndex(index)
		if err != nil {
			return fmt.Errorf("find link %d in %s: %w", index, n.name, err)
		}
		for _, p := range addrs {
			a := &netlink.Addr{IPNet: ipNet(p)}
			if p.Addr().Is6() {
				a.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(link, a); err != nil {
				return fmt.Errorf("add address %s to %s: %w", p, link.Attrs().Name, err)
			}
		}
		return nil
	})
}

func (n *Namespace) addNeighbours(index int, mac net.HardwareAddr, addrs ...netip.Addr) error {
	return n.call(func() error {
		for _, a := range addrs {
			err := netlink.NeighSet(&netlink.Neigh{
				LinkIndex:    index,
				State:        unix.NUD_PERMANENT,
				IP:           a.AsSlice(),
				HardwareAddr: mac,
			})
			if err != nil {
				return fmt.Errorf("add neighbour %s in %s: %w", a, n.name, err)
			}
		}
		return nil
	})
}

// route sends everything that the edge answers to the out side, so that forged
// sources are answered too and the answers can be seen on out0.
func (l *Lab) route() error {
	return l.Edge.call(func() error {
		for _, gw := range []netip.Addr{OutAddr4, OutAddr6} {
			r := &netlink.Route{LinkIndex: l.EdgeIndex, Gw: gw.AsSlice()}
			if err := netlink.RouteAdd(r); err != nil {
				return fmt.Errorf("add default route by %s: %w", gw, err)
			}
		}
		return nil
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
