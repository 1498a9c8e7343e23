// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// rootProgram is the name of Spillway's own program on an interface.
const rootProgram = "spillway_root"

// collectInterfaces looks at the interfaces asked for.
func (f *Facts) collectInterfaces(host *config.Host, o Options) {
	links, err := netlink.LinkList()
	if err != nil {
		links = nil
	}
	for _, l := range links {
		f.OtherInterfaces = append(f.OtherInterfaces, l.Attrs().Name)
	}
	listed := map[string]config.Attach{}
	names := slices.Clone(o.Interfaces)
	for _, i := range host.Interfaces {
		listed[i.Name] = i.Attach
		if len(o.Interfaces) == 0 {
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 {
		names = slices.Clone(o.Fallback)
	}
	features := xdpFeatures()
	own, _ := loader.PinnedRoot(host.Paths.Pins) // 0 when there is none, or it may not be read
	for _, name := range names {
		i := Interface{Name: name, Missing: true}
		if at := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Name == name }); at >= 0 {
			i = describe(links[at], links, features, own)
		}
		_, i.Listed = listed[name]
		i.Generic = listed[name] == config.AttachGeneric
		f.Interfaces = append(f.Interfaces, i)
	}
}

// describe turns what the kernel tells about a link into facts.
func describe(l netlink.Link, all []netlink.Link, features map[int]uint64, own uint32) Interface {
	a := l.Attrs()
	i := Interface{
		Name: a.Name, Up: a.RawFlags&1 != 0, Kind: l.Type(), Driver: driverOf(a.Name), MTU: a.MTU, LRO: lro(a.Name),
	}
	if a.EncapType == "loopback" {
		i.Kind = "loopback"
	}
	i.Encap = a.EncapType
	i.BigTCP = max(a.GROMaxSize, a.GROIPv4MaxSize)
	i.SRv6 = line("/proc/sys/net/ipv6/conf/all/seg6_enabled") == "1" &&
		line("/proc/sys/net/ipv6/conf/"+a.Name+"/seg6_enabled") == "1"
	if dev, err := loader.DeviceByIndex(a.Index); err == nil {
		i.Answers = dev.Answers()
	}
	if bits, known := features[a.Index]; known {
		i.Native, i.Frags = tri(bits&xdpBasic != 0), tri(bits&xdpFrags != 0)
	}
	for _, o := range all {
		b := o.Attrs()
		switch {
		case b.MasterIndex == a.Index && b.Index != a.Index:
			i.Lower = append(i.Lower, b.Name)
		case b.Index == a.ParentIndex && i.Kind == "vlan":
			i.Lower = append(i.Lower, b.Name)
		case b.Index == a.MasterIndex && a.MasterIndex != 0:
			i.Master, i.MasterKind = b.Name, o.Type()
		case a.MasterIndex != 0 && b.MasterIndex == a.MasterIndex && b.Index != a.Index:
			i.Siblings = append(i.Siblings, b.Name)
		}
	}
	if a.Xdp != nil && a.Xdp.Attached {
		i.Programs = []Program{program(a.Xdp, own)}
	}
	return i
}

// program names an XDP program and who holds it. own is the id of Spillway's, which needs no right to be known: names
// by id are for root.
func program(x *netlink.LinkXdp, own uint32) Program {
	// XDP_ATTACHED_… of linux/if_link.h; 4 is several at once, of which the kernel tells one.
	modes := map[uint32]string{1: "native", 2: "generic", 3: "offloaded", 4: "several modes"}
	p := Program{ID: x.ProgId, Name: "of unknown name", Mode: modes[x.AttachMode]}
	if own != 0 && x.ProgId == own {
		p.Name, p.Ours = rootProgram, true
		return p
	}
	handle, err := ebpf.NewProgramFromID(ebpf.ProgramID(x.ProgId))
	if errors.Is(err, fs.ErrPermission) {
		p.Name, p.Whose = "of a name that only root can read", "doctor as root says whose it is"
	}
	if err != nil {
		return p
	}
	defer handle.Close()
	if info, err := handle.Info(); err == nil && info.Name != "" {
		p.Name = info.Name
	}
	p.Unpinned = own != 0 // and has another id
	if p.Ours = p.Name == rootProgram; !p.Ours {
		p.Whose = holder(x.ProgId)
	}
	return p
}

func driverOf(name string) string {
	target, err := os.Readlink(filepath.Join("/sys/class/net", name, "device/driver"))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

func tri(b bool) Tri {
	if b {
		return Yes
	}
	return No
}
