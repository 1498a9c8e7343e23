// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/forward"
)

const heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// row prints one socket as the kernel does.
func row(local, remote string, state State, inode int) string {
	return fmt.Sprintf("   0: %s %s %02X 00000000:00000000 00:00000000 00000000     0        0 %d 1 0 100 0 0 10 0\n",
		local, remote, state, inode)
}

// process adds /proc/PID with a name and the sockets it holds.
func process(proc fstest.MapFS, pid int, name string, inodes ...int) {
	proc[fmt.Sprintf("%d/comm", pid)] = &fstest.MapFile{Data: []byte(name + "\n")}
	for i, inode := range inodes {
		proc[fmt.Sprintf("%d/fd/%d", pid, i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "socket:[%d]", inode),
			Mode: fs.ModeSymlink | 0o777}
	}
}

// edge is a web server: nginx on 80 and 443, a container's port, a database on one address, sshd on 22 and 2222, names
// on UDP 53, QUIC, and things that are no services.
func edge() fstest.MapFS {
	proc := fstest.MapFS{
		"net/tcp": {Data: []byte(heading +
			row("00000000:0050", "00000000:0000", StateListen, 1) + // 80
			row("00000000:01BB", "00000000:0000", StateListen, 2) + // 443
			row("00000000:0016", "00000000:0000", StateListen, 3) + // 22
			row("00000000:08AE", "00000000:0000", StateListen, 4) + // 2222, sshd
			row("0100007F:1F90", "00000000:0000", StateListen, 5) + // 127.0.0.1:8080
			row("0A0200C0:1538", "00000000:0000", StateListen, 6) + // 192.0.2.10:5432
			row("00000000:0FA0", "00000000:0000", StateListen, 7) + // 4000, docker-proxy
			row("00000000:9C40", "00000000:0000", StateListen, 8) + // 40000, ephemeral
			row("0A0200C0:0016", "076433C6:D431", StateEstablished, 9) + // 198.51.100.7 by SSH
			row("0A0200C0:01BB", "056433C6:D431", StateEstablished, 0) + // a visitor
			row("0100007F:0016", "0100007F:D431", StateEstablished, 0))},
		"net/tcp6": {Data: []byte(heading +
			row("00000000000000000000000000000000:01BB", "00000000000000000000000000000000:0000", StateListen, 10) +
			// [2001:db8::1]:25
			row("B80D0120000000000000000001000000:0019", "00000000000000000000000000000000:0000", StateListen, 11) +
			// 203.0.113.8 by SSH on 2222
			row("0000000000000000FFFF00000A0200C0:08AE", "0000000000000000FFFF0000087100CB:8000", StateEstablished, 12))},
		"net/udp": {Data: []byte(heading +
			row("00000000:01BB", "00000000:0000", StateClose, 20) + // QUIC
			row("0A0200C0:0035", "00000000:0000", StateClose, 21) + // DNS
			row("00000000:0044", "00000000:0000", StateClose, 22) + // DHCP client
			row("0A0200C0:C000", "010200C0:0035", StateEstablished, 23))},
		"net/route": {Data: []byte("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n" +
			"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
			"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")},
		"net/ipv6_route": {Data: []byte(
			"00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eth0\n" +
				"00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n")},
		"sys/net/ipv4/ip_local_port_range": {Data: []byte("32768\t60999\n")},
	}
	process(proc, 1, "systemd", 2)
	process(proc, 100, "nginx", 1, 2, 10, 20)
	process(proc, 101, "sshd", 3, 4)
	process(proc, 102, "postgres", 6)
	process(proc, 103, "docker-proxy", 7)
	process(proc, 104, "named", 21)
	process(proc, 105, "master", 11)
	return proc
}

func TestLookFindsServicesAndNeverSSH(t *testing.T) {
	h, err := Look(Source{Proc: edge(), SSHConnection: "198.51.100.7 54321 192.0.2.10 22"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range h.Services {
		var at []string
		for _, a := range s.Addresses {
			at = append(at, a.String())
		}
		got = append(got,
			fmt.Sprintf("%s %s %d %s local=%t; %s", s.Name, s.Kind, s.Port, strings.Join(at, ","), s.Local, s.Note))
	}
	want := []string{
		"web tls 443 any local=true; nginx listens here",
		"http http 80 any local=true; nginx listens here",
		"web-quic quic 443 any local=true; nginx listens here",
		"smtp tcp 25 2001:db8::1 local=true; master listens here",
		"dns-udp udp 53 192.0.2.10 local=true; named listens here",
		"docker-proxy-4000 tcp 4000 any local=false; docker-proxy listens here for a container, whose sockets are elsewhere",
		"postgres tcp 5432 192.0.2.10 local=true; postgres listens here",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	var left []string
	for _, l := range h.LeftOut {
		left = append(left, l.String())
	}
	if diff := cmp.Diff([]string{"22/tcp (sshd)", "68/udp", "2222/tcp (sshd)", "40000/tcp"}, left); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	peers := []netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("203.0.113.8")}
	if diff := cmp.Diff(peers, h.SSHPeers, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("SSH peers (-want +got):\n%s", diff)
	}
}

// Whatever is found, the host file that comes of it loads without a fault and names what it should.
func TestHostFileOfWhatWasFoundLoads(t *testing.T) {
	hosts := map[string]fstest.MapFS{"edge": edge(), "nothing listens": {}, "crowded": crowded()}
	for name, proc := range hosts {
		t.Run(name, func(t *testing.T) {
			h, err := Look(Source{Proc: proc})
			if err != nil {
				t.Fatal(err)
			}
			file := config.HostTemplate(h.HostFacts(config.Interface{Name: "eth0", Attach: config.AttachNative}))
			host, err := config.ParseHost("spillway.yaml", file)
			if err != nil {
				t.Fatalf("%v\n%s", err, file)
			}
			if host.MaxMode != config.ModeObserve {
				t.Errorf("max_mode is %s, want observe", host.MaxMode)
			}
			if want := max(1, len(h.Services)); len(host.Services) != want {
				t.Errorf("%d services in the file, want %d", len(host.Services), want)
			}
			if name == "edge" && len(host.Allowlist) != 4 {
				t.Errorf("allowlist has %d rows, want two SSH peers and two gateways:\n%s", len(host.Allowlist), file)
			}
		})
	}
}

// crowded listens on more ports than a host file has room for, web ports last, with odd process names.
func crowded() fstest.MapFS {
	var rows strings.Builder
	proc := fstest.MapFS{}
	for i := range 40 {
		rows.WriteString(row(fmt.Sprintf("00000000:%04X", 7000+i), "00000000:0000", StateListen, 100+i))
		process(proc, 10+i, "Odd_Name: (x) é", 100+i)
	}
	rows.WriteString(row("00000000:20FB", "00000000:0000", StateListen, 300)) // 8443
	proc["net/tcp"] = &fstest.MapFile{Data: []byte(heading + rows.String())}
	return proc
}

func TestCrowdedHostKeepsTheWebPorts(t *testing.T) {
	h, err := Look(Source{Proc: crowded()})
	if err != nil {
		t.Fatal(err)
	}
	if room := config.DefaultHost().Capacity.Services; len(h.Services) != room || len(h.LeftOut) != 41-room {
		t.Errorf("%d services and %d left out, want %d and %d", len(h.Services), len(h.LeftOut), room, 41-room)
	}
	if h.Services[0].Port != 8443 {
		t.Errorf("first service is on port %d, want 8443", h.Services[0].Port)
	}
}

func TestBrokenTableIsAnErrorNotAPanic(t *testing.T) {
	for _, local := range []string{"xyz", "0100007F", "0100007F:zz", "01:0050", "0100007F:10050"} {
		proc := fstest.MapFS{"net/tcp": {Data: []byte(heading + row(local, "00000000:0000", StateListen, 1))}}
		if _, err := Look(Source{Proc: proc}); err == nil {
			t.Errorf("local address %q was read", local)
		}
	}
}

// The machine that runs the test can be read, whatever it is.
func TestLookAtThisHost(t *testing.T) {
	if _, err := Look(Source{Proc: os.DirFS("/proc")}); err != nil {
		t.Error(err)
	}
}

// A port that is forwarded is a service without a socket here, whether something listens on it or not.
func TestForwardedPorts(t *testing.T) {
	own, other := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("10.96.0.1")
	f := &forward.Found{Own: []netip.Addr{own}, Notes: []string{"kube-proxy runs"}, Rules: []forward.Rule{
		{By: "nftables", From: 443, To: 443, Where: "table ip nat, chain pre"},
		{By: "nftables", From: 22, To: 22, Where: "table ip nat, chain pre"},
		{By: "nftables", From: 8443, To: 8443, Where: "table ip nat, chain pre"},
		{By: "nftables", From: 9443, To: 9443, Address: other, Where: "table ip nat, chain pre"},
		{By: "nftables", From: 9000, To: 9100, Where: "table ip nat, chain pre"},
		{By: "docker-proxy", From: 4000, To: 4000, Where: "process 9"},
		{By: "IPVS", From: 993, To: 993, Address: own, Where: "virtual service 192.0.2.10:993"},
	}}
	h, err := Look(Source{Proc: edge(), Forwards: f})
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint16]string{}
	for _, s := range h.Services {
		if s.Kind != config.KindQUIC && s.Kind != config.KindUDP {
			got[s.Port] = fmt.Sprintf("%s local=%t; %s", s.Kind, s.Local, s.Note)
		}
	}
	const past = ": no socket on this port knows of these connections"
	want := map[uint16]string{
		80:   "http local=true; nginx listens here",
		443:  "tls local=true; nftables forwards port 443 (table ip nat, chain pre)" + past,
		25:   "tcp local=true; master listens here",
		4000: "tcp local=false; docker-proxy listens here for a container, whose sockets are elsewhere",
		5432: "tcp local=true; postgres listens here",
		8443: "tls local=false; nftables forwards port 8443 (table ip nat, chain pre)" + past,
		993:  "tls local=false; IPVS forwards port 993 (virtual service 192.0.2.10:993)" + past,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(h.Notes) != 1 {
		t.Errorf("notes: %q", h.Notes)
	}
	file := config.HostTemplate(h.HostFacts(config.Interface{Name: "eth0", Attach: config.AttachNative}))
	if _, err := config.ParseHost("spillway.yaml", file); err != nil {
		t.Errorf("%v\n%s", err, file)
	}
}
