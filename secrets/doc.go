// Package secrets holds what all that deals with secrets of Vault has in common: the one type of a value (Value), which never
// prints; why something could not be done (Error, Reason); what policies are asked about (Sync); leases; keyed hashes, by which
// contents are compared without being kept; and when to come back (Schedule, Backoff).
//
// It knows no Vault and no cluster.
package secrets
