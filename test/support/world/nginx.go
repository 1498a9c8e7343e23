// SPDX-License-Identifier: Apache-2.0

package world

import "fmt"

// NginxConf is the file of a real nginx that lives in one folder, with what belongs into its http block. It writes
// nowhere else, and finds its certificate there: cert.pem and key.pem. Level is what it says on standard error.
func NginxConf(folder, level, http string) string {
	return fmt.Sprintf(`daemon off;
master_process off;
user root;
pid %[1]s/nginx.pid;
error_log stderr %[2]s;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	ssl_certificate %[1]s/cert.pem;
	ssl_certificate_key %[1]s/key.pem;
%[3]s}
`, folder, level, http)
}
