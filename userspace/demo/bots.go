// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/userspace/lab"
)

const (
	// botPause is between two pages of one bot.
	botPause = 500 * time.Millisecond
	// botTimeout is how long a bot waits for a page.
	botTimeout = 2 * time.Second
	// mimicFile is the bot that `make demo` builds beside the binary.
	mimicFile = "mimic"
	// pythonFile is Debian's: the catalogue knows what that one says.
	pythonFile = "/usr/bin/python3"
)

//go:embed files/python.py
var pythonBot string

// trip is from where and to where a page is asked for.
type trip struct{ source, target netip.Addr }

func (t trip) String() string { return t.source.String() + "=" + t.target.String() }

// trips begin at the visitors' own addresses, in both families: no list can tell such a bot from a visitor.
func trips() []trip {
	var all []trip
	source4, source6 := lab.VisitorPrefix4.Addr(), lab.VisitorPrefix6.Addr()
	for range 8 {
		source4, source6 = source4.Next(), source6.Next()
		all = append(all, trip{source4, lab.EdgeAddr4}, trip{source6, lab.EdgeAddr6})
	}
	return all
}

// bots are those that only their ClientHello gives away.
type bots struct {
	all      []*client
	left     []string             // who does not take part, and why
	programs map[*client]*program // of those that are one
	goPaused atomic.Bool          // Go's client asks for nothing now

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// startBots lets them in; embedded leaves out what is not this process.
func startBots(ctx context.Context, l *lab.Lab, home, exe string, embedded bool) (b *bots, err error) {
	b = &bots{programs: map[*client]*program{}}
	ctx, b.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	b.startGo(ctx, l)
	mimic := filepath.Join(filepath.Dir(exe), mimicFile)
	for _, p := range []struct {
		name, missing string
		args          []string
	}{
		{pythonName, pythonFile + " is not installed", []string{pythonFile, "-I", "-c", pythonBot}},
		{mimicName, "`make demo` builds it beside the binary", []string{mimic}},
	} {
		_, err := os.Stat(p.args[0])
		switch {
		case embedded:
			b.left = append(b.left, p.name+" is left out: as asked")
		case err != nil:
			b.left = append(b.left, p.name+" is left out: "+p.missing)
		default:
			c := &client{name: p.name}
			if b.programs[c], err = startProgram(ctx, l, c, home, slices.Concat(p.args, botArgs())...); err != nil {
				delete(b.programs, c)
				return b, err
			}
			b.all = append(b.all, c)
		}
	}
	return b, nil
}

// botArgs are the arguments of a bot's program: what to ask for, how long and how often, and the trips.
func botArgs() []string {
	args := []string{lab.OriginHost, fmt.Sprint(botTimeout.Seconds()), fmt.Sprint(botPause.Seconds())}
	for _, t := range trips() {
		args = append(args, t.String())
	}
	return args
}

// over says how a bot's program ended, "" while it runs and for one that is none.
func (b *bots) over(c *client) string {
	if p := b.programs[c]; p != nil {
		return p.over()
	}
	return ""
}

// stop sends them away and waits.
func (b *bots) stop() {
	b.cancel()
	for _, p := range b.programs {
		p.stop()
	}
	b.wg.Wait()
}
