// Package vault speaks with Vault's HTTP API for objects of secrets.portcullis.dev: it checks VaultConnections and VaultAuths, logs in,
// keeps tokens alive, stays below a rate, shares what several ask for at once, and says of each failure what it means.
//
// What it sends and gets may hold values. Its errors are *secrets.Error and hold none: of Vault's own words only those are passed on
// that belong to requests without any.
package vault
