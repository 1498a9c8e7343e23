// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"

	utls "github.com/refraction-networking/utls"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// dial finds the targets as the hosts file of the programs does.
func (p *program) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(host, ":") && strings.HasSuffix(host, ".example") {
		for line := range strings.Lines(hostsFile()) {
			if addr, name, _ := strings.Cut(strings.TrimSpace(line), " "); name == host {
				host = addr
			}
		}
	}
	return p.lab.Out.Dialer(netip.Addr{}).DialContext(ctx, network, net.JoinHostPort(host, port))
}

// goHTTP is Go's own client as it comes.
func goHTTP(p *program) string { return p.getAll(&tls.Config{InsecureSkipVerify: true}) }

// goResumed is Go's own client with a cache of sessions: every second visit is resumed.
func goResumed(p *program) string {
	conf := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	p.getAll(conf)
	return p.getAll(conf)
}

func (p *program) getAll(conf *tls.Config) string {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: p.dial, DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: conf,
	}}
	var out strings.Builder
	for _, u := range urls() {
		resp, err := client.Get(u)
		world.Must(p.t, err)
		_, err = io.Copy(&out, resp.Body)
		world.Must(p.t, err)
		world.Must(p.t, resp.Body.Close())
	}
	return out.String()
}

// mimic is Go code that sends another client's ClientHello.
func mimic(id utls.ClientHelloID) func(*program) string {
	return func(p *program) string {
		var out strings.Builder
		for i, h := range hosts() {
			if id.Client == utls.HelloRandomized.Client {
				// a shape for each target, the same in every run; of other seeds, nginx refuses some
				id.Seed = &utls.PRNGSeed{byte(i), 1}
			}
			world.Must(p.t, p.mimicOne(&out, id, strings.Trim(h, "[]")))
		}
		return out.String()
	}
}

func (p *program) mimicOne(out io.Writer, id utls.ClientHelloID, host string) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	conn, err := p.dial(ctx, "tcp", net.JoinHostPort(host, "443"))
	if err != nil {
		return err
	}
	defer conn.Close()
	name := host
	if _, err := netip.ParseAddr(host); err == nil {
		name = "" // as every client does: an address is no server name
	}
	secure := utls.UClient(conn, &utls.Config{ServerName: name, InsecureSkipVerify: true}, id)
	if err := secure.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%s: %w", id.Str(), err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+lab.OriginHost+"/", nil)
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
	_, err = io.Copy(out, resp.Body)
	return err
}
