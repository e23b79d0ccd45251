// Package database keeps the vulnerability database of the scanner: taken from a folder or a registry, checked, and
// swapped as a whole, while scans under way keep the version that they began with.
package database
