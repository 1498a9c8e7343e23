// SPDX-License-Identifier: Apache-2.0

package clients

// The tools and libraries that Debian has. Certificates are not verified: nginx's is its own.

const pythonClient = `
import http.client, ssl, sys
for target in sys.argv[1:]:
    c = http.client.HTTPSConnection(target.strip("[]"), 443, timeout=10)
    c._context.check_hostname = False
    c._context.verify_mode = ssl.CERT_NONE
    c.request("GET", "/")
    print(c.getresponse().read().decode(), end="")
    c.close()
`

// It visits every target a second time over a new connection, which it resumes.
const nodeHTTPS = `
const https = require("https");
const agent = new https.Agent({keepAlive: false});
const visit = (url, done) => https.get(url, {agent}, r => { let s = ""; r.on("data", d => s += d); r.on("end", () => done(s)); });
for (const url of process.argv.slice(2))
	visit(url, s => { process.stdout.write(s); visit(url, () => {}); });
`

const nodeFetch = `
(async () => {
	for (const url of process.argv.slice(2)) process.stdout.write(await (await fetch(url)).text());
})();
`

func curl(p *program) string {
	return p.each(`curl -sSk --max-time 10 "https://$1/"`)
}

func wget(p *program) string {
	return p.each(`wget -q -O - --no-check-certificate --timeout=10 --tries=1 "https://$1/"`)
}

// openssl sends its name only when told; a bare address has none.
func openssl(p *program) string {
	return p.each(`case $1 in h*) name="-servername $1";; *) name=-noservername;; esac
		printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -quiet -connect "$1:443" $name 2>/dev/null || true`)
}

func python(p *program) string {
	return p.run("", append([]string{"/usr/bin/python3", "-c", pythonClient}, hosts()...)...)
}

func node(p *program) string {
	return p.run("", append([]string{"node", p.file("client.js", nodeHTTPS)}, urls()...)...)
}

func fetch(p *program) string {
	return p.run("", append([]string{"node", p.file("client.js", nodeFetch)}, urls()...)...)
}
