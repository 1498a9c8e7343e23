// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// jobs is a worker beside the ticks. What may take longer than a moment is its work: to load programs, to compile and
// build a bundle, to read one, to compare all rows. The ticks only decide what is due. So repairs, deadlines and
// systemd's watchdog never wait for a million rows, and nothing that is long runs twice at once.
type jobs struct {
	spawn func(func())

	mu      sync.Mutex
	running string // "" while there is none
	since   time.Time
	idle    chan struct{} // closed while there is none
}

func newJobs(spawn func(func())) *jobs {
	j := &jobs{spawn: spawn, idle: make(chan struct{})}
	close(j.idle)
	return j
}

// start begins a job unless one runs.
func (j *jobs) start(name string, now time.Time, job func()) bool {
	j.mu.Lock()
	if j.running != "" {
		j.mu.Unlock()
		return false
	}
	j.running, j.since, j.idle = name, now, make(chan struct{})
	j.mu.Unlock()
	j.spawn(func() {
		defer func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.running = ""
			close(j.idle)
		}()
		job()
	})
	return true
}

// busy names the job that runs.
func (j *jobs) busy() (name string, since time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.running, j.since
}

// wait waits until no job runs, for at most a time; 0 is without end.
func (j *jobs) wait(most time.Duration) {
	j.mu.Lock()
	idle := j.idle
	j.mu.Unlock()
	if most == 0 {
		<-idle
		return
	}
	select {
	case <-idle:
	case <-time.After(most):
	}
}

// startJobs begins the most urgent job that is due. Each looks again at what it is for once it has its locks.
func (a *agent) startJobs() {
	if name, _ := a.jobs.busy(); name != "" {
		return
	}
	if a.reopened.Swap(false) {
		a.unadopted = true
		a.adoptRetry.Reset()
	}
	now := a.now()
	switch {
	case a.plane.Missing():
		if a.openRetry.Due(now) {
			a.jobs.start("load the dataplane", now, a.tryOpen)
		}
	case a.unadopted && a.adoptRetry.Due(now):
		a.jobs.start("adopt what the kernel holds", now, a.changing(a.adoptAgain))
	case a.hungUp.Load():
		a.jobs.start("read the host file", now, func() { a.hangUp(context.Background()) })
	case a.release.ExpiriesDue():
		a.jobs.start("compute expiries again", now, a.changing(func(d dataplane) { a.release.RenewExpiries(d) }))
	case a.acceptRetry.Due(now) && a.release.HostFiles().Accepted():
		a.jobs.start("let the host file count for everybody", now, a.changing(hostFiles{a}.accept))
	case !a.reloading.Load() && a.front.Waits():
		a.jobs.start("take up what was observed", now, a.front.TakeUp)
	case !a.front.Staged() && a.release.QueueDue():
		a.jobs.start("carry out what waits", now, a.release.RunQueue)
	}
}

// spareInterval is how often names and the host file on disk are looked after: each look takes a thread of its own.
// Status looks at the file by itself.
const spareInterval = 5 * time.Second

// startSpare begins what the site does not need, beside all else: nothing that it needs waits for that.
func (a *agent) startSpare() {
	if name, _ := a.spare.busy(); name != "" {
		return
	}
	now := a.now()
	number := uint32(0)
	if applied := a.ledger.Record().Applied; applied != nil {
		number = applied.Number
	}
	verify := a.drift.due(now, number)
	if !verify && now.Sub(a.lastSpare).Abs() < spareInterval-tickInterval/2 {
		return
	}
	a.lastSpare = now
	a.spare.start("look after names and rows", now, func() { a.lookAfter(verify) })
}

// changing is a job that changes what the kernel enforces. While somebody else does, it comes back at the next tick.
func (a *agent) changing(job func(dataplane)) func() {
	return func() {
		d, done, err := a.begin()
		if err != nil {
			return
		}
		defer done()
		job(d)
	}
}

// lookAfter is what the site does not need: names of bundles, and the comparison of what the kernel holds with what was
// built.
func (a *agent) lookAfter(verify bool) {
	if a.opts.gentle {
		// The thread ends with the goroutine and takes its low priority with it.
		runtime.LockOSThread()
		beGentle()
	}
	a.lookAtHost()
	a.plane.Rows.Learn()
	if verify {
		began := threadTime()
		a.plane.Rows.VerifyInBackground()
		a.drift.cost(threadTime() - began)
		if found := a.plane.Rows.Drift(); found == nil || len(found.Entries) > 0 {
			a.drift.cost(0) // until it is mended, or could be looked at
		}
	}
}

// pace is how often rows are compared: each minute where that is cheap, else so seldom that it takes a fifth of a
// thousandth of a processor, and at least each hour: half an hour later an alarm says that nothing is compared any
// more. The tables are frozen, so no process can write to them, and whether they are those that packets read is
// looked at each five seconds (Links.Watch). A million prefixes took 1.4 s of a processor: they are compared each
// hour, and for the first time within a minute of coming into force.
type pace struct {
	last  time.Time    // of the goroutine that ticks
	of    uint32       // the generation that was stable then
	pause atomic.Int64 // nanoseconds
}

const (
	paceLeast, paceMost = time.Minute, time.Hour
	paceShare           = 5000
)

// due reports whether rows are to be compared now, where that generation is stable, and notes that they are.
func (p *pace) due(now time.Time, stable uint32) bool {
	pause := paceLeast
	if stable == p.of {
		pause = max(paceLeast, time.Duration(p.pause.Load()))
	}
	if now.Sub(p.last) < pause {
		return false
	}
	p.last, p.of = now, stable
	return true
}

// cost says what a comparison took of a processor.
func (p *pace) cost(d time.Duration) { p.pause.Store(int64(min(d*paceShare, paceMost))) }

// threadTime is what the calling thread has had of a processor. Where a goroutine has no thread of its own it says
// nothing.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// gentler is how much nicer than the agent its background work is: a third of its share. At nice 19 beside busy
// processes a thread gets no turn for seconds, and whenever Go's collector stops the world all others wait for it.
const gentler = 5

// beGentle makes the calling thread nicer than it is.
func beGentle() {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid()) // 20 minus its niceness
	if err == nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), min(20-raw+gentler, 19))
	}
}

// begin takes the change lock and the dataplane.
func (a *agent) begin() (dataplane, func(), error) {
	k, done, err := a.release.Begin()
	if err != nil {
		return nil, nil, err
	}
	return k.(dataplane), done, nil // it is what use returned
}
