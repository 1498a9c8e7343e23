// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kernel is a series of Debian's cloud kernels.
type kernel struct {
	series string         // "6.1"
	pkg    *regexp.Regexp // its packages; the group is a number, the newest has the largest
}

// Debian 12's own kernel is the oldest that Spillway supports; its backport is the next long-term one.
var series = []kernel{
	{"6.1", regexp.MustCompile(`^linux-image-6\.1\.0-(\d+)-cloud-amd64$`)},
	{"6.12", regexp.MustCompile(`^linux-image-6\.12\.(\d+)\+deb12-cloud-amd64$`)},
}

const imagePrefix = "linux-image-"

// image is an unpacked kernel package.
type image struct {
	release string // as uname -r says
	vmlinuz string
	modules []string // unpacked, in the order in which they are loaded
}

// fetch returns the kernel of this release, or, when it is neither in the store nor served or release is empty, the
// newest of the series. Without a network the newest that was downloaded before will do.
func (k kernel) fetch(ctx context.Context, s store, busybox, release string) (image, error) {
	var failed error
	try := func(names []string) (image, bool) {
		for _, name := range names {
			folder, err := s.get(ctx, name)
			if err == nil {
				var img image
				if img, err = open(folder, busybox); err == nil {
					return img, true
				}
			}
			failed = errors.Join(failed, err)
		}
		return image{}, false
	}
	for round := range 2 {
		if release != "" {
			if img, ok := try([]string{imagePrefix + release}); ok {
				return img, nil
			}
		}
		served := k.served(ctx)
		if img, ok := try(served[:min(1, len(served))]); ok {
			return img, nil
		}
		if round > 0 || os.Geteuid() != 0 { // what apt knows may be old, or nothing
			break
		}
		if err := update(ctx); err != nil {
			failed = errors.Join(failed, err)
			break
		}
	}
	if img, ok := try(k.newest(s.have())); ok {
		return img, nil
	}
	if failed == nil {
		failed = errors.New("apt knows no package of that name")
	}
	return image{}, fmt.Errorf("no kernel %s can be had: %w", k.series, failed)
}

// served returns the packages of the series that apt knows, the newest first.
func (k kernel) served(ctx context.Context) []string {
	out, err := exec.CommandContext(ctx, "apt-cache", "pkgnames", imagePrefix+k.series).Output()
	if err != nil {
		return nil
	}
	return k.newest(strings.Fields(string(out)))
}

// newest returns the packages of the series, the newest first.
func (k kernel) newest(names []string) []string {
	version := func(name string) int {
		m := k.pkg.FindStringSubmatch(name)
		if m == nil {
			return -1
		}
		n, _ := strconv.Atoi(m[1])
		return n
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return version(n) < 0 })
	slices.SortFunc(names, func(a, b string) int { return version(b) - version(a) })
	return slices.Compact(names)
}

// open looks for what a guest needs in an unpacked package.
func open(folder, busybox string) (image, error) {
	found, err := filepath.Glob(filepath.Join(folder, "boot", "vmlinuz-*"))
	if err != nil || len(found) != 1 {
		return image{}, fmt.Errorf("%s: no kernel", folder)
	}
	img := image{vmlinuz: found[0], release: strings.TrimPrefix(filepath.Base(found[0]), "vmlinuz-")}
	for _, name := range guestModules {
		packed, err := filepath.Glob(filepath.Join(folder, "lib", "modules", "*", "kernel", name+".ko*"))
		if err != nil || len(packed) == 0 {
			return image{}, fmt.Errorf("%s: no module %s", folder, name)
		}
		module := filepath.Join(folder, filepath.Base(name)+".ko")
		if _, err := os.Stat(module); err != nil {
			if err := expand(packed[0], module, busybox); err != nil {
				return image{}, err
			}
		}
		img.modules = append(img.modules, module)
	}
	return img, nil
}

// guestModules are what Debian's cloud kernels do not have built in, each after those that it needs.
var guestModules = []string{"drivers/net/veth", "drivers/net/tun", "lib/libcrc32c", "net/ipv4/netfilter/nf_defrag_ipv4",
	"net/ipv6/netfilter/nf_defrag_ipv6",
	"net/netfilter/nf_conntrack", "net/netfilter/nfnetlink", "net/netfilter/nf_tables", "net/netfilter/nft_ct"}

// expand copies a module, uncompressed: the guest's busybox cannot load a compressed one.
func expand(from, to, busybox string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if strings.HasSuffix(from, ".xz") {
		unxz := exec.Command(busybox, "unxz", "-c")
		unxz.Stdin = bytes.NewReader(content)
		if content, err = unxz.Output(); err != nil {
			return fmt.Errorf("uncompress %s: %w", filepath.Base(from), err)
		}
	}
	half := to + ".new"
	if err := os.WriteFile(half, content, 0o644); err != nil {
		return err
	}
	return os.Rename(half, to)
}
