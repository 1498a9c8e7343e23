// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/rollout"
)

// Options of an Asker. Host is needed.
type Options struct {
	// Host returns the health section of the host file in force; it may change at any time.
	Host func() config.Health
	// Log receives what was asked in vain, once for each reason; nil discards it.
	Log *slog.Logger
	// Now is the wall clock: the moments of a server's samples are compared with it.
	Now func() time.Time
}

// Asker keeps the newest answer. Its methods may be called by several goroutines.
type Asker struct {
	host   func() config.Health
	log    *slog.Logger
	now    func() time.Time
	client *http.Client

	mu     sync.Mutex
	latest Answer
	told   string // the trouble that the log has
}

// Answer is what a round of questions said.
type Answer struct {
	Health  rollout.Health
	At      time.Time // with the monotonic clock
	Trouble []string  // why there is no data: the name of the question and the reason
}

// New makes an asker, which asks nobody before Run.
func New(o Options) *Asker {
	a := &Asker{host: o.Host, log: o.Log, now: o.Now, client: newClient()}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.now == nil {
		a.now = time.Now
	}
	return a
}

// idle is how often the host file is looked at while it names nobody to ask.
const idle = time.Second

// Run asks until ctx ends.
func (a *Asker) Run(ctx context.Context) {
	defer a.client.CloseIdleConnections()
	for {
		every := idle
		if h := a.host(); h.Asks() {
			every = h.Every
			a.keep(a.round(ctx, h))
		} else {
			a.keep(Answer{})
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// Latest returns the newest answer. One that is older than two rounds and what a sample may be is no data.
func (a *Asker) Latest() Answer {
	h := a.host()
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.latest
	if out.Health.Known && time.Since(out.At) > 2*h.Every+h.Stale {
		out.Health = rollout.Health{}
		out.Trouble = []string{fmt.Sprintf("nobody was asked for %s", time.Since(out.At).Round(time.Second))}
	}
	return out
}

func (a *Asker) keep(answer Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.latest = answer
	told := fmt.Sprint(answer.Trouble)
	if told != a.told && len(answer.Trouble) > 0 {
		a.log.Warn("the origin's health is not known: a rollout waits", "why", answer.Trouble)
	}
	a.told = told
}

// reply is the answer to one question.
type reply struct {
	value  float64
	beyond bool
	err    error
}

// round puts all questions at once and waits for them, a few seconds at most.
func (a *Asker) round(ctx context.Context, h config.Health) Answer {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	replies := make([]reply, len(h.Queries))
	var wg sync.WaitGroup
	for i, q := range h.Queries {
		wg.Go(func() {
			numbers, err := ask(ctx, a.client, h, q, a.now)
			replies[i].err = err
			if err == nil {
				replies[i].value, replies[i].beyond = worst(q, numbers)
			}
		})
	}
	wg.Wait()
	return judge(h, replies)
}

// judge makes one answer of all replies: harm, if one says so; else no data, if one has none; else health.
func judge(h config.Health, replies []reply) Answer {
	out := Answer{At: time.Now()}
	for i, q := range h.Queries {
		r := replies[i]
		if r.err != nil {
			out.Trouble = append(out.Trouble, q.Name+": "+r.err.Error())
			continue
		}
		if r.beyond && !out.Health.Bad || out.Health.What == "" {
			out.Health = rollout.Health{Known: true, Bad: r.beyond, What: q.Name, Value: r.value, Limit: limitOf(q)}
		}
	}
	if len(out.Trouble) > 0 && !out.Health.Bad {
		out.Health = rollout.Health{}
	}
	return out
}
