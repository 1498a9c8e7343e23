// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spillway/spillway/loader"
)

// maxSingleBuffer is the largest MTU whose frames fit one 4096-byte page beside the headroom (256) and the
// skb_shared_info at its end (320), with Ethernet header, two VLAN tags and checksum: what drivers accept without
// frags.
const maxSingleBuffer = 3498

// checkInterface judges one interface: first whether it is the right place at all, then how an attach would go.
func checkInterface(f Facts, i Interface) []Finding {
	if i.Missing {
		return []Finding{
			mistake("interface", "there is no such interface", "choose one of: "+strings.Join(f.OtherInterfaces, ", "))}
	}
	if wrong, is := checkPlace(i); is {
		return []Finding{wrong}
	}
	all := []Finding{place(i)}
	if !i.Up {
		all = append(all, warn("link", "the interface is down", "ip link set dev "+i.Name+" up"))
	}
	all = append(all, checkNative(f, i), checkMTU(i), checkLRO(i), checkSums(i), checkAnswers(i),
		checkBigTCP(i), checkSRv6(i), checkMembers(f, i))
	all = append(all, checkPrograms(i)...)
	if !slices.ContainsFunc(i.Programs, func(p Program) bool { return p.Ours }) {
		all = append(all, checkReset(i))
	}
	return slices.DeleteFunc(all, func(one Finding) bool { return one.Check == "" })
}

// checkPlace finds interfaces that Spillway cannot or should not attach to, and says which to take instead.
func checkPlace(i Interface) (Finding, bool) {
	lower := strings.Join(i.Lower, ", ")
	switch {
	case i.Kind == "loopback" || i.Name == "lo":
		return mistake("interface", "loopback: no visitor comes this way",
			"choose the interface that faces the visitors"), true
	case i.Kind == "vlan":
		return mistake("interface", fmt.Sprintf("a VLAN sub-interface of %s", lower),
			fmt.Sprintf("list %s instead: Spillway reads through VLAN tags", lower)), true
	case i.Kind == "bond" || i.Kind == "team":
		return mistake("interface", fmt.Sprintf("a %s of %s", i.Kind, orNone(lower)),
			fmt.Sprintf("list its members instead: %s", orNone(lower))), true
	case i.Kind == "bridge" || i.Kind == "openvswitch":
		return mistake("interface", fmt.Sprintf("a bridge over %s", orNone(lower)),
			"list the bridge port that faces the visitors instead: "+orNone(lower)), true
	case i.Encap != "" && i.Encap != "ether" && i.Encap != "loopback":
		return mistake("interface",
			fmt.Sprintf("a layer-3 device (%s): its frames have no Ethernet header, and nothing in them could be read", i.Kind),
			loader.FixWithoutMAC), true
	}
	return Finding{}, false
}

func orNone(s string) string {
	if s == "" {
		return "(it has none)"
	}
	return s
}

func place(i Interface) Finding {
	says := i.Kind
	if i.Driver != "" {
		says = "driver " + i.Driver
	}
	says += fmt.Sprintf(", MTU %d", i.MTU)
	if i.Master != "" {
		says += fmt.Sprintf(", member of %s %s", i.MasterKind, i.Master)
	}
	return ok("interface", says)
}

func checkNative(f Facts, i Interface) Finding {
	if i.Generic {
		if !kernelAtLeast(f.Kernel, 6, 9) {
			return mistake("attach", "attach: generic can drop packets that it cannot make linear before Linux 6.9",
				"use attach: native, or a kernel 6.9 or newer")
		}
		return warn("attach", "attach: generic works in the network stack, some times slower than in the driver",
			"use attach: native if the driver can")
	}
	switch i.native() {
	case Yes:
		return ok("attach", "the driver runs XDP itself (native)")
	case No:
		return mistake("attach", "the driver "+i.driver()+" cannot run XDP",
			"write {name: "+i.Name+", attach: generic} in the host file (Linux 6.9 or newer; slower)")
	}
	return warn("attach", "cannot tell whether the driver "+i.driver()+" runs XDP itself",
		"the first attach will tell; if it is refused, write attach: generic (Linux 6.9 or newer)")
}

func checkMTU(i Interface) Finding {
	if i.MTU <= maxSingleBuffer || i.Generic {
		return Finding{}
	}
	says := fmt.Sprintf("MTU %d is more than one buffer holds (%d)", i.MTU, maxSingleBuffer)
	fix := fmt.Sprintf("ip link set dev %s mtu 1500   (or at most %d)", i.Name, maxSingleBuffer)
	switch i.frags() {
	case Yes:
		return ok("mtu", says+"; the driver takes frames of several buffers")
	case No:
		return mistake("mtu", says+" and the driver takes no more than one", fix)
	}
	return warn("mtu", says+"; whether the driver takes several is not known", fix)
}

func checkLRO(i Interface) Finding {
	if i.LRO != Yes {
		return Finding{}
	}
	return mistake("lro",
		"large receive offload is on: it merges packets before Spillway sees them, and drivers refuse XDP with it",
		"ethtool -K "+i.Name+" lro off")
}

// maxJoined is what a length of 16 bits can say: beyond it packets have no length of their own (BIG TCP).
const maxJoined = 65536

// checkBigTCP warns of packets that generic receive offload joins before generic programs see them.
func checkBigTCP(i Interface) Finding {
	if !i.Generic || i.BigTCP <= maxJoined {
		return Finding{}
	}
	return warn("big_tcp",
		fmt.Sprintf("packets are joined to up to %d bytes before attach: generic sees them: beyond %d (BIG TCP) their "+
			"length is 0, which is not read, and they pass as malformed", i.BigTCP, maxJoined),
		fmt.Sprintf("ip link set dev %s gro_max_size %d gro_ipv4_max_size %d; or attach: native", i.Name,
			maxJoined, maxJoined))
}

// checkSRv6 warns of packets whose destination is another than the one in front.
func checkSRv6(i Interface) Finding {
	if !i.SRv6 {
		return Finding{}
	}
	return warn("srv6",
		"segment routing (SRv6) is taken in here (seg6_enabled): what it brings to a service came with another "+
			"destination in front, or inside another packet, and passes uninspected",
		"sysctl -w net.ipv6.conf."+i.Name+".seg6_enabled=0   (unless you route segments here)")
}

// checkSums says where packets come without a whole checksum: a ClientHello in one is read as any other.
func checkSums(i Interface) Finding {
	if !loader.LeavesSums(i.driver()) {
		return Finding{}
	}
	return ok("checksums", "senders on this machine leave TCP's checksum to a card that "+i.driver()+
		" does not have: Spillway takes such packets here, as Linux does")
}

// checkAnswers says where a reset cannot be answered with.
func checkAnswers(i Interface) Finding {
	switch i.Answers {
	case loader.AnswerLost:
		return warn("answers",
			"what a program answers (XDP_TX) does not leave this veth: its peer has neither an XDP program nor GRO; "+
				"a reset is enforced as a drop",
			"ethtool -K PEER gro on   (on its other end), then: systemctl restart spillway")
	case loader.AnswerUnknown:
		return ok("answers",
			"whether what a program answers (XDP_TX) leaves is not known: the other end of this veth is in another network "+
				"namespace; a reset needs GRO or an XDP program there")
	}
	return Finding{}
}

// checkMembers says which other members of a bond the host file leaves out: their traffic would pass unseen.
func checkMembers(f Facts, i Interface) Finding {
	if i.MasterKind != "bond" && i.MasterKind != "team" {
		return Finding{}
	}
	var out []string
	for _, s := range i.Siblings {
		if !slices.ContainsFunc(f.Interfaces, func(o Interface) bool { return o.Name == s }) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return Finding{}
	}
	return warn("members", fmt.Sprintf("%s has more members: %s", i.Master, strings.Join(out, ", ")),
		"list all members of the bond, or what arrives on the others passes unseen")
}

func checkPrograms(i Interface) []Finding {
	var all []Finding
	for _, p := range i.Programs {
		if p.Ours && p.Unpinned {
			all = append(all, warn("xdp",
				fmt.Sprintf("a root program of Spillway is attached (%s, id %d), and it is not the one that is pinned", p.Mode,
					p.ID),
				"spillway status; the agent with these pins cannot attach here"))
			continue
		}
		if p.Ours {
			all = append(all, ok("xdp", fmt.Sprintf("Spillway is attached (%s, program %d)", p.Mode, p.ID)))
			continue
		}
		whose := p.Whose
		if whose == "" {
			whose = "nobody that can be found holds it"
		}
		all = append(all,
			mistake("xdp", fmt.Sprintf("another XDP program is attached: %s, id %d, %s; %s", p.Name, p.ID, p.Mode, whose),
				"take it off with the tool that put it there; Spillway never replaces it"))
	}
	return all
}

// checkReset warns of what the first attach does to the NIC.
func checkReset(i Interface) Finding {
	driver := i.driver()
	const later = "attach in a quiet minute; later changes of rules, programs and the bypass do not touch the NIC"
	switch {
	case i.Generic || i.native() == No || slices.Contains(quiet, driver):
		return Finding{}
	case slices.Contains(resetsAlways, driver):
		return warn("reset", driver+" closes and opens the NIC at each attach and detach: expect a gap of seconds",
			later+" (Spillway attaches once and keeps it)")
	case slices.Contains(resetsOnFirst, driver):
		return warn("reset", "the first attach rebuilds the rings of "+driver+" NICs: expect a short gap, at most seconds",
			later)
	case slices.Contains(pausesQueues, driver):
		return warn("reset", "the first attach pauses the queues of "+driver+" for a moment", later)
	}
	return warn("reset", "the first attach may reset the NIC's rings; what "+driver+" does is not known", later)
}
