// Package signer says what "signed by whom" means: who may sign which images (Trust), and what was
// found and verified of one (Evidence). It knows no registry and no signature format.
package signer
