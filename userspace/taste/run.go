// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// Run is the child: it reads a request, and writes a result. What it finds wrong is in the result; an error is that
// there is none.
//
//	limits ─▶ second instance, if asked for ─▶ rights given up ─▶ request read ─▶ built, pinned ─▶ golden clients
//
// Nothing of the request is read before the rights are gone.
func Run(in io.Reader, out io.Writer, memory uint64, golden bool) error {
	if memory > 0 {
		if err := limit(memory); err != nil {
			return answerFailed(out, err)
		}
	}
	var second *second
	if golden {
		var err error
		if second, err = openSecond(); err != nil {
			return answerFailed(out, err)
		}
		defer second.close()
	}
	if err := giveUp(); err != nil {
		return answerFailed(out, err)
	}
	var req Request
	if err := json.NewDecoder(in).Decode(&req); err != nil {
		return fmt.Errorf("read the request of a taste: %w", err)
	}
	r := Result{Digest: req.Digest}
	if err := req.try(&r, second); err != nil {
		r.Outcome, r.Detail = endOf(err), err.Error()
	}
	r.ID, r.Base, r.Peak = req.ID, req.Base, peak()
	if r.Outcome == rollout.TastePassed {
		r.Number = req.Number
	}
	return write(out, r)
}

// RunArgs is Run for programs without a command line of their own; args are those that Start gives.
func RunArgs(args []string, in io.Reader, out io.Writer) error {
	memory := uint64(0)
	for _, a := range args {
		if text, ok := strings.CutPrefix(a, memoryFlag+"="); ok {
			var err error
			if memory, err = strconv.ParseUint(text, 10, 64); err != nil {
				return fmt.Errorf("%s: %w", a, err)
			}
		}
	}
	return Run(in, out, memory, slices.Contains(args, goldenFlag))
}

func write(out io.Writer, r Result) error {
	if err := json.NewEncoder(out).Encode(r); err != nil {
		return fmt.Errorf("write the result of a taste: %w", err)
	}
	return nil
}

func answerFailed(out io.Writer, err error) error { return write(out, failed(err)) }

// endOf tells what is wrong with a bundle from what this host cannot do now.
func endOf(err error) rollout.TasteEnd {
	if errors.Is(err, loader.ErrCapacity) || errors.Is(err, loader.ErrReadBack) {
		return rollout.TasteWrong
	}
	return rollout.TasteFailed
}

// try does what the agent would do, up to the slot.
func (r *Request) try(to *Result, second *second) error {
	if err := r.check(); err != nil {
		return err
	}
	host, err := config.ParseHost("host file", []byte(r.HostText))
	if err != nil {
		return fmt.Errorf("read the host file: %w", err)
	}
	image, err := compile.HostFileSince(host, r.since(host), r.Host, r.hostNumber())
	if err != nil {
		return fmt.Errorf("compile the host file: %w", err)
	}
	set, err := state.Unusable(r.State, errReadOnly, state.Options{}).Set(r.Digest)
	if err != nil {
		return err
	}
	bundle := set.Merge()
	if r.Undeclared {
		bundle = bundle.Undeclared()
	}
	here, because := bundle.LeaveOut(config.Protected(host, r.Own))
	img, err := compile.Bundle(here, image, r.Number, r.Clock)
	if err != nil {
		return err
	}
	img.SetSalt(r.Salt)
	tables, err := loader.BuildTables(img, r.Capacity)
	if err != nil {
		return err
	}
	defer tables.Close()
	if err := tables.Pin(r.Folder()); err != nil {
		return err
	}
	context := image.Context(bundle.Host)
	to.Compiled = state.Compiled{Number: r.Number, Digest: img.Compiled(), LeftOutRows: here.OmittedProtected,
		LeftOut: because, Wall: r.Clock.Wall.Round(0).UTC(), MonotonicNS: r.Clock.MonotonicNS,
		Services: context.Services, Terms: state.TermsOf(context.Terms), Allowlist: context.Allowlist, Host: context.Host,
		Undeclared: r.Undeclared, Salt: r.Salt, Sums: img.Sums()}
	to.Warnings = unreachable(host, here)
	return second.show(to, host, r.Host, tables, here)
}

// errReadOnly keeps the child from moving a damaged file aside: that is the agent's.
var errReadOnly = errors.New("a child only reads the state folder")

// since tells a generation that is behind from one that is not. What the change is of does not matter here: the agent
// built that host file.
func (r *Request) since(host *config.Host) *compile.Since {
	if r.Change.IsZero() {
		return nil
	}
	return &compile.Since{Host: host, Change: r.Change}
}

func (r *Request) hostNumber() uint32 {
	if r.Host == nil {
		return 1
	}
	return r.Host.Number
}

// unreachable names features that no packet of this host can meet.
func unreachable(h *config.Host, b *config.Bundle) []string {
	var tls, tcp bool
	for _, s := range h.Services {
		tls = tls || s.Kind == config.KindTLS
		tcp = tcp || s.Kind != config.KindQUIC && s.Kind != config.KindUDP
	}
	var out []string
	tell := func(n int, what, missing string) {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s features are never looked at: the host has no %s service", n, what, missing))
		}
	}
	if !tls {
		tell(len(b.JA4), "JA4", "tls")
	}
	if !tcp {
		tell(len(b.TCP), "TCP fingerprint", "TCP")
		tell(len(b.P0F), "p0f", "TCP")
	}
	return out
}

// peak is the most memory that this process ever had (VmHWM), in bytes; 0 where /proc does not say.
func peak() uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line) // VmHWM: 2046364 kB
		if len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, _ := strconv.ParseUint(fields[1], 10, 44)
			return kib << 10
		}
	}
	return 0
}
