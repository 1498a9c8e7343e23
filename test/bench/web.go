// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/userspace/lab"
)

// What comes at once, before it is multiplied: as many requests of a crawler as of visitors, and a scanner.
const (
	visitorRate = 100
	crawlerRate = 100
	scannerRate = 2000
)

// webTimes says how long each setting is watched, after it has got going.
type webTimes struct{ warm, watch time.Duration }

// webRow is what visitors noticed in one setting.
type webRow struct {
	protection string
	bots       int // times crawlerRate and scannerRate
	visitors   lab.Stats
	crawled    uint64  // requests of the crawler that were served
	answered   float64 // share of the scanner's SYNs that were answered
	busy       float64 // share of all processors' time that was not idle
}

// protection is one way to keep the bots out, put on and taken off between settings.
type protection struct {
	name    string
	on, off func() error
}

// webRig is an nginx behind a veth pair, and what protects it.
type webRig struct {
	lab         *lab.Lab
	origin      lab.Origin
	plane       *plane
	protections []protection
	missing     []string
}

func newWebRig(ctx context.Context, l *lab.Lab) (_ *webRig, err error) {
	r := &webRig{lab: l}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.origin, err = l.StartOrigin(ctx, lab.OriginOptions{}); err != nil {
		return nil, err
	}
	fp, err := signature.ParseMuonFP(scanFingerprint)
	if err != nil {
		return nil, err
	}
	r.plane, err = newPlane("web", planeOptions{bundle: func(b *config.Bundle) {
		deny([]netip.Prefix{lab.CrawlerPrefix4, lab.CrawlerPrefix6})(b)
		b.TCP = []config.TCPFeature{{Rule: "bad", Fingerprint: fp}}
	}})
	if err != nil {
		return nil, err
	}
	nothing := func() error { return nil }
	r.protections = []protection{{"none", nothing, nothing}}
	if tool, err := exec.LookPath("nft"); err == nil {
		r.protections = append(r.protections, protection{"nftables set",
			func() error { return r.nft(tool, nftRules()) }, func() error { return r.nft(tool, "delete table netdev bench\n") }})
	} else {
		r.missing = append(r.missing, "nftables: nft is not installed")
	}
	r.protections = append(r.protections, protection{"Spillway",
		func() error { return l.Edge.Do(func() error { return attach(l.EdgeIf, r.plane.root) }) },
		func() error { return l.Edge.Do(func() error { return attach(l.EdgeIf, nil) }) }})
	return r, nil
}

// nftRules drop what the bundle denies at the ingress hook, the earliest that nftables has. A set of prefixes cannot
// name the scanner by its fingerprint, so it is told the scanner's prefixes: that is to its advantage.
func nftRules() string {
	return fmt.Sprintf(`table netdev bench {
	set denied4 { type ipv4_addr; flags interval; elements = { %s, %s } }
	set denied6 { type ipv6_addr; flags interval; elements = { %s, %s } }
	chain ingress {
		type filter hook ingress device edge0 priority -500; policy accept;
		ip saddr @denied4 drop
		ip6 saddr @denied6 drop
	}
}
`, lab.CrawlerPrefix4, lab.ScannerPrefix4, lab.CrawlerPrefix6, lab.ScannerPrefix6)
}

func (r *webRig) nft(tool, rules string) error {
	cmd := exec.Command(tool, "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := r.lab.Edge.Start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, complaint.String())
	}
	return nil
}

// measure watches the visitors in every setting; bots are multiples of the rates above.
func (r *webRig) measure(ctx context.Context, bots []int, times webTimes) ([]webRow, error) {
	var rows []webRow
	for _, n := range bots {
		for _, p := range r.protections {
			row, err := r.setting(ctx, p, n, times)
			if err != nil {
				return nil, fmt.Errorf("visitors with protection %q, bots %d×: %w", p.name, n, err)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (r *webRig) setting(ctx context.Context, p protection, bots int, times webTimes) (row webRow, err error) {
	if err := p.on(); err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, p.off()) }()
	row = webRow{protection: p.name, bots: bots}
	visitors, err := r.lab.StartVisitors(ctx, lab.VisitorOptions{Rate: visitorRate, Timeout: 2 * time.Second})
	if err != nil {
		return row, err
	}
	defer visitors.Close()
	served := func() uint64 { return 0 }
	watchScanner := func() {}
	if bots > 0 {
		crawler, err := r.lab.StartCrawler(ctx, lab.CrawlerOptions{Rate: float64(crawlerRate * bots)})
		if err != nil {
			return row, err
		}
		defer crawler.Close()
		served = func() uint64 { return crawler.Window(times.watch).Served() }
		scanner, err := r.lab.StartScanner(ctx, lab.ScannerOptions{Rate: float64(scannerRate * bots)})
		if err != nil {
			return row, err
		}
		defer scanner.Close()
		watchScanner = func() {
			if s := scanner.Window(times.watch); s.Sent > 0 {
				row.answered = float64(s.Answered) / float64(s.Sent)
			}
		}
	}
	if err := pause(ctx, times.warm); err != nil {
		return row, err
	}
	idle, total := processorTime()
	if err := pause(ctx, times.watch); err != nil {
		return row, err
	}
	idleAfter, totalAfter := processorTime()
	row.visitors, row.crawled = visitors.Window(times.watch), served()
	watchScanner()
	if totalAfter > total {
		row.busy = 1 - float64(idleAfter-idle)/float64(totalAfter-total)
	}
	return row, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// processorTime reads idle and total time of all processors since boot, in ticks; zeros when they cannot be read.
func processorTime() (idle, total uint64) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, field := range strings.Fields(line) {
		var n uint64
		if _, err := fmt.Sscan(field, &n); err != nil || i > 8 { // the name first, guests' time last and counted twice
			continue
		}
		total += n
		if i == 4 || i == 5 { // idle, waiting for a disk
			idle += n
		}
	}
	return idle, total
}

func (r *webRig) close() error {
	var errs []error
	if r.plane != nil {
		errs = append(errs, r.plane.close())
	}
	if r.origin != nil {
		errs = append(errs, r.origin.Close())
	}
	return errors.Join(errs...)
}
