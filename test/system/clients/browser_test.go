// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// page loads every target as a script: each is a host of its own, so each gets a connection of its own, and onload
// says that nginx has answered, though what it answered is no script. When all have, the page visits two hosts again:
// browsers then resume their session.
const page = `<!DOCTYPE html><title>-</title><body><script>
const targets = %q.split(" ")
const say = text => { document.title += text; if (window.dump) dump(text) }
const visit = (url, done) => {
	const s = document.createElement("script")
	s.src = url
	s.onload = done
	document.body.append(s)
}
let answers = 0
for (const url of targets) visit(url, () => {
	say("hello from " + "the origin;")
	if (++answers < targets.length) return
	targets.slice(0, 2).forEach(url => visit(url + "again", () => say("again;")))
})
</script>
`

func writePage(p *program) (url string) {
	return "file://" + p.file("page.html", fmt.Sprintf(page, strings.Join(urls(), " ")))
}

// chromium runs headless and prints the page as it is after loading.
func chromium(p *program) string {
	return p.run("", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+p.home+"/profile", "--no-first-run", "--disable-background-networking",
		"--disable-component-update",
		"--disable-sync", "--disable-default-apps", "--disable-extensions", "--disable-features=LocalNetworkAccessChecks",
		"--ignore-certificate-errors", "--timeout=20000", "--dump-dom", writePage(p))
}

// firefoxPrefs let the page print, and keep Firefox from looking around.
const firefoxPrefs = `user_pref("browser.dom.window.dump.enabled", true);
user_pref("browser.opaqueResponseBlocking", false);
user_pref("network.http.speculative-parallel-limit", 0);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("app.update.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage", "about:blank");
user_pref("datareporting.policy.firstRunURL", "");
`

// firefox makes a screenshot, which it does after loading. It trusts nginx's certificate by an override for each host.
func firefox(p *program) string {
	var overrides strings.Builder
	sum := sha256.Sum256(p.certificate)
	print := strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
	for _, h := range hosts() {
		fmt.Fprintf(&overrides, "%s:443:\tOID.2.16.840.1.101.3.4.2.1\t%s\t\n", h, print)
	}
	p.file("profile/user.js", firefoxPrefs)
	p.file("profile/cert_override.txt", overrides.String())
	return p.run("", "firefox-esr", "--headless", "--no-remote", "--profile", p.home+"/profile",
		"--screenshot", p.home+"/page.png", writePage(p))
}
