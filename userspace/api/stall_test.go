// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// beginUpload begins a bundle on a connection of its own, and sends a part of it.
func beginUpload(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	head := "POST /v1/rollouts HTTP/1.1\r\nHost: s\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n"
	part := "--x\r\nContent-Disposition: form-data; name=\"options\"\r\n\r\n{}\r\n--x\r\n" +
		"Content-Disposition: form-data; name=\"bundle\"; filename=\"b\"\r\n\r\n"
	if _, err := io.WriteString(conn, head+part); err != nil {
		t.Fatal(err)
	}
	return conn
}

// F12: an upload that hangs, or drips, ends when it made no progress for a while; meanwhile, and with as many of them
// as the socket takes, changes go on, and an apply waits for no upload.
func TestF12UploadThatHangs(t *testing.T) {
	b := &backend{}
	c, s, path := serve(t, b)
	s.stall = 2 * time.Second
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bundle.yaml"), []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := Pack(dir)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	hung := []net.Conn{beginUpload(t, path), beginUpload(t, path), beginUpload(t, path)}
	dripping := hung[0]
	go func() {
		for err := error(nil); err == nil; time.Sleep(50 * time.Millisecond) {
			_, err = dripping.Write([]byte("\x00"))
		}
	}()
	for deadline := time.Now().Add(30 * time.Second); len(s.uploads.arriving) < len(hung); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the uploads do not begin")
		}
	}
	if _, err := c.Apply(context.Background(), u, ApplyOptions{}); err != nil || b.files == nil {
		t.Errorf("an apply beside uploads that hang: %v", err)
	}
	if _, err := c.Rollback(context.Background(), ""); err != nil {
		t.Errorf("a rollback beside them: %v", err)
	}
	for i, conn := range hung {
		if err := conn.SetReadDeadline(begun.Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("upload %d was not ended: %v", i, err)
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "hung") {
			t.Errorf("upload %d: status %d, %s", i, resp.StatusCode, text)
		}
	}
	if took := time.Since(begun); took < s.stall {
		t.Errorf("they ended after %s", took)
	}
	if b.call != "rollback " {
		t.Errorf("the backend was asked %q", b.call)
	}
}

// F12: as many receptions as the socket takes, and one more is told to come again at once; it is not kept.
func TestF12ReceptionsAreBounded(t *testing.T) {
	c, s, path := serve(t, &backend{})
	for range s.Role.limits().receptions {
		beginUpload(t, path)
	}
	for deadline := time.Now().
		Add(30 * time.Second); len(s.uploads.arriving) < cap(s.uploads.arriving); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the receptions do not begin")
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bundle.yaml"), []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := Pack(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Plan(context.Background(), u, "")
	var busy *Error
	if !errors.As(err, &busy) || busy.Code != CodeBusy {
		t.Errorf("one more: %v", err)
	}
	if _, err := c.Remove(context.Background(), RolloutRequest{Remove: "feed"}); err != nil {
		t.Errorf("a change without an upload: %v", err)
	}
}

// A change whose body hangs ends too, and holds nothing.
func TestF12BodyThatHangs(t *testing.T) {
	b := &backend{}
	_, s, path := serve(t, b)
	s.stall = 200 * time.Millisecond
	for _, r := range s.routes() {
		method, target := example(r)
		if r.needs != RoleOperate {
			continue
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: s\r\nContent-Length: 100\r\n\r\n{\"reason\":", method, target)
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", r.pattern, resp, err)
		}
		_ = conn.Close()
	}
	if b.call != "" {
		t.Errorf("the backend was asked %q", b.call)
	}
}
