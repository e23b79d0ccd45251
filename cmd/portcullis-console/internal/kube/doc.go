// Package kube is the cluster as one caller sees it. Every request carries the caller's own token, and nothing of the console's: what they may not read
// is not shown. Answers are bounded in size, number and time.
package kube
