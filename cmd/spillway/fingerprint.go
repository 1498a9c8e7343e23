// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/probe"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/fingerprint"
	"github.com/spillway/spillway/userspace/offline"
)

func (a *app) newFingerprint() *cobra.Command {
	live, only, most := false, "", 0
	c := &cobra.Command{
		Use: "fingerprint FILE | --live", Short: "Show fingerprints of connections, and whose they are",
		Long: `Show what the TCP connections of a capture look like: JA4, JA4_r, stable JA4 and
JA3 of the ClientHello, MuonFP and p0f v3 signature of the SYN, and who is known
to look like this. FILE is a pcap or pcapng file, - is standard input. What the
dataplane computes comes from a second instance of its programs, loaded for this
and attached nowhere; without root this program reads it itself ("by go").

  spillway fingerprint visitors.pcap
  tcpdump -i eth0 -w - 'tcp port 443' | spillway fingerprint -
  spillway fingerprint --live --service web

With --live it shows connections as they come to this host, from the agent's
events, until interrupted. With -o json it is one JSON object a line.

Exit code 1 when the capture is damaged: what comes before the damage is shown.
Exit code 3 when no agent answers (--live).`,
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case live && len(args) > 0:
				return usage("want a FILE or --live, not both")
			case !live && len(args) != 1:
				return usage("want one FILE, - for standard input, or --live\nsee: %s --help", c.CommandPath())
			case !live && (c.Flags().Changed("service") || c.Flags().Changed("count")):
				return usage("--service and --count go with --live only")
			case most < 0:
				return usage("--count wants a number from 0 (no end) on")
			}
			return nil
		},
		ValidArgsFunction: files("pcap", "pcapng", "cap", "gz"),
		RunE: func(c *cobra.Command, args []string) error {
			known, err := catalogue.Load()
			if err != nil {
				return err
			}
			if live {
				return a.fingerprintLive(c.Context(), known, only, most)
			}
			return a.fingerprintFile(c.Context(), known, args[0])
		},
	}
	c.Flags().BoolVar(&live, "live", false, "connections as they come, from the agent")
	c.Flags().StringVar(&only, "service", "", "of one service only (--live)")
	c.Flags().IntVarP(&most, "count", "n", 0, "end after so many; 0 is no end (--live)")
	_ = c.RegisterFlagCompletionFunc("service", values(a.serviceNames))
	return c
}

// stdin is the FILE that stands for standard input.
const stdin = "-"

func (a *app) fingerprintFile(ctx context.Context, known *catalogue.Catalogue, name string) error {
	r, interrupted := a.stdin, error(nil)
	if name != stdin {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		r, interrupted = file, with(exitError)
	} else {
		name = "standard input"
	}
	capture, err := fingerprint.OpenCapture(&patientReader{ctx: ctx, r: r})
	switch {
	case err != nil && ctx.Err() != nil:
		return interrupted
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	o := fingerprint.Options{Catalogue: known}
	if lab := a.openLab(); lab != nil {
		defer lab.Close()
		o.Kernel = lab
	}
	sum, err := fingerprint.Read(capture, o, a.tellConnection())
	if a.format != formatJSON {
		fmt.Fprintln(a.stderr, sum.Text())
	}
	if ctx.Err() != nil {
		return interrupted // a pipe is ended like this; of a file the rest is missing
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// openLab loads the second instance; without it the answers are this program's own, and a person is told.
func (a *app) openLab() *probe.Probe {
	if a.kernel == nil {
		return nil
	}
	lab, err := a.kernel()
	switch {
	case errors.Is(err, loader.ErrPermission) && os.Geteuid() != 0:
		fmt.Fprintf(a.stderr,
			"The dataplane is not asked, this program reads the capture itself: %v\n  fix: run it with sudo\n", err)
	case err != nil:
		fmt.Fprintf(a.stderr, "The dataplane is not asked, this program reads the capture itself: %v\n", err)
	}
	return lab
}

// tellConnection prints connections, each by one write.
func (a *app) tellConnection() func(fingerprint.Connection) error {
	first := true
	return func(c fingerprint.Connection) error {
		if a.format == formatJSON {
			return writeLine(a.stdout, struct {
				api.Envelope
				fingerprint.Connection
			}{api.NewEnvelope(), c})
		}
		text := fingerprint.Text(c)
		if !first {
			text = "\n" + text
		}
		first = false
		_, err := io.WriteString(a.stdout, text)
		return err
	}
}

// errEnough ends the events after --count.
var errEnough = errors.New("enough")

func (a *app) fingerprintLive(ctx context.Context, known *catalogue.Catalogue, only string, most int) error {
	client := a.client()
	defer client.Close()
	if only != "" {
		if err := a.checkService(ctx, client, only); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.stderr,
		"Shown: every connection, as it comes; at most %d decisions a second on each processor. Ctrl-C ends it.\n",
		loader.EventsPerSecond)
	shown := 0
	err := client.Watch(ctx, func(e api.Event) error {
		l, ok := fingerprint.NewLive(e, known)
		if !ok || only != "" && e.Service != only {
			return nil
		}
		if err := a.tellLive(l, shown == 0); err != nil {
			return err
		}
		if shown++; shown == most {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil // that is how a person ends it
	}
	return err
}

func (a *app) tellLive(l fingerprint.Live, first bool) error {
	if a.format == formatJSON {
		return writeLine(a.stdout, l)
	}
	text := l.Text() + "\n"
	if first {
		text = fingerprint.LiveHeading() + "\n" + text
	}
	_, err := io.WriteString(a.stdout, text)
	return err
}

// checkService refuses a service that the agent does not know.
func (a *app) checkService(ctx context.Context, client *api.Client, name string) error {
	st, err := client.Status(ctx)
	if err != nil {
		return err
	}
	unknown := &offline.UnknownService{Name: name}
	for _, s := range st.Services {
		if s.Name == name {
			return nil
		}
		unknown.Have = append(unknown.Have, s.Name)
	}
	return unknown
}

// patientReader reads what may never come, and ends with its context.
type patientReader struct {
	ctx  context.Context
	r    io.Reader
	next chan []byte
	err  error // set before next is closed
	rest []byte
}

func (p *patientReader) Read(b []byte) (int, error) {
	if p.next == nil {
		p.next = make(chan []byte)
		go p.pump()
	}
	for len(p.rest) == 0 {
		select {
		case <-p.ctx.Done():
			return 0, io.EOF
		case more, open := <-p.next:
			if !open {
				return 0, p.err
			}
			p.rest = more
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func (p *patientReader) pump() {
	defer close(p.next)
	for {
		b := make([]byte, 64<<10)
		n, err := p.r.Read(b)
		select {
		case p.next <- b[:n]:
		case <-p.ctx.Done():
			return
		}
		if err != nil {
			p.err = err
			return
		}
	}
}
