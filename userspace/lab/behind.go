// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
)

// The names of the two ends of the link between the edge and what is behind it.
const (
	innerIf  = "inner0" // the edge's
	behindIf = "behind0"
)

// The addresses of that link. The out side routes BehindAddr4 and BehindAddr6 by the edge.
var (
	InnerAddr4  = netip.MustParseAddr("10.66.0.1")
	InnerAddr6  = netip.MustParseAddr("fd66::1")
	BehindAddr4 = netip.MustParseAddr("10.66.0.2")
	BehindAddr6 = netip.MustParseAddr("fd66::2")
)

// AddBehind makes a namespace behind the edge, as a container's is, and lets
// the edge forward to it:
//
//	out0 === edge0 (XDP) … inner0 === behind0
//
// It is in Behind from then on, and goes with the lab.
func (l *Lab) AddBehind() error {
	n, err := newNamespace(l.id + "-behind")
	if err != nil {
		return err
	}
	l.mu.Lock()
	refused := l.closed || l.Behind != nil
	if !refused {
		l.Behind = n
	}
	l.mu.Unlock()
	if refused {
		return errors.Join(fmt.Errorf("lab %s has one behind it, or is closed", l.id), n.Close())
	}
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: behindIf,
		PeerNamespace: netlink.NsFd(int(n.file.Fd()))}
	veth.Name = innerIf
	if err := l.Edge.call(func() error { return netlink.LinkAdd(veth) }); err != nil {
		return fmt.Errorf("create veth %s: %w", innerIf, err)
	}
	if err := l.joinBehind(); err != nil {
		return fmt.Errorf("address what is behind: %w", err)
	}
	return nil
}

func (l *Lab) joinBehind() error {
	inner, innerMAC, err := l.Edge.prepareLink(innerIf)
	if err != nil {
		return err
	}
	behind, behindMAC, err := l.Behind.prepareLink(behindIf)
	if err != nil {
		return err
	}
	return errors.Join(
		l.Edge.addAddrs(inner, []netip.Prefix{netip.PrefixFrom(InnerAddr4, 24), netip.PrefixFrom(InnerAddr6, 64)}),
		l.Behind.addAddrs(behind, []netip.Prefix{netip.PrefixFrom(BehindAddr4, 24), netip.PrefixFrom(BehindAddr6, 64)}),
		l.Edge.addNeighbours(inner, behindMAC, BehindAddr4, BehindAddr6),
		l.Behind.addNeighbours(behind, innerMAC, InnerAddr4, InnerAddr6),
		l.Edge.call(func() error {
			for _, f := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
				if err := os.WriteFile("/proc/sys/net/"+f, []byte("1"), 0o644); err != nil {
					return err
				}
			}
			return nil
		}),
		l.Behind.addRoute(behind, nil, InnerAddr4), l.Behind.addRoute(behind, nil, InnerAddr6),
		l.Out.addRoute(l.OutIndex, &BehindAddr4, EdgeAddr4), l.Out.addRoute(l.OutIndex, &BehindAddr6, EdgeAddr6))
}

// addRoute leads to one address, or to all, by a gateway.
func (n *Namespace) addRoute(index int, to *netip.Addr, gateway netip.Addr) error {
	return n.call(func() error {
		r := &netlink.Route{LinkIndex: index, Gw: gateway.AsSlice()}
		if to != nil {
			r.Dst = ipNet(netip.PrefixFrom(*to, to.BitLen()))
		}
		if err := netlink.RouteAdd(r); err != nil {
			return fmt.Errorf("add route by %s in %s: %w", gateway, n.name, err)
		}
		return nil
	})
}

// Filter gives the namespace rules of nftables, in the words of nft(8).
func (n *Namespace) Filter(rules string) error {
	nft := findProgram("nft")
	if nft == "" {
		return fmt.Errorf("set the rules of %s: %w: nft", n.name, exec.ErrNotFound)
	}
	cmd := exec.Command(nft, "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := n.Start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("set the rules of %s: %w: %s", n.name, err, said.String())
	}
	return nil
}
