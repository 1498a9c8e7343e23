// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"encoding/hex"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

func ownAddresses() (own []netip.Addr) {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				own = append(own, addr.Unmap())
			}
		}
	}
	return own
}

// ipvs reads the virtual services (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_info_seq_show):
//
//	TCP  C0A80001:01BB rr
//	TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:01BB rr
func ipvs(proc fs.FS) (rules []Rule) {
	data, err := fs.ReadFile(proc, "net/ip_vs")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "TCP" {
			continue
		}
		at := strings.LastIndexByte(f[1], ':')
		if at < 0 {
			continue
		}
		port, err := strconv.ParseUint(f[1][at+1:], 16, 16)
		host := strings.NewReplacer("[", "", "]", "", ":", "").Replace(f[1][:at])
		raw, err2 := hex.DecodeString(host)
		addr, ok := netip.AddrFromSlice(raw)
		if err != nil || err2 != nil || !ok {
			continue
		}
		rules = append(rules,
			Rule{By: "IPVS", From: uint16(port), To: uint16(port), Address: addr,
				Where: "virtual service " + netip.AddrPortFrom(addr, uint16(port)).String()})
	}
	return rules
}

// processes finds those that are known to forward, by name.
func (f *Found) processes(proc fs.FS) {
	names, err := fs.Glob(proc, "[1-9]*/comm")
	if err != nil {
		return
	}
	var kube bool
	for _, name := range names {
		comm, err := fs.ReadFile(proc, name)
		if err != nil {
			continue // it has ended meanwhile
		}
		switch strings.TrimSpace(string(comm)) {
		case "docker-proxy":
			f.dockerProxy(proc, path.Dir(name))
		case "kube-proxy":
			kube = true
		}
	}
	if kube {
		f.Notes = append(f.Notes, "kube-proxy runs: ports of Kubernetes services are forwarded to pods, and change with them")
	}
}

// dockerProxy reads what a port is published by: -proto tcp -host-ip 0.0.0.0 -host-port 8080 …
func (f *Found) dockerProxy(proc fs.FS, pid string) {
	data, err := fs.ReadFile(proc, pid+"/cmdline")
	if err != nil {
		return
	}
	args := strings.Split(string(data), "\x00")
	value := func(name string) string {
		if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
			return args[i+1]
		}
		return ""
	}
	port, err := strconv.ParseUint(value("-host-port"), 10, 16)
	if err != nil || value("-proto") != "tcp" {
		return
	}
	r := Rule{By: "docker-proxy", From: uint16(port), To: uint16(port), Where: "process " + pid}
	if a, err := netip.ParseAddr(value("-host-ip")); err == nil && !a.IsUnspecified() {
		r.Address = a.Unmap()
	}
	f.Rules = append(f.Rules, r)
}

// legacy says that there are rules of the iptables of old, which only its own command reads.
func (f *Found) legacy(proc fs.FS) {
	for file, command := range map[string]string{"net/ip_tables_names": "iptables-legacy",
		"net/ip6_tables_names": "ip6tables-legacy"} {
		data, err := fs.ReadFile(proc, file)
		if err == nil && slices.Contains(strings.Fields(string(data)), "nat") {
			f.Notes = append(f.Notes, command+" has a table of NAT, which is not read here: "+command+" -t nat -S PREROUTING")
		}
	}
	slices.Sort(f.Notes)
}
