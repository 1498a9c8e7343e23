// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/spillway/spillway/userspace/lab"
)

// xdpFilter is Debian's xdp-filter, loaded with a list of denied sources. It was attached once, by its own tool; after
// that its program is attached and detached like the others that are measured.
type xdpFilter struct {
	program *ebpf.Program
	version string

	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// loadXDPFilter runs the tool in a mount namespace of its own, so that its pins and its lock touch nobody's. nil when
// it is not installed.
func loadXDPFilter(l *lab.Lab, deny []netip.Addr) (_ *xdpFilter, err error) {
	tool, err := exec.LookPath("xdp-filter")
	if err != nil {
		return nil, nil
	}
	script := "mount --make-rprivate / && mount -t bpf bpf /sys/fs/bpf && mount -t tmpfs run /run && " +
		tool + " load -m native -p allow -f ipv4 " + l.EdgeIf + " && while read a; do [ $a = end ] && break; " +
		tool + " ip -m src $a || exit 1; done && echo loaded && read a"
	x := &xdpFilter{cmd: exec.Command("unshare", "-m", "sh", "-ec", script), version: "xdp-filter"}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("load xdp-filter: %w", err), x.close())
		}
	}()
	if out, err := exec.Command(tool, "load", "--version").Output(); err == nil {
		x.version = strings.TrimSpace(strings.ReplaceAll(string(out), "\n", " "))
	}
	out, err := x.start(l, deny)
	if err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "loaded" {
			return x, x.take(l)
		}
	}
	return nil, errors.New("the tool ended before it had taken the list")
}

func (x *xdpFilter) start(l *lab.Lab, deny []netip.Addr) (io.Reader, error) {
	x.cmd.Stderr = os.Stderr
	stdin, err := x.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.Edge.Start(x.cmd); err != nil {
		return nil, err
	}
	x.stdin = stdin
	for _, a := range deny {
		if _, err := fmt.Fprintln(stdin, a); err != nil {
			return nil, err
		}
	}
	_, err = fmt.Fprintln(stdin, "end")
	return out, err
}

// take keeps the attached program and takes it off the device.
func (x *xdpFilter) take(l *lab.Lab) error {
	return l.Edge.Do(func() error {
		link, err := netlink.LinkByName(l.EdgeIf)
		if err != nil {
			return err
		}
		xdp := link.Attrs().Xdp
		if xdp == nil || !xdp.Attached {
			return errors.New("xdp-filter is not attached")
		}
		if x.program, err = ebpf.NewProgramFromID(ebpf.ProgramID(xdp.ProgId)); err != nil {
			return err
		}
		return attach(l.EdgeIf, nil)
	})
}

func (x *xdpFilter) close() error {
	var errs []error
	if x.program != nil {
		errs = append(errs, x.program.Close())
	}
	if x.stdin != nil {
		errs = append(errs, x.stdin.Close())
		_ = x.cmd.Wait() // it ends with its input; how does not matter
	}
	return errors.Join(errs...)
}

// driverMode is XDP_FLAGS_DRV_MODE: in the driver, never generic.
const driverMode = 1 << 2

// attach puts a program on a device of the calling thread's namespace, or takes it off when it is nil.
func attach(device string, p *ebpf.Program) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find %s: %w", device, err)
	}
	fd := -1
	if p != nil {
		fd = p.FD()
	}
	if err := netlink.LinkSetXdpFdWithFlags(link, fd, driverMode); err != nil {
		return fmt.Errorf("attach to %s: %w", device, err)
	}
	return nil
}
