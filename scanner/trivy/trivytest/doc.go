// Package trivytest makes what a scanner is tested with: small images of any kind, and vulnerability databases with
// the advisories that a test needs. It links no Trivy.
package trivytest
