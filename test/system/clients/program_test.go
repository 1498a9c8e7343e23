// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// connections is how often every client connects by name; it also connects once to each bare address.
const connections = 20

// served is what nginx answers.
const served = "hello from the origin"

// program is an installed client in namespaces of its own: the lab's network, its own names, its own processes. When
// its first process ends, the kernel ends the others: a browser leaves nothing behind.
type program struct {
	t           *testing.T
	lab         *lab.Lab
	certificate []byte // that nginx shows
	home        string // new and empty
}

// hosts are the targets: names first, then the bare addresses, as they stand in a URL.
func hosts() []string {
	var list []string
	for i := range connections {
		list = append(list, fmt.Sprintf("h%d.example", i+1))
	}
	return append(list, lab.EdgeAddr4.String(), "["+lab.EdgeAddr6.String()+"]")
}

// urls returns the targets as URLs.
func urls() []string {
	var list []string
	for _, h := range hosts() {
		list = append(list, "https://"+h+"/")
	}
	return list
}

// hostsFile gives the names addresses, IPv4 and IPv6 in turn.
func hostsFile() string {
	text := "127.0.0.1 localhost\n"
	for i, h := range hosts()[:connections] {
		addr := lab.EdgeAddr4
		if i%2 == 1 {
			addr = lab.EdgeAddr6
		}
		text += addr.String() + " " + h + "\n"
	}
	return text
}

// inside enters the mount namespace's own views and becomes the client.
const inside = `mount --bind "$0" /etc/hosts && mount -t proc proc /proc && exec "$@"`

// run runs a command line to its end and returns what it printed. An exit code is an error.
func (p *program) run(stdin string, args ...string) string {
	p.t.Helper()
	names := p.file("hosts", hostsFile())
	cmd := exec.Command("/bin/sh", append([]string{"-c", inside, names}, args...)...)
	cmd.Dir = p.home
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + p.home, "TMPDIR=" + p.home, "LC_ALL=C.UTF-8",
		"NODE_TLS_REJECT_UNAUTHORIZED=0"}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	world.Must(p.t, p.lab.Out.Start(cmd))
	if err := wait(cmd, 2*time.Minute); err != nil {
		p.t.Fatalf("%s: %v\n%s\n%s", args[0], err, out.String(), errs.String())
	}
	return out.String()
}

// wait waits for a command, and kills it when it takes too long.
func wait(cmd *exec.Cmd, limit time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return errors.Join(context.DeadlineExceeded, cmd.Process.Kill(), <-done)
	}
}

// file writes a file into the client's home and returns its path.
func (p *program) file(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.home, name)
	world.Must(p.t, os.MkdirAll(filepath.Dir(path), 0o700))
	world.Must(p.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// each runs a shell line once for every target, which is $1 as it stands in a URL.
func (p *program) each(line string) string {
	return p.run("",
		slices.Concat([]string{"/bin/sh", "-ec", `for target; do ` + strings.ReplaceAll(line, "$1", "$target") + `; done`,
			"sh"}, hosts())...)
}

// mustBeServed fails the test unless every target has answered.
func mustBeServed(t *testing.T, output string) {
	t.Helper()
	if got := strings.Count(output, served); got != len(hosts()) {
		t.Errorf("%d of %d targets answered: %s", got, len(hosts()), output)
	}
}
