// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type netipPrefix = netip.Prefix

// banOf is the ban of a source by its number.
func banOf(n int) Ban {
	addr := netip.AddrFrom4([4]byte{198, 18 + byte(n>>16), byte(n >> 8), byte(n)})
	return Ban{Prefix: netip.PrefixFrom(addr, 32), Expires: noon.Add(time.Hour), Made: noon, By: "ann",
		Reason: "scraper <login>"}
}

// cost is what a change asks of the disk.
type cost struct {
	operations int
	bytes      int64
	longest    time.Duration
}

// costOf does a change and counts what it asks of the disk. A file that is replaced costs its new size.
func costOf(t *testing.T, s *Store, change func() error) (c cost) {
	t.Helper()
	path := filepath.Join(s.disk.dir, bansFile)
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	before, replaced := size(), false
	s.disk.opts.Fault = func(op, _ string) error {
		c.operations++
		replaced = replaced || op == opRename
		return nil
	}
	defer func() { s.disk.opts.Fault = nil }()
	start := time.Now()
	if err := change(); err != nil {
		t.Fatal(err)
	}
	c.longest = time.Since(start)
	c.bytes = size() - before
	if replaced {
		c.bytes = size()
	}
	return c
}

// A ban, and its end, cost the same among 5,000 bans as among 10, and never a whole file, whatever was banned before.
func TestABanCostsTheSameAmongMany(t *testing.T) {
	costs := map[int]cost{}
	for _, among := range []int{10, 5000} {
		s := open(t, t.TempDir(), nil)
		var all []Ban
		for n := range among {
			all = append(all, banOf(n))
		}
		if err := s.Bans().Change(all, nil); err != nil {
			t.Fatal(err)
		}
		var most cost
		for n := range 200 {
			next := banOf(1<<16 + n)
			for _, c := range []cost{
				costOf(t, s, func() error { return s.Bans().Change([]Ban{next}, nil) }),
				costOf(t, s, func() error { return s.Bans().Change(nil, []netip.Prefix{next.Prefix}) }),
			} {
				most = cost{max(most.operations, c.operations), max(most.bytes, c.bytes), max(most.longest, c.longest)}
			}
		}
		costs[among] = most
		t.Logf("among %d bans: at most %d operations, %d bytes, %v", among, most.operations, most.bytes, most.longest)
	}
	if few, many := costs[10], costs[5000]; few.operations != many.operations || few.bytes != many.bytes ||
		many.operations > 3 || many.bytes > 300 {
		t.Errorf("among 10 bans %+v, among 5,000 %+v", few, many)
	}
}

// Lines whose ban ended do not fill the disk.
func TestBansAreCompacted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	if err := s.Bans().Change([]Ban{banOf(1)}, nil); err != nil {
		t.Fatal(err)
	}
	var many []Ban
	var ends []netip.Prefix
	for n := range 2 * spareLines {
		many, ends = append(many, banOf(1<<8+n)), append(ends, banOf(1<<8+n).Prefix)
	}
	if err := errors.Join(s.Bans().Change(many, nil), s.Bans().Change(nil, ends), s.Bans().Flush()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, bansFile)); err != nil || info.Size() > 1000 {
		t.Errorf("one ban takes %d bytes, %v", info.Size(), err)
	}
	if c := costOf(t, s, s.Bans().Flush); c.operations != 0 {
		t.Errorf("nothing to do costs %+v", c)
	}
	for range mostSpareLines/len(many) + 1 { // nobody flushes
		if err := errors.Join(s.Bans().Change(many, nil), s.Bans().Change(nil, ends)); err != nil {
			t.Fatal(err)
		}
	}
	if s.bans.lines > mostSpareLines+2*len(many) {
		t.Errorf("%d lines for one ban", s.bans.lines)
	}
}

// bans.log cut off anywhere: the bans of its whole lines are there, and the next ones are written. A byte changed
// anywhere: one ban at most is lost, and it is told.
func TestTornAndChangedBans(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, bansFile)
	s := open(t, dir, nil)
	for n := range 4 {
		if err := s.Bans().Change([]Ban{banOf(n)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, data []byte, least, damaged int) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, nil)
		defer s.Close()
		mustLoad(t, s)
		if got := len(s.Bans().All()); got < least || len(s.Damaged()) != damaged {
			t.Fatalf("%s: %d bans, want %d; damaged %v", what, got, least, s.Damaged())
		}
		before := s.Bans().All()
		if err := s.Bans().Change([]Ban{banOf(9)}, nil); err != nil {
			t.Fatal(err)
		}
		again := open2(t, dir)
		if got := again.Bans().All(); len(got) != len(before)+1 || len(again.Damaged()) > 0 {
			t.Fatalf("%s: after one more %d bans, want %d; damaged %v", what, len(got), len(before)+1, again.Damaged())
		}
		for _, aside := range s.Damaged() {
			_ = os.Remove(aside)
		}
	}
	for cut := range len(whole) {
		if near := bytes.IndexByte(whole[cut:], '\n'); cut%3 > 0 && near > 1 {
			continue // around the ends of lines each length is tried
		}
		lines := bytes.Count(whole[:cut], []byte{'\n'})
		if whole[cut] == '\n' {
			lines++ // without only its end it is whole
		}
		try(fmt.Sprintf("cut at %d", cut), whole[:cut], lines, 0)
	}
	for i := 0; i < len(whole); i += 3 {
		if whole[i] == '\n' {
			continue // two lines become one, or the last is torn
		}
		data := bytes.Clone(whole)
		data[i] ^= 1
		try(fmt.Sprintf("byte %d changed", i), data, 3, 1)
	}
}

// open2 reads a folder that is locked.
func open2(t *testing.T, dir string) *Store {
	t.Helper()
	s := Unusable(dir, errors.New("only read"), Options{Now: clock})
	mustLoad(t, s)
	return s
}

// Random bans, ends, faults, lost folders and restarts beside a map: after each, memory is the map, and once the disk
// takes what it refused, so is the disk.
func TestBansAgainstAMap(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	s := open(t, dir, nil)
	want := map[netip.Prefix]Ban{}
	check := func(when string, got []Ban) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %d bans, want %d", when, len(got), len(want))
		}
		for _, b := range got {
			if w := want[b.Prefix]; w.Reason != b.Reason || !w.Expires.Equal(b.Expires) {
				t.Fatalf("%s: %+v, want %+v", when, b, w)
			}
		}
	}
	for range 1000 {
		s.disk.opts.Fault = nil
		if r.IntN(4) == 0 {
			s.disk.opts.Fault = func(op, _ string) error {
				if op != opRead && r.IntN(2) == 0 {
					return unix.ENOSPC
				}
				return nil
			}
		}
		b := banOf(r.IntN(50))
		switch r.IntN(20) {
		case 0:
			by := time.Duration(r.IntN(100)) * time.Second
			for p, w := range want {
				w.Expires = w.Expires.Add(by)
				want[p] = w
			}
			_ = s.Bans().Shift(by)
		case 1:
			_ = os.Remove(filepath.Join(dir, bansFile))
			_ = s.Bans().Change([]Ban{b}, nil)
			want[b.Prefix] = b
		case 2:
			s.disk.opts.Fault = nil
			if err := s.Bans().Flush(); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, nil)
			mustLoad(t, s)
		case 3, 4, 5, 6, 7, 8:
			_ = s.Bans().Change(nil, []netip.Prefix{b.Prefix})
			delete(want, b.Prefix)
		default:
			b.Reason = fmt.Sprint(r.IntN(1000))
			_ = s.Bans().Change([]Ban{b}, nil)
			want[b.Prefix] = b
		}
		check("in memory", s.Bans().All())
	}
	s.disk.opts.Fault = nil
	if err := s.Bans().Flush(); err != nil {
		t.Fatal(err)
	}
	check("on disk", open2(t, dir).Bans().All())
}
