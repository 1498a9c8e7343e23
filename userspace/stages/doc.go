// SPDX-License-Identifier: Apache-2.0

// Package stages brings changes into force in stages: it shows the engine (package rollout) what the kernel counted and
// what people ask for, and has its decisions carried out.
//
//	people ─▶ Do ─┐
//	              ▼
//	once a second: evidence ─▶ rollout.Step ─▶ lease ─▶ disk ─▶ deeds (release.Stagehand)
//	                 ▲  ▲                                        │
//	   tastes, votes ┘  └ kernel, read last                      └ taste: a generation, built aside
//
// What holds after each look:
//
//	what was decided is on disk before the kernel gets it; while the disk refuses, a rollout goes back but not on,
//	and what lets more pass goes on all the same;
//	a deed that failed is asked for again, and a repetition changes nothing: the kernel is compared with what is wanted;
//	a candidate's lease reaches one lease beyond the last look, whoever else is alive;
//	the record says what is stable, what is last-known-good and what is in quarantine. The engine gets these from the
//	record at each look and gives them back to it: there is no second list.
//
// Parts: look (one turn), memory (what is on disk), mirror (record and engine), deeds, tastes, decided (the history).
package stages
