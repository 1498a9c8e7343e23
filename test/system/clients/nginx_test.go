// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

const nginxPort = 8443

// The lab's own nginx speaks TLS 1.2, the default of Debian's; sites configure 1.3, and with it come the session
// tickets that change a browser's next ClientHello. It ends each connection after one answer, so that a second visit
// is a second connection. The verbs are: port, body.
const nginxConf = `	keepalive_timeout 0;
	ssl_protocols TLSv1.2 TLSv1.3;
	server {
		listen 0.0.0.0:%d ssl;
		default_type text/plain;
		location / { return 200 "%s\n"; }
		location /again { return 200 "again\n"; }
	}
`

// startNginx starts a real nginx in the edge's namespace and waits until it answers. It returns its certificate.
func startNginx(t *testing.T, w *world.World) (certificate []byte) {
	t.Helper()
	folder := t.TempDir()
	write := func(name string, text []byte) {
		world.Must(t, os.WriteFile(filepath.Join(folder, name), text, 0o600))
	}
	certificate, key := newCertificate(t)
	write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	write("nginx.conf", []byte(world.NginxConf(folder, "warn", fmt.Sprintf(nginxConf, nginxPort, served))))
	need(t, "nginx")
	cmd := exec.Command("nginx", "-e", "stderr", "-p", folder, "-c", filepath.Join(folder, "nginx.conf"))
	world.Must(t, w.Edge.Start(cmd))
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	dialer := w.Edge.Dialer(netip.Addr{})
	world.Eventually(t, "nginx answers", func() bool {
		conn, err := dialer.DialContext(t.Context(), "tcp", nginxAddr().String())
		if err != nil {
			return false
		}
		defer conn.Close()
		return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context()) == nil
	})
	return certificate
}

func nginxAddr() netip.AddrPort { return netip.AddrPortFrom(lab.EdgeAddr4, nginxPort) }

// newCertificate makes a self-signed certificate; nobody verifies it, so its names do not matter.
func newCertificate(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	world.Must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: lab.OriginHost},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		DNSNames:     []string{lab.OriginHost},
	}
	certificate, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	world.Must(t, err)
	key, err = x509.MarshalPKCS8PrivateKey(private)
	world.Must(t, err)
	return certificate, key
}
