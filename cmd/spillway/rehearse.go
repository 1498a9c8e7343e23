// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/rights"
)

const rehearseCommand = "rehearse"

// newRehearse is what `doctor` of root's runs with the rights of the unit.
func (a *app) newRehearse() *cobra.Command {
	return &cobra.Command{
		Use: rehearseCommand, Short: "Try what the agent does, attached to nothing", Hidden: true,
		Long: `Load the dataplane at its smallest, build, publish and read back, pinned nowhere
and attached to nothing, with the rights of this process. doctor does it with
the rights of the unit.`,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error { return loader.Rehearse() },
	}
}

// rehearsalTime bounds a rehearsal. It takes well below a second.
const rehearsalTime = time.Minute

// rehearseAsUnit rehearses in a process of this program with the rights of the unit. The user needs no name for that.
func rehearseAsUnit() error {
	uid, gid, err := rights.Lookup(rights.User)
	if errors.Is(err, rights.ErrNoUser) {
		uid, gid, err = rights.Nobody, rights.Nobody, nil
	}
	if err != nil {
		return err
	}
	// It may lie where that user cannot come.
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("open this program: %w", err)
	}
	defer exe.Close()
	ctx, cancel := context.WithTimeout(context.Background(), rehearsalTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3", rehearseCommand)
	cmd.Dir, cmd.ExtraFiles = "/", []*os.File{exe}
	rights.Take(cmd, uid, gid)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	said, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "spillway: "), "\n")
	if said == "" {
		said = err.Error()
	}
	return errors.New(said)
}
