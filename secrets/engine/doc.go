// Package engine reads secrets from Vault's engines: key-value 1 and 2, whatever issues with a lease, certificates, transit, secret ids of
// AppRole. It renews and revokes what was issued, and writes what is pushed.
//
// Place says beforehand, for policies, where a source leads; it takes only paths of one reading, so that what is judged is what is requested.
// Read asks Vault besides which mount answers, so that a mount that a source only claims is found out.
//
// Errors are *secrets.Error and hold no value: neither Vault's words, which may quote one, nor a body.
package engine
