// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// programGrace is what a client program may take beyond its time-out, for its
// own start and end, before it is killed.
const programGrace = 3 * time.Second

// pipeGrace is how long what a program says may stay open after its end: where many processes are started at once, one
// that was forked and has not begun yet holds it, and on a busy machine that takes seconds.
const pipeGrace = 10 * time.Second

// program is a real client that is installed on the machine.
type program struct {
	name, path, version string
	want                bool
	args                func(req programRequest) []string
	parse               func(exit int, stdout, stderr string) (time.Duration, error)
}

// programRequest is one request that a program is asked to make.
type programRequest struct {
	source  netip.Addr
	addr    netip.AddrPort
	caFile  string
	timeout time.Duration
}

// find looks for the program and asks for its version: "curl 7.88.1".
func (p *program) find() bool {
	if p.path = findProgram(p.name); p.path == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), programGrace)
	defer cancel()
	out, err := exec.CommandContext(ctx, p.path, "--version").Output()
	if err != nil {
		return false
	}
	p.version = p.name
	for word := range strings.FieldsSeq(string(out)) {
		if word[0] >= '0' && word[0] <= '9' {
			p.version += " " + word
			break
		}
	}
	return true
}

// startProgram runs p once a second, one at a time.
func (v *Visitors) startProgram(p *program, caFile string, o VisitorOptions) {
	v.every(time.Second, func(n uint64) {
		src := v.source.pick(n)
		req := programRequest{src, netip.AddrPortFrom(edgeAddrFor(src), o.Port), caFile, o.Timeout}
		latency, err := p.run(v.ctx, v.ns, req)
		if err != nil && v.ctx.Err() != nil {
			return
		}
		v.add(time.Now(), p.name, src, latency, err)
	})
}

// run makes one request. The latency is 0 when the program does not tell it.
func (p *program) run(ctx context.Context, ns *Namespace, req programRequest) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, req.timeout+programGrace)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, p.args(req)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	var stdout bytes.Buffer
	var stderr tail
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = pipeGrace
	err := ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
		return 0, &fault{p.name + ": not run", err}
	}
	return p.parse(cmd.ProcessState.ExitCode(), stdout.String(), stderr.String())
}

func curlArgs(r programRequest) []string {
	port := strconv.Itoa(int(r.addr.Port()))
	return []string{"-q", "-sS", "--noproxy", "*", "-o", os.DevNull,
		"-w", "%{http_code} %{time_total}", "--interface", r.source.String(),
		"--resolve", OriginHost + ":" + port + ":" + bracketed(r.addr.Addr()),
		"--cacert", r.caFile, "--max-time", fmt.Sprintf("%.3f", r.timeout.Seconds()),
		"https://" + net.JoinHostPort(OriginHost, port) + "/"}
}

// curlCauses are curl's exit codes, from its manual.
var curlCauses = map[int]string{
	7: "could not connect", 28: "timeout", 35: "tls handshake failed", 45: "could not bind",
	52: "empty answer", 56: "connection reset", 60: "certificate refused",
}

func curlResult(exit int, stdout, stderr string) (time.Duration, error) {
	if exit != 0 {
		return 0, programFault("curl", exit, curlCauses, stderr)
	}
	var code int
	var seconds float64
	if _, err := fmt.Sscanf(stdout, "%d %g", &code, &seconds); err != nil {
		return 0, &fault{"curl: unclear output", err}
	}
	if code != 200 {
		return 0, &fault{fmt.Sprintf("curl: http status %d", code), errors.New(stdout)}
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

func wgetArgs(r programRequest) []string {
	return []string{"--no-config", "--no-proxy", "--no-hsts", "-nv", "-O", os.DevNull,
		"--tries=1", fmt.Sprintf("--timeout=%.3f", r.timeout.Seconds()),
		"--bind-address=" + r.source.String(), "--ca-certificate=" + r.caFile,
		"https://" + r.addr.String() + "/"}
}

// wgetCauses are wget's exit codes, from its manual.
var wgetCauses = map[int]string{
	4: "network failure", 5: "tls verification failed", 7: "protocol error", 8: "http error status",
}

func wgetResult(exit int, _, stderr string) (time.Duration, error) {
	if exit != 0 {
		return 0, programFault("wget", exit, wgetCauses, stderr)
	}
	return 0, nil
}

func programFault(name string, exit int, causes map[int]string, stderr string) error {
	cause, ok := causes[exit]
	if !ok {
		cause = fmt.Sprintf("exit code %d", exit)
	}
	return &fault{name + ": " + cause, errors.New(strings.TrimSpace(stderr))}
}

func bracketed(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}
