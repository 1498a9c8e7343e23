// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spillway/spillway/userspace/lab"
)

const (
	// browserPause is between two pages of the browser.
	browserPause = time.Second
	// youngChrome is the first version that no longer says what the imitation says (catalogue: Chrome 133 to 149).
	youngChrome = 150
	pageFile    = "visit.html"
	// chromiumFile is Debian's.
	chromiumFile = "chromium"
)

// browser is a real one, headless, which must be served.
type browser struct {
	*client // nil when there is none
	left    string
	program *program
}

// startBrowser starts Debian's Chromium. Where there is none, or one that is too old, left says so.
func startBrowser(ctx context.Context, l *lab.Lab, home string, embedded bool) (b browser, err error) {
	const leftOut = "Chromium is left out: "
	path, err := exec.LookPath(chromiumFile)
	switch {
	case embedded:
		return browser{left: leftOut + "as asked"}, nil
	case err != nil:
		return browser{left: leftOut + "not installed"}, nil
	}
	version := chromiumVersion(ctx, path)
	if version < youngChrome {
		return browser{left: leftOut +
			fmt.Sprintf("version %d sends the very ClientHello that the imitation copies", version)}, nil
	}
	return startChromium(ctx, l, chromium{home: home, name: fmt.Sprintf("Chromium %d", version), pause: browserPause,
		resolve: fmt.Sprintf("MAP *.v4.example %s, MAP *.v6.example [%s]", lab.EdgeAddr4, lab.EdgeAddr6)})
}

// chromium is one that is to be started.
type chromium struct {
	home, name string
	pause      time.Duration // between two pages
	resolve    string        // where its names lead
}

func startChromium(ctx context.Context, l *lab.Lab, want chromium) (b browser, err error) {
	if err := os.MkdirAll(want.home, 0o700); err != nil {
		return b, err
	}
	page := filepath.Join(want.home, pageFile)
	times := struct{ TimeoutMS, PauseMS int64 }{visitorTimeout.Milliseconds(), want.pause.Milliseconds()}
	if err := render(page, pageFile, times); err != nil {
		return b, err
	}
	c := &client{name: want.name}
	p, err := startProgram(ctx, l, c, want.home, chromiumFile, "--headless=new", "--no-sandbox", "--disable-gpu",
		"--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run",
		"--user-data-dir="+filepath.Join(want.home, "chromium"),
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--disable-extensions", "--disable-features=LocalNetworkAccessChecks", "--ignore-certificate-errors",
		"--enable-logging=stderr",
		"--host-resolver-rules="+want.resolve, "file://"+page)
	if err != nil {
		return b, err
	}
	return browser{client: c, program: p}, nil
}

// chromiumVersion asks for the number before the first dot, 0 when it does not say.
func chromiumVersion(ctx context.Context, path string) int {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	out, _ := cmd.Output()
	var version int
	for word := range strings.FieldsSeq(string(out)) {
		if _, err := fmt.Sscanf(word, "%d.", &version); err == nil {
			break
		}
	}
	return version
}

func (b browser) stop() {
	if b.program != nil {
		b.program.stop()
	}
}
