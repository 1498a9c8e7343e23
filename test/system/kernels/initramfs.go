// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The lines by which init tells of a suite. Nothing else on the serial line begins so.
const (
	markKernel = "@kernel "
	markSuite  = "@suite "
	markExit   = "@exit "
	markEnd    = "@end"
)

// initScript is the guest's first and only process of its own. Of the kernel's own words only an emergency is worth the
// serial line; at 0 it would keep even a panic to itself.
func initScript(all []suite) string {
	var b strings.Builder
	b.WriteString(`#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs none /sys/kernel/security
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
echo 1 >/proc/sys/kernel/printk
ip link set lo up
for module in MODULES; do insmod /$module; done
seconds() { cut -d. -f1 /proc/uptime; }
`)
	fmt.Fprintf(&b, "echo; echo \"%s$(uname -r)\"\n", markKernel) // the firmware leaves half a line behind
	for _, s := range all {
		fmt.Fprintf(&b, "echo '%s%s'\nbegin=$(seconds)\n", markSuite, s.name)
		if s.lockdown {
			b.WriteString("echo confidentiality >/sys/kernel/security/lockdown\n")
		}
		fmt.Fprintf(&b, "( cd '/%s' && %s%s ./suite.test -test.v -test.run '%s' ) 2>&1\ncode=$?\n", s.name, s.guard(),
			strings.Join(s.env, " "), s.pattern())
		fmt.Fprintf(&b, "echo; echo \"%s%s $code $(($(seconds) - begin))\"\n", markExit, s.name)
	}
	fmt.Fprintf(&b, "echo '%s'\npoweroff -f\n", markEnd)
	return b.String()
}

// guard is what must hold before the suite starts, in the shell's words.
func (s suite) guard() string {
	if s.lockdown {
		return `grep '\[confidentiality\]' /sys/kernel/security/lockdown && `
	}
	return ""
}

// archive writes files in the "new ASCII" format of cpio, which the kernel unpacks as its first root
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	w    *bufio.Writer
	at   int64
	made map[string]bool
	err  error
}

const (
	modeFolder = 0o040755
	modeFile   = 0o100755
)

func newArchive(w io.Writer) *archive {
	return &archive{w: bufio.NewWriterSize(w, 1<<20), made: map[string]bool{}}
}

func (a *archive) write(b []byte) {
	if a.err == nil {
		var n int
		n, a.err = a.w.Write(b)
		a.at += int64(n)
	}
}

func (a *archive) pad() {
	for a.at%4 != 0 {
		a.write([]byte{0})
	}
}

func (a *archive) entry(name string, mode int, content []byte) {
	a.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		len(a.made)+1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0))
	a.write(append([]byte(name), 0))
	a.pad()
	a.write(content)
	a.pad()
	a.made[name] = true
}

// folder makes a folder and those above it.
func (a *archive) folder(name string) {
	if name == "." || name == "/" || a.made[name] {
		return
	}
	a.folder(filepath.Dir(name))
	a.entry(name, modeFolder, nil)
}

func (a *archive) file(name string, content []byte) {
	a.folder(filepath.Dir(name))
	a.entry(name, modeFile, content)
}

// copy puts a file or a folder of this machine into the archive.
func (a *archive) copy(from, to string) {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err == nil {
			a.file(to+strings.TrimPrefix(path, from), content)
		}
		return err
	})
	if a.err == nil {
		a.err = err
	}
}

func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, nil)
	if a.err == nil {
		a.err = a.w.Flush()
	}
	return a.err
}

// writeInitramfs packs shell, modules and test binaries, which lie in built under the name of their folder.
func writeInitramfs(path, built, busybox string, img image, all []suite) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	a := newArchive(f)
	for _, folder := range []string{"proc", "sys", "dev", "tmp", "run"} {
		a.folder(folder)
	}
	a.copy(busybox, "bin/busybox")
	var names []string
	for _, m := range img.modules {
		names = append(names, filepath.Base(m))
		a.copy(m, filepath.Base(m))
	}
	a.file("init", []byte(strings.ReplaceAll(initScript(all), "MODULES", strings.Join(names, " "))))
	for _, s := range all {
		a.copy(filepath.Join(built, binaryOf(s)), s.name+"/suite.test")
		if s.data != "" {
			a.copy(filepath.Join(moduleRoot, s.name, s.data), s.name+"/"+s.data)
		}
	}
	if err := a.close(); err != nil {
		return fmt.Errorf("write the initramfs: %w", err)
	}
	return f.Close()
}

func binaryOf(s suite) string { return strings.ReplaceAll(s.name, "/", "-") + ".test" }
