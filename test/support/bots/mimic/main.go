// SPDX-License-Identifier: Apache-2.0

// Command mimic is a bot of the demo: Go code that sends the ClientHello of Chrome 133 (uTLS). It asks for one page
// after the other, each over a connection of its own, and prints how each ended. It is a program of its own so that the
// library is no part of Spillway.
//
//	mimic NAME TIMEOUT PAUSE SOURCE=TARGET…
//
// Times are in seconds; each SOURCE and TARGET is an address.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	utls "github.com/refraction-networking/utls"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mimic:", err)
		os.Exit(1)
	}
}

// trip is from where and to where a page is asked for.
type trip struct{ source, target netip.Addr }

func run(args []string) error {
	if len(args) < 4 {
		return errors.New("usage: mimic NAME TIMEOUT PAUSE SOURCE=TARGET…")
	}
	timeout, err := time.ParseDuration(args[1] + "s")
	if err != nil {
		return err
	}
	pause, err := time.ParseDuration(args[2] + "s")
	if err != nil {
		return err
	}
	var trips []trip
	for _, a := range args[3:] {
		source, target, _ := strings.Cut(a, "=")
		from, err := netip.ParseAddr(source)
		if err != nil {
			return err
		}
		to, err := netip.ParseAddr(target)
		if err != nil {
			return err
		}
		trips = append(trips, trip{from, to})
	}
	ended := make(chan error)
	go func() {
		for n := 0; ; n++ {
			go func() { ended <- visit(args[0], trips[n%len(trips)], timeout) }()
			time.Sleep(pause)
		}
	}()
	for err := range ended {
		fmt.Println("spillway:", outcome(err))
	}
	return nil
}

// outcome is what is printed of a page.
func outcome(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return "served"
	case errors.Is(err, syscall.ECONNRESET):
		return "failed reset"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "failed timeout"
	}
	return "failed " + err.Error()
}

// visit asks for one page.
func visit(name string, t trip, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: t.source.AsSlice()}}
	dialer.SetMultipathTCP(false) // browsers do not
	conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(t.target, 443).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	secure := utls.UClient(conn, &utls.Config{ServerName: name, InsecureSkipVerify: true}, utls.HelloChrome_133)
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+"/", nil)
	if err != nil {
		return err
	}
	req.Close = true
	if err := req.Write(secure); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(secure), req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
