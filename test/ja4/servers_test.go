// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/test/clienthello"
	"github.com/spillway/spillway/test/reference"
)

// server is a TLS server of this machine, on a port of loopback.
type server struct {
	name string
	addr string
}

// realServers starts one of each library that terminates TLS in front of real sites. What they serve, the dataplane must
// have read.
func realServers(t *testing.T) []server {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pair := selfSigned(t, cert, key)
	servers := []server{{"Go", serveGo(t, pair)}}
	for _, s := range []struct {
		name string
		run  func(port string) []string
	}{
		{"OpenSSL", func(port string) []string {
			return []string{"openssl", "s_server", "-quiet", "-accept", "127.0.0.1:" + port, "-cert", cert, "-key", key}
		}},
		{"GnuTLS", func(port string) []string {
			return []string{"gnutls-serv", "--quiet", "--echo", "--port", port, "--x509certfile", cert, "--x509keyfile", key}
		}},
		{"nginx", func(port string) []string {
			file := filepath.Join(dir, "nginx.conf")
			write(t, file, fmt.Sprintf("daemon off; pid %[1]s/nginx.pid; error_log /dev/null; events {} http { access_log off; "+
				"client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s; "+
				"server { listen 127.0.0.1:%[2]s ssl; ssl_certificate %[3]s; ssl_certificate_key %[4]s; return 204; } }", dir, port, cert, key))
			return []string{"nginx", "-c", file, "-e", "/dev/null"}
		}},
		{"HAProxy", func(port string) []string {
			file, both := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "both.pem")
			write(t, both, read(t, cert)+read(t, key))
			write(t, file, fmt.Sprintf("defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 5s\n"+
				"frontend f\n bind 127.0.0.1:%s ssl crt %s\n http-request return status 204\n", port, both))
			return []string{"haproxy", "-db", "-q", "-f", file}
		}},
	} {
		port := freePort(t)
		start(t, s.name, s.run(port))
		servers = append(servers, server{s.name, "127.0.0.1:" + port})
	}
	for _, s := range servers {
		s.wait(t)
	}
	return servers
}

func start(t *testing.T, name string, command []string) {
	t.Helper()
	c := exec.Command(command[0], command[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	c.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	in, err := c.StdinPipe() // s_server ends with its standard input
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.Process.Signal(syscall.SIGTERM) // nginx takes its workers with it
		_ = c.Wait()
		if t.Failed() && said.Len() > 0 {
			t.Logf("%s said: %s", name, said.Bytes())
		}
	})
}

// wait returns when the server answers an ordinary client.
func (s server) wait(t *testing.T) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{InsecureSkipVerify: true}}
		var c net.Conn
		if c, err = d.Dial("tcp", s.addr); err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatalf("%s does not answer: %v", s.name, err)
}

// serves sends a stream in pieces and reports whether the server answers with a ServerHello.
func (s server) serves(t *testing.T, pieces ...[]byte) bool {
	t.Helper()
	c, err := net.DialTimeout("tcp", s.addr, 10*time.Second)
	if err != nil {
		t.Fatalf("connect to %s: %v", s.name, err)
	}
	defer c.Close()
	for _, p := range pieces {
		if _, err := c.Write(p); err != nil {
			return false
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	head := make([]byte, 6)
	for {
		if _, err := io.ReadFull(c, head[:5]); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%s neither serves nor refuses", s.name)
			}
			return false
		}
		body := make([]byte, int(head[3])<<8|int(head[4]))
		if _, err := io.ReadFull(c, body); err != nil {
			return false
		}
		switch {
		case head[0] == 22 && len(body) > 0:
			return body[0] == 2
		case head[0] == 21 && len(body) == 2 && body[0] == 2:
			return false
		}
	}
}

func serveGo(t *testing.T, pair tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return l.Addr().String()
}

// selfSigned writes a certificate and its key.
func selfSigned(t *testing.T, certFile, keyFile string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "www.example.com"},
		DNSNames: []string{"www.example.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	write(t, certFile, string(certPEM))
	write(t, keyFile, string(keyPEM))
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// goHello is the handshake message that Go's client begins with: every server of today answers it.
func goHello(t *testing.T) []byte {
	t.Helper()
	a, b := net.Pipe()
	go func() {
		_ = tls.Client(a, &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true}).Handshake()
	}()
	t.Cleanup(func() { _ = errors.Join(a.Close(), b.Close()) })
	head := make([]byte, 5)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(b, message); err != nil {
		t.Fatal(err)
	}
	return message
}

// A record of TLS: what comes before, between and around the records of a hello, see recordTricks.
func record(kind, major, minor byte, content []byte) []byte {
	return slices.Concat([]byte{kind, major, minor, byte(len(content) >> 8), byte(len(content))}, content)
}

func repeat(n int, b []byte) []byte { return bytes.Repeat(b, n) }

// withSession is the hello of a message with a session id of n bytes.
func withSession(message []byte, n int) []byte {
	const at = 4 + 2 + 32 // of its length
	body := slices.Concat(message[4:at], []byte{byte(n)}, make([]byte, n), message[at+1+int(message[at]):])
	return slices.Concat([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body)
}

// recordTricks are ways to put the same hello into records. Each server serves some of them.
func recordTricks(message []byte) map[string][]byte {
	empty, warning := record(22, 3, 1, nil), record(21, 3, 1, []byte{1, 90})
	ccs, whole := record(20, 3, 1, []byte{1}), record(22, 3, 1, message)
	halves := func(between []byte) []byte {
		return slices.Concat(record(22, 3, 1, message[:100]), between, record(22, 3, 1, message[100:]))
	}
	tricks := map[string][]byte{
		"as it is":                        whole,
		"in two records":                  halves(nil),
		"CCS before":                      slices.Concat(ccs, whole),
		"CCS between":                     halves(ccs),
		"a fatal alert before":            slices.Concat(record(21, 3, 1, []byte{2, 40}), whole),
		"an alert of one byte before":     slices.Concat(record(21, 3, 1, []byte{1}), whole),
		"two alerts in one record":        slices.Concat(record(21, 3, 1, []byte{1, 90, 1, 90}), whole),
		"application data before":         slices.Concat(record(23, 3, 1, []byte{1}), whole),
		"a heartbeat before":              slices.Concat(record(24, 3, 1, []byte{1, 0, 0}), whole),
		"a header in a record of its own": slices.Concat(record(22, 3, 1, message[:4]), record(22, 3, 1, message[4:])),
		"an empty record of alerts":       slices.Concat(record(21, 3, 1, nil), whole),
		"an empty record of CCS":          slices.Concat(record(20, 3, 1, nil), whole),
		"close_notify before":             slices.Concat(record(21, 3, 1, []byte{1, 0}), whole),
		"a HelloRequest before":           slices.Concat(record(22, 3, 1, []byte{0, 0, 0, 0}), whole),
	}
	for _, n := range []int{0, 31, 33, 64, 255} { // TLS allows 32
		tricks[fmt.Sprintf("a session id of %d", n)] = record(22, 3, 1, withSession(message, n))
	}
	for _, n := range []int{1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 40, 200} {
		tricks[fmt.Sprintf("%d empty records before", n)] = slices.Concat(repeat(n, empty), whole)
		tricks[fmt.Sprintf("%d empty records between", n)] = halves(repeat(n, empty))
		tricks[fmt.Sprintf("%d warnings before", n)] = slices.Concat(repeat(n, warning), whole)
		tricks[fmt.Sprintf("%d warnings between", n)] = halves(repeat(n, warning))
		tricks[fmt.Sprintf("%d times CCS before", n)] = slices.Concat(repeat(n, ccs), whole)
	}
	for _, v := range [][2]byte{{3, 0}, {3, 2}, {3, 3}, {3, 4}, {3, 255}, {4, 1}, {0, 0}, {2, 0}, {15, 255}, {16, 0}, {254, 253}} {
		tricks[fmt.Sprintf("record version %02x%02x", v[0], v[1])] = record(22, v[0], v[1], message)
		tricks[fmt.Sprintf("record version %02x%02x in the second half", v[0], v[1])] =
			slices.Concat(record(22, 3, 1, message[:100]), record(22, v[0], v[1], message[100:]))
	}
	for _, n := range []int{63, 64, 65, 66, 128, 500} {
		var all []byte
		for i := range n - 1 {
			all = append(all, record(22, 3, 1, message[i:i+1])...)
		}
		tricks[fmt.Sprintf("%d records", n)] = append(all, record(22, 3, 1, message[n-1:])...)
	}
	return tricks
}

// oldTricks are ways to send a hello in the format of SSL 2.0. It has a JA4 of its own.
func oldTricks() map[string][]byte {
	old, ccs := sslv2(nil), record(20, 3, 1, []byte{1})
	tricks := map[string][]byte{
		"SSL 2": old, "SSL 2 behind CCS": slices.Concat(ccs, old), "SSL 2 behind three CCS": slices.Concat(ccs, ccs, ccs, old),
		"SSL 2 behind a warning": slices.Concat(record(21, 3, 1, []byte{1, 90}), old),
		"SSL 2 behind nothing":   slices.Concat(record(22, 3, 1, nil), old),
		"SSL 2 and more":         sslv2(func(h *clienthello.SSLv2) { h.More = []byte("more") }),
		"SSL 2 and other kinds":  sslv2(func(h *clienthello.SSLv2) { h.Kinds = []uint32{0x010080, 0x0700c0} }),
		"SSL 2 with a session":   sslv2(func(h *clienthello.SSLv2) { h.Session = make([]byte, 16) }),
	}
	for _, version := range []uint16{2, 0x0300, 0x0301, 0x0302, 0x0304, 0x0403, 0xfefd} {
		tricks[fmt.Sprintf("SSL 2 that asks for %04x", version)] = sslv2(func(h *clienthello.SSLv2) { h.Version = version })
	}
	for _, n := range []int{8, 15, 16, 33} {
		tricks[fmt.Sprintf("SSL 2 with a challenge of %d", n)] = sslv2(func(h *clienthello.SSLv2) { h.Challenge = n })
	}
	return tricks
}

// What a server serves, the dataplane has read; what none serves may be read or not.
func TestServedMeansRead(t *testing.T) {
	p := open(t) // without the kernel there is nothing to ask the servers for
	servers, message := realServers(t), goHello(t)
	tricks, served := recordTricks(message), map[string]map[string]bool{}
	want := map[string]string{} // the JA4 of a trick
	for name := range tricks {
		want[name] = p.ja4Of(clienthello.Records(message))
	}
	for name, stream := range oldTricks() {
		tricks[name] = stream
		if h, err := reference.ParseStream(stream); err == nil {
			want[name] = h.JA4()
		}
	}
	for _, s := range servers {
		served[s.name] = map[string]bool{}
		for name, stream := range tricks {
			served[s.name][name] = s.serves(t, stream)
		}
	}
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		port := uint16(1000)
		for _, name := range slices.Sorted(maps.Keys(tricks)) {
			stream := tricks[name]
			cuts := segmented(len(stream))
			port++
			p.swap(bundle().bundle())
			v := r.connect(visitor, port, stream)
			v.all(cuts...)
			want := want[name]
			if want == "" {
				want = p.ja4Of(one(tiny(1))) // of nobody
			}
			p.swap(against(want).bundle())
			b := r.connect(bot, port, stream)
			action := b.all(cuts...)
			for _, s := range servers {
				if !served[s.name][name] {
					continue
				}
				if got := v.ja4(); got != want {
					flow, _ := v.flow()
					t.Errorf("%s serves %s, whose JA4 is %q: %s", s.name, name, got, classOf(flow))
				}
				p.wants(name+", from a listed client", "XDP_DROP", action)
			}
		}
	})
	for _, s := range servers {
		n := 0
		for _, yes := range served[s.name] {
			if yes {
				n++
			}
		}
		t.Logf("%s serves %d of %d", s.name, n, len(tricks))
		if !served[s.name]["as it is"] || n == len(tricks) {
			t.Errorf("%s serves %d of %d: it judges nothing", s.name, n, len(tricks))
		}
	}
}
