// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	sumBytes = 8 // of each line's SHA-256: against tears and flips, not against forgers
	// maxLineBytes bounds a line that is written and read. One that is longer is skipped, and the rest is read.
	maxLineBytes = 256 << 10
)

// sealLine encodes an object as a line with a checksum.
func sealLine(v any) ([]byte, error) {
	body, err := encode(v)
	if err != nil {
		return nil, err
	}
	line := fmt.Appendf(body[:len(body)-1:len(body)-1], `,"sum":"%s"}`+"\n", lineSum(body))
	if len(line) > maxLineBytes {
		return nil, fmt.Errorf("a line of %d bytes; the file takes %d", len(line), maxLineBytes)
	}
	return line, nil
}

// openLine returns the object of a line without its end, or errCorrupt.
func openLine(line []byte) ([]byte, error) {
	tail := len(`,"sum":""}`) + 2*sumBytes
	if len(line) < tail {
		return nil, errCorrupt
	}
	body := append(bytes.Clone(line[:len(line)-tail]), '}')
	if want := fmt.Appendf(nil, `,"sum":"%s"}`, lineSum(body)); !bytes.Equal(want, line[len(line)-tail:]) {
		return nil, errCorrupt
	}
	return body, nil
}

func lineSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:sumBytes])
}

// eachLine calls fn with each line that is not empty, without its end. whole says that the end was there and that the
// line is no longer than it may be; of one that is not, fn sees the beginning.
func eachLine(r io.Reader, fn func(line []byte, whole bool)) error {
	in := bufio.NewReaderSize(r, maxLineBytes)
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			start := bytes.Clone(line)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			fn(start, false)
		case err == nil && len(line) > 1:
			fn(line[:len(line)-1], true)
		case err != nil && len(line) > 0:
			fn(line, false)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// torn reports whether the last line has no end: a crash or a full disk cut it off.
func torn(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n'
}
