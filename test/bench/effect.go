// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
)

// effectRow says how long it takes from a call until a packet has met its effect, in microseconds.
type effectRow struct {
	name   string
	micros spread
}

// measureEffects changes what a packet meets and runs that packet at once, again and again. Each time the packet must
// have met the change.
func measureEffects(times int) (rows []effectRow, err error) {
	p, err := newPlane("effects", planeOptions{flows: 1024, bundle: deny([]netip.Prefix{deniedPrefix})})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	img, err := compile.HostFile(benchHost(1024), nil, 1)
	if err != nil {
		return nil, err
	}
	harmless, err := compile.Bundle(benchBundle(nil), img, 2, loader.Now())
	if err != nil {
		return nil, err
	}
	slot, err := p.Build(harmless)
	if err != nil {
		return nil, err
	}
	series := map[string][]float64{}
	names := []string{"swap", "rollback", "bypass on", "bypass off", "ban", "unban"}
	for range times {
		steps := []struct {
			source netip.AddrPort
			action uint32
			do     func() error
		}{
			{denied, actionPass, func() error { _, err := p.Publish(loader.Change{Stable: &slot}); return err }},
			{denied, actionDrop, func() error { _, err := p.Rollback(); return err }},
			{denied, actionPass, func() error { p.SetBypass(loader.DeadlineForever); return nil }},
			{denied, actionDrop, func() error { p.SetBypass(0); return nil }},
			{banned, actionDrop, func() error { return p.Ban(bannedPrefix, benchBan) }},
			{banned, actionPass, func() error { _, err := p.Unban(bannedPrefix); return err }},
		}
		for i, s := range steps {
			frame := synFrame(s.source, service)
			begin := time.Now()
			if err := s.do(); err != nil {
				return nil, fmt.Errorf("%s: %w", names[i], err)
			}
			action, _, err := p.Run(frame)
			spent := time.Since(begin)
			if err != nil || action != s.action {
				return nil, fmt.Errorf("%s: the next packet met action %d, want %d: %w", names[i], action, s.action, err)
			}
			series[names[i]] = append(series[names[i]], float64(spent.Nanoseconds())/1e3)
		}
	}
	for _, name := range names {
		rows = append(rows, effectRow{name, spreadOf(series[name])})
	}
	return rows, nil
}

// loadRow says how long a large list takes from its file to the published slot, in seconds.
type loadRow struct {
	rows                          int
	read, compile, build, publish float64
	taste                         tasteRow
}

const feedBundle = `version: 1
name: bench
rules:
  - {id: a, label: la, score: 60}
features:
  prefixes:
    - {list: feed, rule: a, third_party: true, file: feed.netset}
policy: {default: {drop: 60}}
`

// writeFeed writes a bundle with n prefixes into a folder.
func writeFeed(folder string, n int) error {
	var feed []byte
	for i := range n {
		// Multiplication by an odd number modulo 2^22 visits each number once.
		p := netip.PrefixFrom(address(32<<24+uint32(i)*2_654_435_761&(1<<22-1)<<8), 24)
		feed = append(p.AppendTo(feed), '\n')
	}
	for name, content := range map[string][]byte{"bundle.yaml": []byte(feedBundle), "feed.netset": feed} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// measureLoad takes a bundle with n prefixes from its files to the slot that packets read.
func measureLoad(n int) (row loadRow, err error) {
	folder, err := os.MkdirTemp("", "spillway-bench-")
	if err != nil {
		return row, err
	}
	defer os.RemoveAll(folder)
	if err := writeFeed(folder, n); err != nil {
		return row, err
	}
	p, err := newPlane("load", planeOptions{flows: 1024})
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	host := benchHost(1024)
	hostImage, err := compile.HostFile(host, nil, 1)
	if err != nil {
		return row, err
	}
	row.rows = n
	lap := stopwatch()
	bundle, err := config.LoadBundle(folder, host, config.BundleOptions{Now: time.Now()})
	if err != nil {
		return row, err
	}
	row.read = lap()
	img, err := compile.Bundle(bundle, hostImage, 2, loader.Now())
	if err != nil {
		return row, err
	}
	row.compile = lap()
	slot, err := p.Build(img)
	if err != nil {
		return row, err
	}
	row.build = lap()
	_, err = p.Publish(loader.Change{Stable: &slot})
	row.publish = lap()
	if err != nil {
		return row, err
	}
	row.taste, err = measureTaste(p, bundle, folder)
	return row, err
}

// stopwatch returns seconds since its last call.
func stopwatch() func() float64 {
	last := time.Now()
	return func() float64 {
		now := time.Now()
		spent := now.Sub(last).Seconds()
		last = now
		return spent
	}
}
