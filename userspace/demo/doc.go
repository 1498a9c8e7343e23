// SPDX-License-Identifier: Apache-2.0

// Package demo shows the main job on real traffic in a minute and a half: what Spillway would block, what it blocks
// by source, SYN and ClientHello, that neither a bad feature file, nor a killed agent, nor a mistake costs a visitor
// anything, and that a bundle which would block a browser is held before it meets one.
//
// Everything happens in a lab (package lab): two network namespaces with a web server, visitors and bots. The agent is
// the real binary, a child inside of the edge namespace, and every step is the command that a person would type there,
// run by the same binary against the agent's socket. The only thing that the demo does which a person would not is to
// look into /proc for the moment in which a generation is being built, so that SIGKILL hits the middle of an apply.
//
// Checks are facts, never times: no visitor failed, no answer reached a bot, a number stayed the same. Latency is shown
// and judges nothing. What the demo makes lies in one folder, its BPF file system included, under a lock that dies with
// its owner; so the next demo removes what a killed one left.
package demo
