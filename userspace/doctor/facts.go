// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/forward"
)

// Facts is what Check judges. The zero value of a field means "not known" unless its comment says otherwise.
type Facts struct {
	// Kernel is the release, such as 6.1.0-28-amd64; Arch is Go's name of the architecture.
	Kernel, Arch string
	// BTF says that /sys/kernel/btf/vmlinux is there.
	BTF bool
	// BPFFS says that a BPF file system is mounted where PinsRoot points, PinsReadOnly that nothing can be made there.
	BPFFS        bool
	PinsReadOnly bool
	PinsRoot     string
	// MissingCapabilities of this process, of those that Spillway needs.
	MissingCapabilities []string
	// Root says that this process is root, and not the agent's user; UserMissing that the machine has no such user.
	Root, UserMissing bool
	// PinsFault is why the pin folder could not be used or made by this process, or nil.
	PinsFault error
	// JIT is net.core.bpf_jit_enable.
	JIT string
	// Lockdown is none, integrity or confidentiality.
	Lockdown string
	// Clock is the current clock source.
	Clock string
	// Load is why the dataplane could not be tried, or nil; LoadTried says whether it was, LoadAsUnit whether with the
	// rights of the unit, not with those of this process.
	LoadTried, LoadAsUnit bool
	Load                  error
	// CloseTried says that a socket of this process's own was closed for a try, Close what came of it.
	CloseTried bool
	Close      error
	// HostFile is the path of the host file; HostFileState says whether it is there and sound.
	HostFile      string
	HostFileState FileState
	HostFaults    int
	// Memory in bytes: what the maps will take, by the host file's capacity, and what is available.
	MemoryNeeded, MemoryAvailable uint64
	// MemoryHeld says that maps of that size are loaded already.
	MemoryHeld bool
	// BiggestMaps are named with their sizes, for the fix.
	BiggestMaps []MapSize
	// Services over TCP of the host file; ForwardNotes say what was not read of what forwards their connections.
	Services     []Service
	ForwardNotes []string
	// Unvouched tells of each tls service for whose connections nobody vouches, Malformed that more than a trickle of the
	// frames could not be read; of what the dataplane counted that is loaded.
	Unvouched []api.Problem
	Malformed string
	// Tracked says that connection tracking is asked about connections, Untracked why not; neither: nobody knows.
	Tracked   bool
	Untracked error
	// MPTCP is net.mptcp.enabled; MPTCPSockets says whether sockets use it now.
	MPTCP        bool
	MPTCPSockets Tri
	// Interfaces asked about.
	Interfaces []Interface
	// OtherInterfaces exist on the host; named when one asked about does not.
	OtherInterfaces []string
}

// FileState says what is known of the host file.
type FileState int

// The states of the host file.
const (
	FileMissing FileState = iota
	FileFaulty
	FileSound
)

// MapSize is the predicted memory of one map.
type MapSize struct {
	Name  string
	Bytes uint64
}

// Service is one of the host file.
type Service struct {
	Name string
	// Kind, Confirm and MPTCP are the host file's; Remote says local: false.
	Kind    config.Kind
	Confirm config.Confirm
	MPTCP   config.MPTCP
	Remote  bool
	// Forwards send its connections elsewhere.
	Forwards []forward.Rule
}

// Tri is a fact that may be unknown.
type Tri int

// The values of Tri.
const (
	Unknown Tri = iota
	No
	Yes
)

// Interface is a network interface as the host shows it.
type Interface struct {
	Name    string
	Missing bool
	Up      bool
	// Kind is the kernel's: device, bond, bridge, vlan, veth, tuntap, macvlan …
	Kind string
	// Driver is the name of the kernel driver; empty for software interfaces.
	Driver string
	MTU    int
	// Lower are the interfaces that this one is made of (a VLAN's parent, a bond's or bridge's members).
	Lower []string
	// Master is the bond or bridge that this one is a member of, MasterKind which of the two, Siblings its other members.
	Master, MasterKind string
	Siblings           []string
	// Encap is what its frames begin with: ether, loopback, none, ppp…
	Encap string
	// Answers says whether what a program answers leaves it.
	Answers loader.Answer
	// LRO says that large receive offload is on.
	LRO Tri
	// BigTCP is what generic receive offload joins to one packet at most, in bytes; 0 is not known.
	BigTCP uint32
	// SRv6 says that segment routing is taken in: net.ipv6.conf.all.seg6_enabled and the interface's.
	SRv6 bool
	// Native and Frags say whether the driver runs XDP programs itself, and over more than one buffer, when the kernel
	// tells (from 6.3 on); unknown otherwise.
	Native, Frags Tri
	// Generic says that the host file asks for attach: generic.
	Generic bool
	// Listed says that the host file lists the interface.
	Listed bool
	// Programs are the XDP programs on it.
	Programs []Program
}

// Program is an XDP program on an interface.
type Program struct {
	ID       uint32
	Name     string
	Mode     string // native, generic, offloaded
	Ours     bool
	Unpinned bool // another is pinned
	// Whose names the pin or the process that holds it; empty when nobody can be found.
	Whose string
}
