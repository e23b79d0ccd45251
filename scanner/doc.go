// Package scanner says what a scan of an image amounts to, how it is written as an attestation, and what VEX
// statements change about it. It knows no scanner.
package scanner
