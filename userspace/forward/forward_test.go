// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nft loads rules into a network namespace of the test's own, which ends with the test's thread.
func nft(t *testing.T, rules string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("left out: network namespaces need root")
	}
	path, err := exec.LookPath("nft")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("nft is missing: `make deps` installs it")
		}
		t.Skip("left out: nft is missing; `make deps` installs it")
	}
	runtime.LockOSThread()
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	cmd := exec.Command(path, "-f", "-")
	cmd.Stdin = strings.NewReader(
		strings.NewReplacer("; ", ";\n", "{ type", "{\ntype", "} chain", "}\nchain", "} }", "}\n}").Replace(rules))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s\n%s", err, out, rules)
	}
}

func said(rules []Rule) (all []string) {
	for _, r := range rules {
		s := r.Ports()
		if r.Address.IsValid() {
			s += " of " + r.Address.String()
		}
		all = append(all, fmt.Sprintf("%s: %s, %s", r.By, s, r.Where))
	}
	return all
}

func TestRulesOfNftables(t *testing.T) {
	const in = "chain pre { type nat hook prerouting priority dstnat; "
	for _, c := range []struct {
		name, rules string
		want        []string
	}{
		{"none", "table ip nat { " + in + "} }", nil},
		{"dnat of a port", "table ip nat { " + in + "tcp dport 443 dnat to 10.0.0.2:8443; } }",
			[]string{"nftables: port 443, table ip nat, chain pre"}},
		{"over IPv6", "table ip6 nat { " + in + "tcp dport 443 dnat to [2001:db8::2]:8443; } }",
			[]string{"nftables: port 443, table ip6 nat, chain pre"}},
		{"inet, redirect", "table inet x { " + in + "tcp dport 80 redirect to :8080; } }",
			[]string{"nftables: port 80, table inet x, chain pre"}},
		{"an address", "table ip nat { " + in + "ip daddr 192.0.2.1 tcp dport 443 dnat to 10.0.0.2; } }",
			[]string{"nftables: port 443 of 192.0.2.1, table ip nat, chain pre"}},
		{"a range", "table ip nat { " + in + "tcp dport 8000-8010 dnat to 10.0.0.2; } }",
			[]string{"nftables: ports 8000 to 8010, table ip nat, chain pre"}},
		{"a set", "table ip nat { " + in + "tcp dport { 80, 443 } dnat to 10.0.0.2; } }",
			[]string{"nftables: port 80, table ip nat, chain pre", "nftables: port 443, table ip nat, chain pre"}},
		{"a set of ranges", "table ip nat { " + in + "tcp dport { 80, 8000-8010 } dnat to 10.0.0.2; } }",
			[]string{"nftables: port 80, table ip nat, chain pre", "nftables: ports 8000 to 8010, table ip nat, chain pre"}},
		{"a map", "table ip nat { " + in + "dnat to tcp dport map { 80 : 10.0.0.2, 443 : 10.0.0.3 }; } }",
			[]string{"nftables: port 80, table ip nat, chain pre", "nftables: port 443, table ip nat, chain pre"}},
		{"every port", "table ip nat { " + in + "ip protocol tcp dnat to 10.0.0.2; } }",
			[]string{"nftables: every port, table ip nat, chain pre"}},
		{"l4proto and th", "table inet nat { " + in + "meta l4proto tcp th dport 443 redirect to :1; } }",
			[]string{"nftables: port 443, table inet nat, chain pre"}},
		{"udp", "table ip nat { " + in + "udp dport 443 dnat to 10.0.0.2; } }", nil},
		{"snat", "table ip nat { chain post { type nat hook postrouting priority srcnat; tcp dport 443 masquerade; } }", nil},
		{"on the way out",
			"table ip nat { chain out { type nat hook output priority -100; tcp dport 443 dnat to 10.0.0.2; } }", nil},
		{"behind a jump", "table ip nat { chain svc { dnat to 10.0.0.2; } " + in + "tcp dport 443 jump svc; } }",
			[]string{"nftables: port 443, table ip nat, chain svc"}},
		{"behind two, narrowed", "table ip nat { chain b { tcp dport 80-500 dnat to 10.0.0.2; } chain a { goto b; } " + in +
			"tcp dport 443-600 jump a; } }",
			[]string{"nftables: ports 443 to 500, table ip nat, chain b"}},
		{"a verdict map", "table ip nat { chain a { dnat to 10.0.0.2; } " + in +
			"tcp dport vmap { 443 : jump a, 80 : accept }; } }", []string{"nftables: port 443, table ip nat, chain a"}},
		{"a verdict map by address", "table ip nat { chain a { tcp dport 443 dnat to 10.0.0.2; } " + in +
			"ip daddr vmap { 192.0.2.1 : jump a }; } }", []string{"nftables: port 443, table ip nat, chain a"}},
		{"a jump that nothing takes", "table ip nat { chain a { dnat to 10.0.0.2; } " + in + "} }", nil},
		{"tproxy",
			"table inet m { chain pre { type filter hook prerouting priority mangle; tcp dport 443 tproxy ip to :50000; } }",
			[]string{"nftables: port 443, table inet m, chain pre"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			nft(t, c.rules)
			rules, err := netfilter()
			must(t, err)
			if diff := cmp.Diff(c.want, said(rules)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.rules, diff)
			}
		})
	}
}

// What Docker and Kubernetes write, in the shape in which they write it.
func TestRulesOfContainers(t *testing.T) {
	nft(t, `table ip nat {
	chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local counter jump DOCKER; jump KUBE-SERVICES; }
	chain OUTPUT { type nat hook output priority -100; policy accept; ip daddr != 127.0.0.0/8 fib daddr type local counter jump DOCKER; }
	chain DOCKER { iifname "docker0" counter return; iifname != "docker0" tcp dport 8443 counter dnat to 172.17.0.2:443; }
	chain KUBE-SEP { tcp dport 6443 dnat to 10.244.0.2:6443; }
	chain KUBE-SVC { jump KUBE-SEP; }
	chain KUBE-NODEPORTS { tcp dport 30443 jump KUBE-EXT; }
	chain KUBE-EXT { meta l4proto tcp dnat to 10.244.0.3:443; }
	chain KUBE-SERVICES { ip daddr 10.96.0.1 tcp dport 443 jump KUBE-SVC; fib daddr type local jump KUBE-NODEPORTS; }
}`)
	rules, err := netfilter()
	must(t, err)
	want := []string{"nftables: port 8443, table ip nat, chain DOCKER",
		"nftables: port 30443, table ip nat, chain KUBE-EXT"}
	if diff := cmp.Diff(want, said(rules)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The matches and targets of iptables that nftables carries as they are.
func TestReadsMatchesOfIptables(t *testing.T) {
	tcp := make([]byte, 12)
	copy(tcp[4:], []byte{0xbb, 1, 0xbb, 1}) // 443, in the order of this host
	multi := make([]byte, 48)
	multi[0], multi[1] = 1, 3
	copy(multi[2:], []byte{80, 0, 0x40, 0x1f, 0x4a, 0x1f})
	multi[32+1] = 1
	inverted := append([]byte(nil), tcp...)
	inverted[11] = 2
	for name, c := range map[string]struct {
		match string
		info  []byte
		want  []string
	}{
		"tcp": {"tcp", tcp, []string{"iptables: port 443, table ip nat, chain PREROUTING"}},
		"not": {"tcp", inverted, []string{"iptables: every port, table ip nat, chain PREROUTING"}},
		"multiport": {"multiport", multi,
			[]string{"iptables: port 80, table ip nat, chain PREROUTING",
				"iptables: ports 8000 to 8010, table ip nat, chain PREROUTING"}},
		"udp": {"udp", nil, nil},
		"cut": {"tcp", tcp[:7], []string{"iptables: every port, table ip nat, chain PREROUTING"}},
	} {
		chain := chainKey{unix.NFPROTO_IPV4, "nat", "PREROUTING"}
		rs := &ruleset{base: []chainKey{chain}, sets: map[chainKey][]element{}, rules: map[chainKey][]expressions{chain: {{
			{"match", attributes{compatName: []byte(c.match + "\x00"), compatInfo: c.info}},
			{"target", attributes{compatName: []byte("DNAT\x00")}},
		}}}}
		if diff := cmp.Diff(c.want, said(rs.forwards())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestProcessesAndIPVS(t *testing.T) {
	proc := fstest.MapFS{
		"net/ip_vs": {Data: []byte(`IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C0000201:01BB rr
  -> 0A000002:01BB      Masq    1      0          0
TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 wlc
UDP  C0000201:0035 rr
`)},
		"net/ip_tables_names": {Data: []byte("filter\nnat\n")},
		"12/comm":             {Data: []byte("docker-proxy\n")},
		"12/cmdline":          {Data: []byte("/usr/bin/docker-proxy\x00-proto\x00tcp\x00-host-ip\x000.0.0.0\x00-host-port\x008080\x00-container-ip\x00172.17.0.2\x00")},
		"13/comm":             {Data: []byte("docker-proxy\n")},
		"13/cmdline": {
			Data: []byte("/usr/bin/docker-proxy\x00-proto\x00udp\x00-host-ip\x00::\x00-host-port\x0053\x00")},
		"14/comm": {Data: []byte("kube-proxy\n")},
	}
	f := &Found{Rules: ipvs(proc)}
	f.processes(proc)
	f.legacy(proc)
	want := []string{"IPVS: port 443 of 192.0.2.1, virtual service 192.0.2.1:443",
		"IPVS: port 80 of 2001:db8::1, virtual service [2001:db8::1]:80", "docker-proxy: port 8080, process 12"}
	if diff := cmp.Diff(want, said(f.Rules)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(f.Notes) != 2 || !strings.HasPrefix(f.Notes[0], "iptables-legacy") ||
		!strings.HasPrefix(f.Notes[1], "kube-proxy") {
		t.Errorf("notes: %q", f.Notes)
	}
	f.Own = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	for _, c := range []struct {
		port uint16
		on   []netip.Addr
		want int
	}{{443, nil, 1}, {443, []netip.Addr{netip.MustParseAddr("192.0.2.2")}, 0}, {80, nil, 0},
		{8080, f.Own, 1}, {8081, nil, 0}} {
		if got := f.Hitting(c.port, c.on); len(got) != c.want {
			t.Errorf("port %d on %v: %v, want %d", c.port, c.on, got, c.want)
		}
	}
}
