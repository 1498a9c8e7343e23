// SPDX-License-Identifier: Apache-2.0

package sdnotify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestSend(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@spillway-notify-%d", os.Getpid())} {
		listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		n := New(env(map[string]string{"NOTIFY_SOCKET": name}))
		if err := n.Send(Ready, Status("two\nlines")); err != nil {
			t.Fatal(err)
		}
		if err := listener.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		got, err := listener.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if want := "READY=1\nSTATUS=two lines"; string(buf[:got]) != want {
			t.Errorf("%s: got %q, want %q", name, buf[:got], want)
		}
	}
}

func TestOutsideOfSystemd(t *testing.T) {
	n := New(env(nil))
	if err := n.Send(Ready); err != nil {
		t.Errorf("without a socket: %v", err)
	}
	if n.WatchdogInterval() != 0 {
		t.Error("a watchdog without WATCHDOG_USEC")
	}
	if err := New(env(map[string]string{"NOTIFY_SOCKET": "relative"})).Send(Ready); err == nil {
		t.Error("a relative path is no error")
	}
	if err := New(env(map[string]string{"NOTIFY_SOCKET": "/nonexistent/notify"})).Send(Ready); err == nil {
		t.Error("a missing socket is no error")
	}
}

func TestWatchdogInterval(t *testing.T) {
	me := fmt.Sprint(os.Getpid())
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{{"3000000", "", 3 * time.Second}, {"3000000", me, 3 * time.Second}, {"3000000", "1", 0},
		{"x", "", 0}, {"-5", me, 0}} {
		n := New(env(map[string]string{"WATCHDOG_USEC": c.usec, "WATCHDOG_PID": c.pid}))
		if got := n.WatchdogInterval(); got != c.want {
			t.Errorf("usec %q, pid %q: got %v, want %v", c.usec, c.pid, got, c.want)
		}
	}
}
