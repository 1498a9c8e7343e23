// SPDX-License-Identifier: Apache-2.0

package releasetest

import (
	"time"

	"github.com/spillway/spillway/loader"
)

// Leased is a kernel part whose lease ends by a clock of the test.
type Leased interface {
	Now() time.Duration
	Ends() time.Duration // 0: there is no lease
	SetEnds(at time.Duration)
	SetTripped(generation uint32)
}

// Lease is the heartbeat of one process, by the clock of its kernel.
type Lease struct {
	K      Leased
	Asleep time.Duration // for which the process did not run, and nobody took it

	number uint32
	length time.Duration
	until  time.Duration
	lapsed uint32
}

func (l *Lease) begin(number uint32, lease time.Duration, until loader.Deadline) {
	// In and Left read the real clock in between.
	l.number, l.length, l.until = number, lease, l.K.Now()+until.Left().Round(100*time.Millisecond)
}

// Hold grants a lease.
func (l *Lease) Hold(number uint32, lease time.Duration, until loader.Deadline) {
	l.begin(number, lease, until)
	l.K.SetEnds(min(l.K.Now()+lease, l.until))
}

// GoOn renews one that lives.
func (l *Lease) GoOn(number uint32, lease time.Duration, until loader.Deadline) bool {
	l.begin(number, lease, until)
	l.Renew()
	return l.lapsed != number
}

// Renew is a beat.
func (l *Lease) Renew() {
	switch {
	case l.length <= 0:
	case l.K.Ends() > l.K.Now():
		l.K.SetEnds(min(l.K.Now()+l.length, l.until))
	case l.K.Ends() < l.until:
		l.K.SetTripped(l.number)
		l.lapsed, l.length = l.number, 0
	}
}

// Release ends it.
func (l *Lease) Release() {
	l.length = 0
	l.K.SetEnds(0)
}

// Lapsed is the candidate whose lease ended.
func (l *Lease) Lapsed() uint32 { return l.lapsed }

// Stopped is false: this process is not.
func (l *Lease) Stopped() bool { return false }

// Slept is how long the process did not run.
func (l *Lease) Slept() time.Duration { return l.Asleep }

// TakeSlept is Slept, once.
func (l *Lease) TakeSlept() time.Duration {
	defer func() { l.Asleep = 0 }()
	return l.Asleep
}
