// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"
)

const (
	maxRate        = 2000 // requests per second of one crowd
	maxTimeout     = 30 * time.Second
	defaultTimeout = 2 * time.Second
	// maxInFlight bounds the requests of a crowd that wait at the same time.
	maxInFlight = 4096
)

// errTooMany is the failure of a request that could not even begin.
var errTooMany = &fault{"not started", errors.New("too many requests are waiting")}

// crowd sends requests at a steady rate, each over a connection of its own.
// Visitors and crawlers are crowds.
type crowd struct {
	*recorder
	ns     *Namespace
	client string
	source sources
	target func(n uint64) target // of the n-th request

	ctx    context.Context // ends the requests that wait
	cancel context.CancelFunc
	quit   chan struct{} // closed to begin no more requests
	once   sync.Once
	wg     sync.WaitGroup
	slots  chan struct{}
	waits  bool // a beat is left out while there is no slot
}

// checkRate puts the defaults in place of zeros and refuses what is out of range.
func checkRate(rate *float64, timeout *time.Duration, defaultRate float64) error {
	if *rate == 0 {
		*rate = defaultRate
	}
	if *timeout == 0 {
		*timeout = defaultTimeout
	}
	if math.IsNaN(*rate) || *rate < 0.1 || *rate > maxRate {
		return fmt.Errorf("rate %v: want 0.1 to %d requests a second", *rate, maxRate)
	}
	if *timeout < time.Millisecond || *timeout > maxTimeout {
		return fmt.Errorf("timeout %v: want 1ms to %v", *timeout, maxTimeout)
	}
	return nil
}

// newCrowd prepares a crowd that ends with ctx; start begins it.
func newCrowd(ctx context.Context, ns *Namespace, client string, source sources, target func(uint64) target) *crowd {
	ctx, cancel := context.WithCancel(ctx)
	return &crowd{
		recorder: newRecorder(time.Now()),
		ns:       ns, client: client, source: source, target: target,
		ctx: ctx, cancel: cancel,
		quit:  make(chan struct{}),
		slots: make(chan struct{}, maxInFlight),
	}
}

// waitWhileFull makes the crowd as fast as it is answered, for machines that are slower than any rate.
func (c *crowd) waitWhileFull(atOnce int) {
	c.slots, c.waits = make(chan struct{}, atOnce), true
}

// start sends rate requests a second.
func (c *crowd) start(rate float64) {
	c.every(time.Duration(float64(time.Second)/rate), func(n uint64) {
		src := c.source.pick(n)
		select {
		case c.slots <- struct{}{}:
		default:
			if c.waits {
				return
			}
			c.add(time.Now(), c.client, src, 0, errTooMany)
			return
		}
		c.wg.Go(func() {
			defer func() { <-c.slots }()
			c.request(src, c.target(n))
		})
	})
}

// every calls do with 0, 1, 2, … at the given interval until the crowd ends. A
// late beat is caught up within a second; beyond that, beats are left out.
func (c *crowd) every(interval time.Duration, do func(n uint64)) {
	c.wg.Go(func() {
		next := time.Now()
		timer := time.NewTimer(0)
		defer timer.Stop()
		for n := uint64(0); ; n++ {
			select {
			case <-c.quit:
				return
			case <-c.ctx.Done():
				return
			case <-timer.C:
			}
			do(n)
			next = next.Add(interval)
			if late := time.Since(next); late > time.Second {
				next = time.Now()
			}
			timer.Reset(time.Until(next))
		}
	})
}

// request makes one request and counts it, unless the crowd was cancelled
// meanwhile: then its end says nothing.
func (c *crowd) request(src netip.Addr, t target) {
	begin := time.Now()
	err := fetch(c.ctx, c.ns.Dialer(src), t)
	end := time.Now()
	if err != nil && c.ctx.Err() != nil {
		return
	}
	c.add(end, c.client, src, end.Sub(begin), err)
}

// Window returns what the crowd saw in the last d, or in what is remembered of
// it: at least the last 32768 requests.
func (c *crowd) Window(d time.Duration) Stats { return c.window(time.Now(), d) }

// Total returns what the crowd saw since its start.
func (c *crowd) Total() Stats { return c.sum(time.Now()) }

// Stop begins no more requests, waits for those that are under way (at most
// their time-out; when the context has ended, not at all), and returns the
// total. It may be called again.
func (c *crowd) Stop() Stats {
	c.once.Do(func() { close(c.quit) })
	c.wg.Wait()
	c.cancel()
	c.stop(time.Now())
	return c.sum(time.Now())
}

// Close is Stop without waiting for answers.
func (c *crowd) Close() error {
	c.cancel()
	c.Stop()
	return nil
}
