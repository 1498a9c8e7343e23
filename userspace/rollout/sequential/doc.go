// SPDX-License-Identifier: Apache-2.0

// Package sequential has tests of a rate that may be looked at after every vote: a person, a clock or an alarm
// decides when to look, and the chance of a false rejection over all looks together stays below alpha.
//
// A vote is yes or no. A rate is yes ÷ votes, from 0 to 1. Under the null hypothesis each vote is yes with at most
// (Above) or at least (Below) the probability bound, whatever was seen before. Votes need not be independent of each
// other, nor the rate constant; they must be such that the past does not tell more than that. Who counts one source
// many times breaks this: one vote a source prefix and window is what the caller owes.
//
// The wealth of a gambler who bets on the alternative, at odds that are fair under the null hypothesis, is a
// non-negative supermartingale, so it reaches 1/alpha with probability at most alpha (Ville 1939). With an odds ratio
// c as the bet:
//
//	e_c(yes, votes) = c^yes ÷ (1 + (c-1)·bound)^votes        c > 1: the rate is above; c < 1: it is below
//
// One vote multiplies it by c or 1, and E[c^X] = 1 + (c-1)·p ≤ 1 + (c-1)·bound for every p of the null hypothesis.
// That is Wald's likelihood ratio of the rates bound and c·bound/(1+(c-1)·bound) (Wald 1945). The mean over several c
// is a wealth as well (a mixture: Robbins 1970; bets: Waudby-Smith and Ramdas 2024). It is what Test looks at:
//
//	E = mean over c of e_c      rejects when ln E ≥ ln(1/alpha)
//
// ln e_c is linear in yes and votes, and falls (c > 1) or grows (c < 1) in bound, so a confidence sequence is found
// by bisection (Interval), and so are the votes that a test needs (Needed).
//
// Sources: A. Wald, Sequential Tests of Statistical Hypotheses, Ann. Math. Stat. 16 (1945); J. Ville, Étude critique
// de la notion de collectif (1939); H. Robbins, Statistical Methods Related to the Law of the Iterated Logarithm,
// Ann. Math. Stat. 41 (1970); S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, Time-uniform, nonparametric,
// nonasymptotic confidence sequences, Ann. Stat. 49 (2021); I. Waudby-Smith, A. Ramdas, Estimating means of bounded
// random variables by betting, JRSS B 86 (2024); for the split between two arms: M. Lindon, A. Malek, Anytime-Valid
// Inference for Multinomial Count Data, NeurIPS (2022).
package sequential
