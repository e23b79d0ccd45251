// Package leases keeps what is needed to go on with the leases of dynamic secrets after a restart: a lease dies with the token that made it,
// so that token is kept, encrypted by a transit key of Vault (NewTransit) or by a KMS v2 plugin (NewKMS), in a VaultLease (Store).
package leases
