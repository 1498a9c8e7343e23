// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader/probe"
	"github.com/spillway/spillway/userspace/fetch"
	"github.com/spillway/spillway/userspace/forward"
	"github.com/spillway/spillway/userspace/offline"
)

// env is everything a command takes from its surroundings, so that a test can stand in for them.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// Whether a person sits at these ends.
	stdinTTY, stdoutTTY bool
	// size is that of the terminal behind stdout; nil: not known.
	size   func() (columns, rows int)
	now    func() time.Time
	getenv func(string) string
	proc   fs.FS
	// kernel loads a second instance of the dataplane to ask; nil where none is to be had.
	kernel func() (*probe.Probe, error)
	// pins opens what is pinned, and cards what is attached to the interfaces of this network namespace.
	pins  func(offline.Places, func() time.Time) (*offline.Session, error)
	cards func() (*offline.Cards, error)
	// renew starts the agent in a new process, after so many others; it returns only on failure.
	renew func(renewed int) error
	// rehearse tries what the agent does with the rights of the unit, as root; nil: doctor tries with its own.
	rehearse func() error
	// forwards finds what sends connections to this host's ports elsewhere; nil: nobody looks.
	forwards func(proc fs.FS) *forward.Found
	// fetch says which servers are asked for lists; the zero value asks public ones.
	fetch fetch.Options
}

func systemEnv() env {
	return env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		stdinTTY: isTTY(os.Stdin), stdoutTTY: isTTY(os.Stdout),
		size: func() (int, int) { return terminalSize(os.Stdout) }, now: time.Now, getenv: os.Getenv,
		proc: os.DirFS("/proc"), kernel: probe.Open,
		pins: offline.Open, cards: offline.OpenCards,
		renew: becomeAgain, rehearse: rehearseAsUnit, forwards: forward.Look,
	}
}

func (e env) lookForwards() *forward.Found {
	if e.forwards == nil {
		return nil
	}
	return e.forwards(e.proc)
}

func isTTY(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func terminalSize(f *os.File) (columns, rows int) {
	w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(w.Col), int(w.Row)
}

// colour follows no-color.org and the usual variables beside it.
func (e env) colour() bool {
	switch {
	case e.getenv("NO_COLOR") != "":
		return false
	case e.getenv("CLICOLOR_FORCE") != "" && e.getenv("CLICOLOR_FORCE") != "0":
		return true
	}
	return e.stdoutTTY && e.getenv("TERM") != "dumb"
}
