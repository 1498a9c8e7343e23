// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/forward"
	"github.com/spillway/spillway/userspace/sockets"
	"github.com/spillway/spillway/userspace/view"
)

// sound is a host without a fault or a warning, with one veth interface.
func sound() Facts {
	return Facts{
		Kernel: "6.12.1-amd64", Arch: "amd64", BTF: true, BPFFS: true, PinsRoot: "/sys/fs/bpf", JIT: "1", Lockdown: "none",
		Clock: "tsc", LoadTried: true, HostFile: "/etc/spillway/spillway.yaml", HostFileState: FileSound,
		MemoryNeeded: 100 << 20, MemoryAvailable: 4 << 30,
		Interfaces: []Interface{
			{Name: "eth0", Up: true, Kind: "veth", Driver: "veth", MTU: 1500, LRO: No, Native: Yes, Frags: Yes}},
	}
}

func TestSoundHostHasNoFaultAndNoWarning(t *testing.T) {
	r := Check(sound())
	if r.Count(Fault)+r.Count(Warning) != 0 {
		t.Errorf("findings of a sound host: %+v", r.Findings)
	}
	if r.Count(OK) < 9 {
		t.Errorf("only %d findings: something is not looked at", r.Count(OK))
	}
}

// Each row breaks one fact of a sound host and names the one finding that must come of it, with its fix.
func TestEachFaultHasItsFix(t *testing.T) {
	eth := func(change func(i *Interface)) func(*Facts) {
		return func(f *Facts) { change(&f.Interfaces[0]) }
	}
	driver := func(name string) func(*Facts) {
		return eth(func(i *Interface) { i.Kind, i.Driver, i.Native, i.Frags = "device", name, Unknown, Unknown })
	}
	dnat := []forward.Rule{{By: "nftables", From: 443, To: 443, Where: "table ip nat, chain pre"}}
	multipath := []Service{{Name: "web", Kind: "tls"}, {Name: "plain", Kind: "http"},
		{Name: "stripped", Kind: "tls", MPTCP: "strip"}}
	cases := []struct {
		name      string
		change    func(*Facts)
		check     string
		level     Level
		says, fix string
	}{
		{"old kernel", func(f *Facts) { f.Kernel = "5.15.0-91-generic" }, "kernel", Fault, "older than 6.1", "6.1 or newer"},
		{"kernel 6.0", func(f *Facts) { f.Kernel = "6.0.19" }, "kernel", Fault, "older than 6.1", "6.1"},
		{"unreadable kernel", func(f *Facts) { f.Kernel = "unknown" }, "kernel", Fault, "older", "6.1"},
		{"other architecture", func(f *Facts) { f.Arch = "s390x" }, "kernel", Fault,
			"only amd64 and arm64", "amd64 or arm64"},
		{"no BTF", func(f *Facts) { f.BTF = false }, "btf", Fault, "vmlinux", "CONFIG_DEBUG_INFO_BTF"},
		{"no bpffs", func(f *Facts) { f.BPFFS = false }, "bpffs", Fault, "/sys/fs/bpf",
			"mount -t bpf -o mode=0700 bpf /sys/fs/bpf"},
		{"read-only bpffs", func(f *Facts) { f.PinsReadOnly = true }, "bpffs", Fault, "read-only",
			"mount -o remount,rw /sys/fs/bpf"},
		{"no capabilities", func(f *Facts) { f.MissingCapabilities = []string{"CAP_BPF"} }, "capabilities", Fault,
			"lacks CAP_BPF", "AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON"},
		{"a stranger's pins", func(f *Facts) {
			f.PinsFault = fmt.Errorf("%w: /sys/fs/bpf/spillway belongs to user 1", pins.ErrForeignPins)
		}, "pins", Fault, "belongs to user 1", "as root"},
		{"unprepared pins", func(f *Facts) { f.PinsFault = fmt.Errorf("/sys/fs/bpf/spillway: %w", loader.ErrPermission) },
			"pins", Fault, "permission denied", "spillway prepare"},
		{"no user", func(f *Facts) { f.UserMissing = true }, "user", Warning, "no user spillway", "useradd --system"},
		{"refused to the unit", func(f *Facts) { f.LoadAsUnit, f.Load = true, errors.New("open slot 1: permission denied") },
			"load", Fault, "with the rights of the unit the kernel refuses", "the message"},
		{"refused", func(f *Facts) { f.Load = errors.New("load the dataplane: boom") }, "load", Fault, "boom", "the message"},
		{"a service that is forwarded", func(f *Facts) {
			f.Services = []Service{{Name: "web", Confirm: "socket", Forwards: dnat}}
		}, "forwarded", Warning, "service web: nftables forwards port 443 (table ip nat, chain pre)", "confirm: auto"},
		{"a forwarded service without connection tracking", func(f *Facts) {
			f.Services, f.Untracked = []Service{{Name: "web", Confirm: "auto", Forwards: dnat}}, loader.ErrNoConntrack
		}, "conntrack", Warning, "connection tracking cannot be asked; the sockets of service web are elsewhere",
			"systemctl restart spillway"},
		{"services elsewhere without connection tracking", func(f *Facts) {
			f.Services = []Service{{Name: "a", Confirm: "auto", Remote: true}, {Name: "b", Confirm: "auto"},
				{Name: "c", Confirm: "auto", Remote: true}}
			f.Untracked = loader.ErrNoConntrack
		}, "conntrack", Warning, "the sockets of services a and c are elsewhere", "systemctl restart spillway"},
		{"what may forward", func(f *Facts) { f.ForwardNotes = []string{"kube-proxy runs"} }, "forwarded", Warning,
			"kube-proxy", "elsewhere"},
		{"a service that nobody vouches for", func(f *Facts) {
			f.Unvouched = view.Unvouched([]compile.ServiceInfo{{ID: 1, Name: "web", Kind: "tls", Confirm: "auto"}},
				map[uint8]view.First{1: {Unvouched: 60}}, "since the maps were made", nil)
		}, "unconfirmed", Warning, "service web: 60 of 60 first payloads", "confirm: egress for web"},
		{"malformed frames", func(f *Facts) {
			f.Malformed = view.Malformed(view.Frames{All: 5000, Malformed: 400}, "since the maps were made")
		}, "malformed", Warning, "400 of 5000 packets since the maps were made had headers that cannot be read",
			"ethtool -i"},
		{"multipath", func(f *Facts) {
			f.Services, f.MPTCP, f.MPTCPSockets = multipath, true, Yes
		}, "mptcp", Warning, "net.mptcp.enabled is 1 and sockets here use Multipath TCP: where a server of service web",
			"GODEBUG=multipathtcp=0"},
		{"perhaps multipath", func(f *Facts) {
			f.Services, f.MPTCP = multipath, true
		}, "mptcp", Warning, "net.mptcp.enabled is 1: where a server of service web", "ListenConfig.SetMultipathTCP(false)"},
		{"no closing of sockets", func(f *Facts) {
			f.CloseTried, f.Close = true, fmt.Errorf("close a socket: %w", sockets.ErrUnsupported)
		}, "sockets", Warning, "CONFIG_INET_DIAG_DESTROY", "client_header_timeout"},
		{"closing of sockets refused", func(f *Facts) {
			f.CloseTried, f.Close = true, errors.New("close a socket: operation not permitted")
		}, "sockets", Warning, "not permitted", "timeouts"},
		{"no JIT", func(f *Facts) { f.JIT = "0" }, "jit", Warning, "compiler is off", "net.core.bpf_jit_enable=1"},
		{"slow clock", func(f *Facts) { f.Clock = "hpet" }, "clock", Warning, "slow clock", "clocksource=tsc"},
		{"no host file", func(f *Facts) { f.HostFileState = FileMissing }, "host_file", Warning,
			"no host file", "spillway init"},
		{"broken host file", func(f *Facts) { f.HostFileState, f.HostFaults = FileFaulty, 3 }, "host_file", Fault, "3 faults",
			"spillway config check /etc/spillway/spillway.yaml"},
		{"too little memory", func(f *Facts) { f.MemoryAvailable = 50 << 20 }, "memory", Fault,
			"100 MiB of 50.0 MiB", "capacity"},
		{"little memory", func(f *Facts) { f.MemoryAvailable = 150 << 20; f.BiggestMaps = []MapSize{{"flows", 64 << 20}} },
			"memory", Warning, "more than half", "flows 64.0 MiB"},
		{"no such interface", func(f *Facts) {
			f.Interfaces[0] = Interface{Name: "eth9", Missing: true}
			f.OtherInterfaces = []string{"lo", "eth0"}
		}, "interface", Fault, "no such interface", "lo, eth0"},
		{"loopback", eth(func(i *Interface) { i.Name, i.Kind = "lo", "loopback" }), "interface", Fault, "no visitor",
			"faces the visitors"},
		{"VLAN", eth(func(i *Interface) { i.Kind, i.Lower = "vlan", []string{"eth1"} }), "interface", Fault,
			"sub-interface of eth1", "list eth1 instead"},
		{"bond", eth(func(i *Interface) { i.Kind, i.Lower = "bond", []string{"eth1", "eth2"} }), "interface", Fault,
			"a bond of eth1, eth2", "eth1, eth2"},
		{"bridge", eth(func(i *Interface) { i.Kind, i.Lower = "bridge", []string{"eth1"} }), "interface", Fault,
			"a bridge over eth1", "eth1"},
		{"down", eth(func(i *Interface) { i.Up = false }), "link", Warning, "is down", "ip link set dev eth0 up"},
		{"bond member alone",
			eth(func(i *Interface) { i.Master, i.MasterKind, i.Siblings = "bond0", "bond", []string{"eth1"} }), "members",
			Warning, "bond0 has more members: eth1", "all members"},
		{"jumbo, one buffer", eth(func(i *Interface) { i.MTU, i.Frags = 9000, No }), "mtu", Fault, "9000",
			"ip link set dev eth0 mtu 1500"},
		{"jumbo, not known", eth(func(i *Interface) { i.Kind, i.Driver, i.MTU, i.Frags = "tuntap", "tun", 3499, Unknown }),
			"mtu", Warning, "not known", "at most 3498"},
		{"LRO", eth(func(i *Interface) { i.LRO = Yes }), "lro", Fault, "large receive offload", "ethtool -K eth0 lro off"},
		{"no native XDP", eth(func(i *Interface) { i.Native = No }), "attach", Fault, "cannot run XDP", "attach: generic"},
		{"driver without XDP", func(f *Facts) { driver("r8169")(f) }, "attach", Fault,
			"r8169 cannot run XDP", "attach: generic"},
		{"generic", eth(func(i *Interface) { i.Generic = true }), "attach", Warning, "slower", "attach: native"},
		{"generic on an old kernel", func(f *Facts) { f.Kernel = "6.1.0"; f.Interfaces[0].Generic = true }, "attach", Fault,
			"before Linux 6.9", "attach: native"},
		{"SRv6", eth(func(i *Interface) { i.SRv6 = true }), "srv6", Warning, "seg6_enabled",
			"sysctl -w net.ipv6.conf.eth0.seg6_enabled=0"},
		{"an answer that is lost", eth(func(i *Interface) { i.Answers = loader.AnswerLost }), "answers", Warning,
			"a reset is enforced as a drop",
			"ethtool -K PEER gro on"},
		{"foreign program", eth(func(i *Interface) {
			i.Programs = []Program{{ID: 7, Name: "xdp_filter", Mode: "native", Whose: "pinned at /sys/fs/bpf/xdp-filter/prog"}}
		}), "xdp", Fault, "xdp_filter, id 7, native; pinned at", "take it off with the tool that put it there"},
		{"foreign generic program of nobody",
			eth(func(i *Interface) { i.Programs = []Program{{ID: 7, Name: "x", Mode: "generic"}} }), "xdp", Fault,
			"nobody that can be found", "take it off with the tool that put it there"},
		{"a root that is not the pinned one", eth(func(i *Interface) {
			i.Programs = []Program{{ID: 7, Name: rootProgram, Mode: "native", Ours: true, Unpinned: true}}
		}), "xdp", Warning, "not the one that is pinned", "spillway status"},
		{"ixgbe", driver("ixgbe"), "reset", Warning, "rebuilds the rings of ixgbe", "quiet minute"},
		{"mlx5", driver("mlx5_core"), "reset", Warning, "mlx5_core", "quiet minute"},
		{"bnxt", driver("bnxt_en"), "reset", Warning, "closes and opens the NIC", "attaches once"},
		{"igc", driver("igc"), "reset", Warning, "closes and opens the NIC", "attaches once"},
		{"virtio", driver("virtio_net"), "reset", Warning, "pauses the queues", "quiet minute"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := sound()
			c.change(&f)
			r := Check(f)
			if n := r.Count(Fault) + r.Count(Warning); n != 1 {
				t.Errorf("%d faults and warnings, want 1: %+v", n, r.Findings)
			}
			at := slices.IndexFunc(r.Findings, func(o Finding) bool { return o.Level != OK })
			if at < 0 {
				t.Fatal("nothing was found")
			}
			got := r.Findings[at]
			if got.Check != c.check || got.Level != c.level || !strings.Contains(got.Says, c.says) ||
				!strings.Contains(got.Fix, c.fix) {
				t.Errorf("found %+v, want %s %s, %q, fix %q", got, c.level, c.check, c.says, c.fix)
			}
			if strings.Contains(strings.ToLower(got.Says+got.Fix), "memlock") {
				t.Errorf("%+v speaks of MEMLOCK, which is never the reason", got)
			}
		})
	}
}

// A driver nobody knows is said to be unknown; that is no fault.
func TestUnknownIsNoFault(t *testing.T) {
	f := sound()
	f.Interfaces[0] = Interface{Name: "eth0", Up: true, Kind: "device", Driver: "newnic", MTU: 9000}
	r := Check(f)
	if r.Count(Fault) != 0 || r.Count(Warning) != 3 {
		t.Errorf("want no fault and three warnings (attach, mtu, reset), got %+v", r.Findings)
	}
}

func TestOursIsNoForeignProgramAndNeedsNoResetWarning(t *testing.T) {
	f := sound()
	f.Interfaces[0] = Interface{Name: "eth0", Up: true, Kind: "device", Driver: "ice", MTU: 1500,
		Programs: []Program{{ID: 9, Name: rootProgram, Mode: "native", Ours: true}}}
	if r := Check(f); r.Count(Fault)+r.Count(Warning) != 0 {
		t.Errorf("findings with Spillway attached: %+v", r.Findings)
	}
}

func TestLockdownIsNoFault(t *testing.T) {
	for _, mode := range []string{"integrity", "confidentiality"} {
		f := sound()
		f.Lockdown = mode
		if r := Check(f); r.Count(Fault)+r.Count(Warning) != 0 {
			t.Errorf("lockdown %s: %+v", mode, r.Findings)
		}
	}
}

func TestEveryFaultHasAFix(t *testing.T) {
	f := Facts{Interfaces: []Interface{{Name: "a", Missing: true}, {Name: "b", Kind: "bond"},
		{Name: "c", Native: No, LRO: Yes, MTU: 9000, Frags: No}}}
	for _, one := range Check(f).Findings {
		if one.Level != OK && one.Fix == "" {
			t.Errorf("%+v has no fix", one)
		}
	}
}

// The machine that runs the test can be looked at, whatever it is.
func TestCollectReadsThisHost(t *testing.T) {
	f := Collect(Options{HostFile: t.TempDir() + "/none.yaml", Interfaces: []string{"lo", "no-such-device0"}})
	if f.Kernel == "unknown" || !kernelAtLeast(f.Kernel, 3, 0) {
		t.Errorf("kernel release %q cannot be read", f.Kernel)
	}
	if f.HostFileState != FileMissing {
		t.Errorf("host file state is %d, want missing", f.HostFileState)
	}
	if f.MemoryAvailable == 0 || f.MemoryNeeded == 0 {
		t.Errorf("memory: needed %d, available %d", f.MemoryNeeded, f.MemoryAvailable)
	}
	if len(f.Interfaces) != 2 || f.Interfaces[0].Kind != "loopback" || !f.Interfaces[1].Missing {
		t.Errorf("interfaces: %+v", f.Interfaces)
	}
	if f.LoadTried && f.Load != nil {
		t.Errorf("this kernel refuses the dataplane: %v", f.Load)
	}
}

func TestKernelAtLeast(t *testing.T) {
	for release, want := range map[string]bool{"6.1": true, "6.1.0-28-amd64": true, "6.10-rc1": true, "7.0.1": true,
		"6.0.9": false, "5.19": false, "": false, "6": false} {
		if got := kernelAtLeast(release, 6, 1); got != want {
			t.Errorf("kernelAtLeast(%q, 6, 1) = %t", release, got)
		}
	}
}

// What is no fault on this host is said all the same, and what nobody asks for is not.
func TestWhatIsNoFault(t *testing.T) {
	web := []Service{{Name: "web", Kind: "tls", Confirm: "auto"}}
	for _, c := range []struct {
		name        string
		change      func(*Facts)
		check, says string // "" says nothing
	}{
		{"no connection tracking, and nobody needs it", func(f *Facts) {
			f.Services, f.Untracked = web, loader.ErrNoConntrack
		}, "conntrack",
			"connection tracking cannot be asked; no service here is known to need it"},
		{"nobody asks connection tracking", func(f *Facts) {
			f.Services, f.Untracked = []Service{{Name: "web", Confirm: "socket", Remote: true}}, loader.ErrNoConntrack
		}, "conntrack", ""},
		{"connection tracking is asked", func(f *Facts) { f.Services, f.Tracked = web, true }, "conntrack",
			"it is asked about connections"},
		{"no socket speaks Multipath TCP", func(f *Facts) { f.Services, f.MPTCP, f.MPTCPSockets = web, true, No }, "mptcp",
			"mptcp: strip for service web"},
		{"Multipath TCP is off", func(f *Facts) { f.Services, f.MPTCPSockets = web, Yes }, "mptcp", ""},
		{"Multipath TCP is stripped", func(f *Facts) {
			f.Services, f.MPTCP, f.MPTCPSockets = []Service{{Name: "web", Kind: "tls", MPTCP: "strip"}}, true, Yes
		}, "mptcp", ""},
		{"BIG TCP in the driver's mode", func(f *Facts) { f.Interfaces[0].BigTCP = 185000 }, "big_tcp", ""},
	} {
		f := sound()
		c.change(&f)
		r := Check(f)
		if n := r.Count(Fault) + r.Count(Warning); n != 0 {
			t.Errorf("%s: %+v", c.name, r.Findings)
		}
		at := slices.IndexFunc(r.Findings, func(o Finding) bool { return o.Check == c.check })
		if (at >= 0) != (c.says != "") || at >= 0 && !strings.Contains(r.Findings[at].Says, c.says) {
			t.Errorf("%s: want %q of %s, got %+v", c.name, c.says, c.check, r.Findings)
		}
	}
}

// Generic programs see what receive offload joined, and warn of themselves too.
func TestBigTCP(t *testing.T) {
	f := sound()
	f.Interfaces[0].Generic, f.Interfaces[0].BigTCP = true, 185000
	r := Check(f)
	at := slices.IndexFunc(r.Findings, func(o Finding) bool { return o.Check == "big_tcp" })
	if at < 0 || r.Findings[at].Level != Warning || !strings.Contains(r.Findings[at].Says, "up to 185000 bytes") ||
		!strings.Contains(r.Findings[at].Fix, "ip link set dev eth0 gro_max_size 65536 gro_ipv4_max_size 65536") {
		t.Errorf("findings: %+v", r.Findings)
	}
}

func TestMultipathSocketsAreCounted(t *testing.T) {
	const table = "protocol  size sockets  memory press maxhdr  slab module     cl co\n" +
		"MPTCPv6   2064      2       0   no       0   yes  kernel      y  y\n" +
		"MPTCP     1936      1       0   no       0   yes  kernel      y  y\n" +
		"TCP       2368      9       2   no     320   yes  kernel      y  y\n"
	if n := multipathSockets(table); n != 3 {
		t.Errorf("%d sockets, want 3", n)
	}
}
