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
	pkg    *regexp.Regexp // its packages; the groups are numbers, the newest has the largest
}

// Debian 12's own kernel is the oldest that Spillway supports; its backport is the next long-term one.
var series = []kernel{
	{"6.1", regexp.MustCompile(`^linux-image-6\.1\.0-(\d+)-cloud-amd64$`)},
	{"6.12", regexp.MustCompile(`^linux-image-6\.12\.(\d+)\+deb12-cloud-amd64$`)},
}

// image is an unpacked kernel package.
type image struct {
	release string // as uname -r says
	vmlinuz string
	veth    string // the module, unpacked
}

// unavailable is why a kernel cannot be tested on this machine: no fault of Spillway's.
type unavailable struct{ reason string }

func (u unavailable) Error() string { return u.reason }

// fetch unpacks the newest package of the series into the cache, downloading it only when it is not there. Without a
// network the newest that was downloaded before will do.
func (k kernel) fetch(ctx context.Context, cache string) (image, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return image{}, err
	}
	out, err := exec.CommandContext(ctx, "apt-cache", "pkgnames", "linux-image-"+k.series).Output()
	if err != nil {
		return image{}, unavailable{"apt-cache finds no kernels: " + err.Error()}
	}
	names := k.newest(strings.Fields(string(out)))
	var failed error
	if len(names) > 0 {
		img, err := k.unpack(ctx, cache, names[0])
		if err == nil {
			return img, nil
		}
		failed = err
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		return image{}, err
	}
	var cached []string
	for _, e := range entries {
		if e.IsDir() {
			cached = append(cached, e.Name())
		}
	}
	for _, name := range k.newest(cached) {
		if img, err := k.open(filepath.Join(cache, name)); err == nil {
			return img, nil
		}
	}
	if failed == nil {
		failed = errors.New("no package of that name is served: apt-get update")
	}
	return image{}, unavailable{failed.Error()}
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

// unpack leaves the package's content in a folder of the cache that carries its name.
func (k kernel) unpack(ctx context.Context, cache, name string) (image, error) {
	folder := filepath.Join(cache, name)
	if img, err := k.open(folder); err == nil {
		return img, nil
	}
	work, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return image{}, err
	}
	defer os.RemoveAll(work)
	download := exec.CommandContext(ctx, "apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name)
	download.Dir = work
	if out, err := download.CombinedOutput(); err != nil {
		return image{}, fmt.Errorf("download %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(debs) != 1 {
		return image{}, fmt.Errorf("download %s: %d packages came", name, len(debs))
	}
	content := filepath.Join(work, "content")
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], content).CombinedOutput(); err != nil {
		return image{}, fmt.Errorf("unpack %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	if err := os.RemoveAll(folder); err != nil {
		return image{}, err
	}
	if err := os.Rename(content, folder); err != nil {
		return image{}, err
	}
	return k.open(folder)
}

// open looks for what a guest needs in an unpacked package.
func (k kernel) open(folder string) (image, error) {
	found, err := filepath.Glob(filepath.Join(folder, "boot", "vmlinuz-*"))
	if err != nil || len(found) != 1 {
		return image{}, fmt.Errorf("%s: no kernel", folder)
	}
	img := image{vmlinuz: found[0], release: strings.TrimPrefix(filepath.Base(found[0]), "vmlinuz-")}
	modules, err := filepath.Glob(filepath.Join(folder, "lib", "modules", "*", "kernel", "drivers", "net", "veth.ko*"))
	if err != nil || len(modules) == 0 {
		return image{}, fmt.Errorf("%s: no veth module", folder)
	}
	img.veth = filepath.Join(folder, "veth.ko")
	if _, err := os.Stat(img.veth); err == nil {
		return img, nil
	}
	return img, expand(modules[0], img.veth)
}

// expand copies a module, uncompressed: the guest's busybox cannot load a compressed one.
func expand(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if strings.HasSuffix(from, ".xz") {
		unxz := exec.Command("busybox", "unxz", "-c")
		unxz.Stdin = bytes.NewReader(content)
		if content, err = unxz.Output(); err != nil {
			return fmt.Errorf("uncompress %s: %w", filepath.Base(from), err)
		}
	}
	return os.WriteFile(to, content, 0o644)
}
