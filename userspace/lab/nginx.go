// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// nginxStop is how long nginx may take to end before it is killed.
const nginxStop = 2 * time.Second

// nginxConf is one process that serves by itself: a master killed together
// with the lab's owner would leave its worker behind. It runs as the lab's user
// because it reads and writes only in the lab's folder. The verbs are: folder,
// TLS port, plain port, body.
const nginxConf = `daemon off;
master_process off;
worker_processes 1;
user root;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
	access_log off;
	server_tokens off;
	default_type text/plain;
	keepalive_timeout 5s;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	ssl_certificate %[1]s/` + certFile + `;
	ssl_certificate_key %[1]s/` + keyFile + `;
	server {
		listen 0.0.0.0:%[2]d ssl;
		listen [::]:%[2]d ssl ipv6only=on;
		listen 0.0.0.0:%[3]d;
		listen [::]:%[3]d ipv6only=on;
		location / { return 200 %[4]q; }
	}
}
`

// nginx is a real nginx as the origin.
type nginx struct {
	name   string
	addrs  []netip.AddrPort
	cmd    *exec.Cmd
	stderr *tail
	done   chan struct{} // closed when the process was waited for
	stop   sync.Once
}

func findNginx() string { return findProgram("nginx") }

func (l *Lab) startNginx(path string, o OriginOptions) (Origin, error) {
	version, err := exec.Command(path, "-v").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	conf := l.record.path("nginx.conf")
	text := fmt.Sprintf(nginxConf, l.record.dir, o.TLSPort, o.PlainPort, originBody)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write nginx configuration: %w", err)
	}
	n := &nginx{name: nginxName(string(version)), addrs: o.addrs(), stderr: &tail{}, done: make(chan struct{})}
	// -e: without it nginx opens the log file of the machine's own nginx.
	n.cmd = exec.Command(path, "-e", "stderr", "-p", l.record.dir, "-c", conf)
	n.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	n.cmd.Stdout, n.cmd.Stderr = n.stderr, n.stderr
	n.cmd.WaitDelay = nginxStop
	if err := l.Edge.Start(n.cmd); err != nil {
		return nil, err
	}
	go func() {
		defer close(n.done)
		if err := n.cmd.Wait(); err != nil {
			l.log.Debug("nginx ended", "error", err, "stderr", n.stderr.String())
		}
	}()
	return n, nil
}

// nginxName takes "nginx/1.22.1" from "nginx version: nginx/1.22.1 (Debian)".
func nginxName(version string) string {
	for word := range strings.FieldsSeq(version) {
		if strings.HasPrefix(word, "nginx/") {
			return word
		}
	}
	return filepath.Base("nginx")
}

func (n *nginx) Name() string            { return n.name }
func (n *nginx) Addrs() []netip.AddrPort { return n.addrs }

// exited returns why nginx has ended, or nil while it runs.
func (n *nginx) exited() error {
	select {
	case <-n.done:
		return fmt.Errorf("nginx ended (%s): %s", n.cmd.ProcessState, n.stderr)
	default:
		return nil
	}
}

// Close asks nginx to end at once, and kills it when it does not.
func (n *nginx) Close() error {
	n.stop.Do(func() {
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-n.done:
		case <-time.After(nginxStop):
			_ = n.cmd.Process.Kill()
			<-n.done
		}
	})
	return nil
}
